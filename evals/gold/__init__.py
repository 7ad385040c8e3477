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
    stale_ids,
)
from tracescribe.evals.gold.effects import NECESSITY_HOLDS, SWAP_HOLDS, KnownEffects, KnownSwap
from tracescribe.evals.gold.folders import (
    GoldFolder,
    graph_path,
    read_gold_folder,
)
from tracescribe.evals.gold.parts import (
    GoldEdge,
    GoldGraph,
    GoldRole,
    GoldSource,
    GoldSupernode,
    GoldTarget,
    GoldTrap,
    ModelStamp,
    SourceKind,
)
from tracescribe.evals.gold.reading import (
    parse_gold,
    read_gold,
)
from tracescribe.evals.gold.recorded import RecordedEdit, RecordedIntervention
from tracescribe.evals.gold.schema import (
    CANARY,
    GOLD_SCHEMA,
    GoldCircuit,
    GoldSet,
    ScoreKind,
)

__all__ = [
    "CANARY",
    "GOLD_SCHEMA",
    "NECESSITY_HOLDS",
    "SWAP_HOLDS",
    "GoldCircuit",
    "GoldEdge",
    "GoldFolder",
    "GoldGraph",
    "GoldRole",
    "GoldSet",
    "GoldSource",
    "GoldSupernode",
    "GoldTarget",
    "GoldTrap",
    "KnownEffects",
    "KnownSwap",
    "ModelStamp",
    "RecordedEdit",
    "RecordedIntervention",
    "ScoreKind",
    "SourceKind",
    "check_circuit",
    "check_stamp",
    "circuit_faults",
    "graph_path",
    "membership_faults",
    "parse_gold",
    "read_gold",
    "read_gold_folder",
    "stale_ids",
]
