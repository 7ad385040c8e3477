"""Gold circuits: their schema, how they are read and checked, and where they come from.

Comes in: gold files, published circuits, graphs. Goes out: checked `GoldCircuit`s. May not happen here: nothing is scored,
and nothing of it reaches an agent.
"""

from __future__ import annotations

from tracescribe.evals.gold.checks import (
    check_circuit,
    check_stamp,
    circuit_faults,
    membership_faults,
)
from tracescribe.evals.gold.reading import (
    parse_gold,
    read_gold,
)
from tracescribe.evals.gold.schema import (
    CANARY,
    GOLD_SCHEMA,
    NECESSITY_HOLDS,
    SWAP_HOLDS,
    GoldCircuit,
    GoldEdge,
    GoldGraph,
    GoldRole,
    GoldSet,
    GoldSource,
    GoldSupernode,
    GoldTarget,
    KnownEffects,
    KnownSwap,
    ModelStamp,
    ScoreKind,
    SourceKind,
)

__all__ = [
    "CANARY",
    "GOLD_SCHEMA",
    "NECESSITY_HOLDS",
    "SWAP_HOLDS",
    "GoldCircuit",
    "GoldEdge",
    "GoldGraph",
    "GoldRole",
    "GoldSet",
    "GoldSource",
    "GoldSupernode",
    "GoldTarget",
    "KnownEffects",
    "KnownSwap",
    "ModelStamp",
    "ScoreKind",
    "SourceKind",
    "check_circuit",
    "check_stamp",
    "circuit_faults",
    "membership_faults",
    "parse_gold",
    "read_gold",
]
