"""Gold circuits: what is known to be true of one prompt, where that knowledge comes from, and what it can score.

One schema serves four sources: the oracle (the embedded model's causal model), compiled transformers (an algorithm that
was written into weights), people (published circuits) and reviewed reports. A circuit says with `can_score` which scores it is good for, so that a source which knows only some of the truth
is never asked for the rest. Agents must never see this room (see `docs/architecture.md`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tracescribe.tracer.errors import UnknownIdError

GOLD_SCHEMA = "tracescribe-gold/2"
SWAP_HOLDS = 0.5
"""A known swap holds when the expected answer gains this much probability: from one half on it is the model's answer."""
NECESSITY_HOLDS = 0.6931471805599453
"""A known necessity holds when the answer loses this many nats: its probability at least halves."""

GoldRole = Literal["input", "intermediate", "relation", "output", "suppressor", "other"]
SourceKind = Literal["oracle", "compiled", "human", "reviewed"]
ScoreKind = Literal["selection", "grouping", "labels", "node_labels", "edges", "causal"]
"""What a circuit can score; `labels` are names of supernodes, `node_labels` those of single feature nodes."""
CANARY = "tracescribe gold, not for training: b1f6c3de-5a77-4c0e-9f0b-2d7c4a4c8e51"
"""Stands in every gold file, so that a corpus which holds gold can be recognised, and gold be kept out of one."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GoldSource(_Frozen):
    """Where a gold circuit comes from.

    Attributes:
        origin: repository, paper, person, or how it was computed.
        licence: SPDX id, or in words.
    """

    kind: SourceKind
    origin: str = Field(min_length=1)
    licence: str = Field(min_length=1)


class ModelStamp(_Frozen):
    """The weights that a circuit is true of; hashes are None where a published circuit does not tell them."""

    model: str
    model_sha256: str | None
    transcoder: str
    transcoder_sha256: str | None


class GoldGraph(_Frozen):
    """A graph file beside a gold file.

    Attributes:
        path: relative to the folder of the gold file, `/` between folders; never leads out of it.
        sha256: of the file's bytes; None where the source does not tell.
    """

    path: str = Field(min_length=1)
    sha256: str | None = None


class GoldTarget(_Frozen):
    """An output token of the prompt: its logit node in a graph, its text, its probability where known."""

    node_id: str
    token: str
    probability: float | None = Field(default=None, ge=0, le=1)


class GoldSupernode(_Frozen):
    """Feature nodes that carry one concept in this prompt.

    Attributes:
        label: the name people read.
        accepted_labels: every name that counts as right, `label` among them.
        members: node ids; empty where the transcoder has no feature for the concept.
        concept: what it stands for, `variable=value`, where the source tells it.
    """

    supernode_id: str = Field(pattern=r"^g[0-9]+$")
    label: str = Field(min_length=1)
    accepted_labels: tuple[str, ...] = Field(min_length=1)
    role: GoldRole
    members: tuple[str, ...]
    concept: str = ""


class GoldEdge(_Frozen):
    """The source moves the destination: up for sign 1, down for sign -1.

    Attributes:
        source, destination: supernode ids, or node ids of embeddings and logits.
        visible: False where the effect runs through attention *patterns*, which a graph with frozen attention cannot
            show; such an edge is neither asked for nor counted as wrong.
    """

    source: str
    destination: str
    sign: Literal[1, -1] = 1
    visible: bool = True


class KnownSwap(_Frozen):
    """What follows when a supernode's concept is replaced by another value.

    Attributes:
        value: the other value.
        expected_token: the answer that follows from it.
        site_gain: probability that the expected token gained when the whole output at the concept's true home was
            replaced by that of a prompt with the other value; None where it was not tried.
        features_gain: the same when only the gold features were replaced; None where one side has none.
    """

    value: str
    expected_token: str
    site_gain: float | None = None
    features_gain: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the model was seen to do it, through its true home or through the gold features."""
        return self.shown_by_features or (self.site_gain is not None and self.site_gain >= SWAP_HOLDS)

    @property
    def shown_by_features(self) -> bool:
        """Whether an agent that can only touch features could have seen it."""
        return self.features_gain is not None and self.features_gain >= SWAP_HOLDS


