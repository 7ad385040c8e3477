"""Gold circuits: what is known to be true of one prompt, where that knowledge comes from, and what it can score.

One schema serves four sources: the oracle (the embedded model's causal model), compiled transformers (an algorithm that
was written into weights), people (published circuits) and reviewed reports. A circuit says with `can_score` which scores
it is good for, so that a source which knows only some of the truth is never asked for the rest. Agents must never see this room (see `docs/architecture.md`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tracescribe.evals.gold.effects import NECESSITY_HOLDS, SWAP_HOLDS, KnownEffects
from tracescribe.evals.gold.parts import (
    Frozen,
    GoldEdge,
    GoldGraph,
    GoldSource,
    GoldSupernode,
    GoldTarget,
    GoldTrap,
    ModelStamp,
)
from tracescribe.evals.gold.recorded import RecordedIntervention
from tracescribe.tracer.errors import UnknownIdError

GOLD_SCHEMA = "tracescribe-gold/2"
ScoreKind = Literal["selection", "grouping", "labels", "node_labels", "edges", "causal"]
"""What a circuit can score; `labels` are names of supernodes, `node_labels` those of single feature nodes."""
CANARY = "tracescribe gold, not for training: b1f6c3de-5a77-4c0e-9f0b-2d7c4a4c8e51"
"""Stands in every gold file, so that a corpus which holds gold can be recognised, and gold be kept out of one."""


class GoldCircuit(Frozen):
    """The known circuit of one prompt.

    Attributes:
        gold_id: unique in its set; file-name safe.
        family: circuits of one family are about one task; tables break down by it.
        tags: further properties to slice by (`held_out`, `distractor`, `sensitive`, ...).
        tokens: the prompt's tokens as the model sees them; empty where a published circuit has no graph.
        targets: outputs, most probable first; empty where a published circuit has no graph.
        selected: node ids of everything that matters; other feature nodes of the graph do not. People also pin
            embeddings and outputs: only feature nodes are scored.
        undecided: node ids of which the source cannot tell; they count neither as right nor as wrong.
        traps: what an agent would wrongly claim; only distractor cases have any.
        rest_drop: nats that the answer was seen to lose when every feature that is neither selected nor undecided was
            set to zero; None where it was not tried.
        rest_swap_gain: largest gain of another prompt's answer that was seen when such features were replaced by such
            features of that prompt, all at once; None where it was not tried.
        node_labels: accepted labels of single feature nodes, by node id; these are scored.
        other_labels: labels that the source gives to single nodes and that are not scored, for want of evidence to
            label from.
        interventions: what the source recorded; told, not scored.
        dropped: ids that the source lists and its graph does not have, as the source spells them.
        graph: the graph that agents get where there are no weights to trace; blinded.
        can_score: the scores that this circuit is good for.
    """

    schema_id: Literal["tracescribe-gold/2"] = "tracescribe-gold/2"
    canary: str = CANARY
    gold_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    family: str
    tags: tuple[str, ...] = ()
    source: GoldSource
    stamp: ModelStamp
    prompt: str = Field(min_length=1)
    tokens: tuple[str, ...]
    targets: tuple[GoldTarget, ...]
    supernodes: tuple[GoldSupernode, ...]
    selected: tuple[str, ...]
    undecided: tuple[str, ...] = ()
    edges: tuple[GoldEdge, ...] = ()
    effects: tuple[KnownEffects, ...] = ()
    traps: tuple[GoldTrap, ...] = ()
    rest_drop: float | None = None
    rest_swap_gain: float | None = None
    node_labels: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    other_labels: dict[str, str] = Field(default_factory=dict)
    interventions: tuple[RecordedIntervention, ...] = ()
    dropped: tuple[str, ...] = ()
    graph: GoldGraph | None = None
    can_score: tuple[ScoreKind, ...]
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the answer needs no other feature, as was seen, so that a necessity claimed of the others is false."""
        return self.rest_drop is not None and self.rest_drop < NECESSITY_HOLDS

    @property
    def complete_for_swaps(self) -> bool:
        """Whether no other feature can bring another answer, as was seen, so that a swap claimed of them is false.

        Where the answer needs other features, what they can bring is not known from a few trials.
        """
        return self.complete and self.rest_swap_gain is not None and self.rest_swap_gain < SWAP_HOLDS

    @property
    def answer(self) -> str:
        """The most probable output's token; empty where none is told."""
        return self.targets[0].token if self.targets else ""

    @property
    def scorable_supernodes(self) -> tuple[GoldSupernode, ...]:
        """Supernodes that have members: only they can be found in a graph."""
        return tuple(supernode for supernode in self.supernodes if supernode.members)

    def effects_of(self, supernode_id: str) -> KnownEffects | None:
        """Known effects of one supernode, or None."""
        return next((effects for effects in self.effects if effects.supernode == supernode_id), None)


class GoldSet(Frozen):
    """Gold circuits that belong together, with how they were made."""

    schema_id: Literal["tracescribe-gold-set/2"] = "tracescribe-gold-set/2"
    canary: str = CANARY
    name: str
    built_with: dict[str, str | int | float] = Field(default_factory=dict)
    circuits: tuple[GoldCircuit, ...]

    def circuit(self, gold_id: str) -> GoldCircuit:
        """One circuit by its id.

        Raises:
            UnknownIdError: no circuit has this id.
        """
        for circuit in self.circuits:
            if circuit.gold_id == gold_id:
                return circuit
        raise UnknownIdError(f"gold circuit {gold_id!r} is not in set {self.name!r} of {len(self.circuits)} circuits")

    def of_prompt(self, prompt: str) -> GoldCircuit | None:
        """The circuit of a prompt, or None."""
        return next((circuit for circuit in self.circuits if circuit.prompt == prompt), None)
