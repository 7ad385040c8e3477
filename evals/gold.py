"""Gold circuits: what is known to be true of one prompt, where that knowledge comes from, and what it can score.

One schema serves three sources: the oracle (the embedded model's causal model), people (published circuits) and reviewed
reports. A circuit says with `can_score` which scores it is good for, so that a source which knows only some of the truth
is never asked for the rest. Agents must never see this room (see `docs/architecture.md`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tracescribe.tracer.errors import GoldFormatError, UnknownIdError
from tracescribe.tracer.graph import AttributionGraph

GOLD_SCHEMA = "tracescribe-gold/1"
MAX_GOLD_BYTES = 64 << 20
"""Larger files are refused before they are parsed; the largest set that ships is a hundred times smaller."""
SWAP_HOLDS = 0.5
"""A known swap holds when the expected answer gains this much probability: from one half on it is the model's answer."""
NECESSITY_HOLDS = 0.6931471805599453
"""A known necessity holds when the answer loses this many nats: its probability at least halves."""
MAX_FAULTS_SHOWN = 5
"""Faults of a gold file that one error message spells out; the rest are counted."""

GoldRole = Literal["input", "intermediate", "relation", "output", "suppressor", "other"]
SourceKind = Literal["oracle", "human", "reviewed"]
ScoreKind = Literal["selection", "grouping", "labels", "edges", "causal"]


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
        can_score: the scores that this circuit is good for.
    """

    schema_id: Literal["tracescribe-gold/1"] = "tracescribe-gold/1"
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

    schema_id: Literal["tracescribe-gold-set/1"] = "tracescribe-gold-set/1"
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


def _repeated(ids: Iterable[str]) -> list[str]:
    return sorted(name for name, count in Counter(ids).items() if count > 1)


def circuit_faults(circuit: GoldCircuit) -> list[str]:
    """Everything about a circuit that types cannot express and that is wrong, each with its place in the document."""
    names = {supernode.supernode_id for supernode in circuit.supernodes}
    faults = [f"supernodes: id {i} is used twice" for i in _repeated(s.supernode_id for s in circuit.supernodes)]
    faults += [f"selected: {i} is listed twice" for i in _repeated(circuit.selected)]
    faults += [f"undecided: {i} is also selected" for i in sorted(set(circuit.undecided) & set(circuit.selected))]
    for number, supernode in enumerate(circuit.supernodes):
        where = f"supernodes[{number}]"
        faults += [f"{where}.members: {i} is listed twice" for i in _repeated(supernode.members)]
        faults += [f"{where}.members: {i} is not selected" for i in supernode.members if i not in circuit.selected]
        if supernode.label not in supernode.accepted_labels:
            faults.append(f"{where}.accepted_labels: the label {supernode.label!r} is not among them")
    for number, edge in enumerate(circuit.edges):
        ends = (("source", edge.source), ("destination", edge.destination))
        faults += [f"edges[{number}].{end}: {i} is no supernode" for end, i in ends if i[:1] == "g" and i not in names]
    for number, effects in enumerate(circuit.effects):
        if effects.supernode not in names:
            faults.append(f"effects[{number}].supernode: {effects.supernode} is no supernode")
    faults += [f"effects: {i} is listed twice" for i in _repeated(e.supernode for e in circuit.effects)]
    return faults


def membership_faults(circuit: GoldCircuit, graph: AttributionGraph) -> list[str]:
    """What of a circuit a graph of its prompt contradicts: other tokens, or node ids that it does not have.

    Undecided nodes may be missing: some of them fire so weakly that they do not on every machine.
    """
    faults = []
    if circuit.tokens != graph.tokens:
        faults.append(f"tokens: gold has {len(circuit.tokens)}, the graph has {len(graph.tokens)} or other ones")
    known = graph.index_of
    faults += [f"selected: {i} is not in the graph" for i in circuit.selected if i not in known]
    for number, edge in enumerate(circuit.edges):
        for end, node_id in (("source", edge.source), ("destination", edge.destination)):
            if node_id[:1] != "g" and node_id not in known:
                faults.append(f"edges[{number}].{end}: {node_id} is not in the graph")
    return faults


def _raise_if(faults: list[str], where: str, cure: str) -> None:
    if not faults:
        return
    more = f" (and {len(faults) - MAX_FAULTS_SHOWN} more)" if len(faults) > MAX_FAULTS_SHOWN else ""
    raise GoldFormatError(f"{where}: " + "; ".join(faults[:MAX_FAULTS_SHOWN]) + f"{more}; {cure}")


def check_circuit(circuit: GoldCircuit, graph: AttributionGraph | None = None) -> None:
    """Check a circuit by itself, and against a graph of its prompt where one is given.

    Raises:
        GoldFormatError: repeated or unknown ids; members, tokens or edge ends that the graph does not have.
    """
    where = f"gold circuit {circuit.gold_id}"
    _raise_if(circuit_faults(circuit), where, "correct the file")
    if graph is not None:
        cure = "the graph must be the unpruned trace of the gold's prompt, model and transcoder"
        _raise_if(membership_faults(circuit, graph), where, cure)


def check_stamp(circuit: GoldCircuit, model_sha256: str | None, transcoder_sha256: str | None) -> None:
    """Refuse to hold gold of one set of weights against results of another.

    Raises:
        GoldFormatError: a hash that both sides know differs.
    """
    stamp = circuit.stamp
    pairs = (
        ("model", stamp.model_sha256, model_sha256),
        ("transcoder", stamp.transcoder_sha256, transcoder_sha256),
    )
    faults = [
        f"{name} weights are {found[:12]}, gold was made for {expected[:12]}"
        for name, expected, found in pairs
        if expected is not None and found is not None and expected != found
    ]
    cure = (
        "use the matching weights, or rebuild the gold with `tracescribe gold build`"
        if circuit.source.kind == "oracle"
        else "use the weights that the gold was made for"
    )
    _raise_if(faults, f"gold circuit {circuit.gold_id} belongs to other weights", cure)


def _path_of(location: Iterable[int | str]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path or "document"


def parse_gold(text: str, name: str = "gold") -> GoldSet:
    """Read a gold set, or a single circuit as a set of one, from JSON text.

    Args:
        text: the document.
        name: how error messages call it.

    Raises:
        GoldFormatError: the text is no gold; the message names the place inside the document.
    """
    try:
        document = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise GoldFormatError(f"{name}: not JSON ({error}); give a {GOLD_SCHEMA} document") from error
    single = isinstance(document, dict) and document.get("schema_id") == GOLD_SCHEMA
    try:
        if single:
            circuit = GoldCircuit.model_validate_json(text)
            gold = GoldSet(name=circuit.gold_id, circuits=(circuit,))
        else:
            gold = GoldSet.model_validate_json(text)
    except ValidationError as error:
        faults = [f"{_path_of(fault['loc'])}: {fault['msg']}" for fault in error.errors(include_url=False)]
        _raise_if(faults, f"{name}: not a gold circuit", f"give a {GOLD_SCHEMA} document")
        raise  # unreachable: a validation error has at least one fault
    faults = [f"circuits: id {i} is used twice" for i in _repeated(c.gold_id for c in gold.circuits)]
    for number, circuit in enumerate(gold.circuits):
        faults += [f"circuits[{number}].{fault}" for fault in circuit_faults(circuit)]
    _raise_if(faults, name, "correct the file")
    return gold


def read_gold(path: Path) -> GoldSet:
    """Read a gold file.

    Raises:
        GoldFormatError: no such file, a file of more than `MAX_GOLD_BYTES`, or one that is no gold.
    """
    try:
        size = path.stat().st_size
        if size > MAX_GOLD_BYTES:
            raise GoldFormatError(f"{path}: {size} bytes, the limit is {MAX_GOLD_BYTES}; split the set")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise GoldFormatError(f"cannot read gold {path}: {reason}; give a {GOLD_SCHEMA} JSON file") from error
    return parse_gold(text, str(path))