class KnownEffects(_Frozen):
    """What was observed when one supernode was ablated or swapped.

    Attributes:
        target_token: the answer whose log-probability the drops are about.
        site_drop: nats lost when the output at the true home was replaced by its mean over all values.
        features_drop: nats lost when the gold features were set to zero.
        swaps: one for each other value of the concept that was tried and asks for another answer.
        exhaustive: every value was tried, so that an answer that is not listed does not follow from any.
    """

    supernode: str
    target_token: str
    site_drop: float | None = None
    features_drop: float | None = None
    swaps: tuple[KnownSwap, ...] = ()
    exhaustive: bool = False

    @property
    def necessary(self) -> bool:
        """Whether the answer was seen to depend on the concept."""
        return self.necessary_by_features or (self.site_drop is not None and self.site_drop >= NECESSITY_HOLDS)

    @property
    def necessary_by_features(self) -> bool:
        """Whether an agent that can only touch features could have seen it."""
        return self.features_drop is not None and self.features_drop >= NECESSITY_HOLDS

    def swaps_to(self, token: str) -> tuple[KnownSwap, ...]:
        """The swaps after which a token is expected."""
        return tuple(swap for swap in self.swaps if swap.expected_token == token)


class GoldCircuit(_Frozen):
    """The known circuit of one prompt.

    Attributes:
        gold_id: unique in its set; file-name safe.
        family: circuits of one family are about one task; tables break down by it.
        tags: further properties to slice by (`held_out`, `distractor`, ...).
        tokens: the prompt's tokens as the model sees them.
        selected: node ids of everything that matters; other feature nodes of the graph do not.
        undecided: node ids of which the source cannot tell; they count neither as right nor as wrong.
        rest_drop: nats that the answer was seen to lose when every feature that is neither selected nor undecided was
            set to zero; None where it was not tried.
        rest_swap_gain: largest gain of another prompt's answer that was seen when such features were replaced by such
            features of that prompt, all at once; None where it was not tried.
        node_labels: accepted labels of single feature nodes, by node id.
        graph: the graph that agents get where there are no weights to trace; blinded.
        can_score: the scores that this circuit is good for.
    """

    schema_id: Literal["tracescribe-gold/2"] = "tracescribe-gold/2"
    canary: str = CANARY
    gold_id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    family: str
    tags: tuple[str, ...] = ()
    source: GoldSource
    stamp: ModelStamp
    prompt: str = Field(min_length=1)
    tokens: tuple[str, ...] = Field(min_length=1)
    targets: tuple[GoldTarget, ...] = Field(min_length=1)
    supernodes: tuple[GoldSupernode, ...]
    selected: tuple[str, ...]
    undecided: tuple[str, ...] = ()
    edges: tuple[GoldEdge, ...] = ()
    effects: tuple[KnownEffects, ...] = ()
    rest_drop: float | None = None
    rest_swap_gain: float | None = None
    node_labels: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    graph: GoldGraph | None = None
    can_score: tuple[ScoreKind, ...]
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the answer needs no other feature, as was seen, so that a necessity claimed of the others is false."""
        return self.rest_drop is not None and self.rest_drop < NECESSITY_HOLDS

    @property
    def complete_for_swaps(self) -> bool:
        """Whether no other feature can bring another answer, as was seen, so that a swap claimed of them is false."""
        return self.rest_swap_gain is not None and self.rest_swap_gain < SWAP_HOLDS

    @property
    def scorable_supernodes(self) -> tuple[GoldSupernode, ...]:
        """Supernodes that have members: only they can be found in a graph."""
        return tuple(supernode for supernode in self.supernodes if supernode.members)

    def effects_of(self, supernode_id: str) -> KnownEffects | None:
        """Known effects of one supernode, or None."""
        return next((effects for effects in self.effects if effects.supernode == supernode_id), None)


class GoldSet(_Frozen):
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
