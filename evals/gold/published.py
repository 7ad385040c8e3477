"""Published circuits in the layout `gold-circuit/1`: one JSON document a circuit, its graph beside it.

The layout says of each circuit what people published: supernodes, pinned nodes, labels, interventions that they ran,
and which of that is good enough to be scored. All of it is kept; what our schema has no field for is told in `notes`.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tracescribe.evals.gold.checks import raise_if
from tracescribe.evals.gold.ids import file_safe
from tracescribe.evals.gold.parts import GoldGraph, GoldSource, GoldSupernode, GoldTarget, ModelStamp
from tracescribe.evals.gold.recorded import RecordedEdit, RecordedIntervention
from tracescribe.evals.gold.schema import GoldCircuit, ScoreKind
from tracescribe.tracer.errors import GoldFormatError
from tracescribe.tracer.graph_document import path_of

PUBLISHED_SCHEMA = "gold-circuit/1"
NOT_TOLD = "not told by the source"
_OUTPUT = re.compile(r'output:? "(?P<token>.*)" \(p=[0-9.]+\)', re.IGNORECASE | re.DOTALL)
_FLAG_TAGS = ("sensitive", "selection_degenerate", "grouping_degenerate", "automated_labels", "no_graph")
_LISTED_FLAGS = ("stale_ids", "unresolved_clerps", "overlapping_members", "duplicate_node_ids")


class _Loose(BaseModel):
    """A part of a published document: typed where we read it; other keys may stand beside."""

    model_config = ConfigDict(frozen=True, extra="allow")


class _Origin(_Loose):
    repo: str = ""
    commit: str = ""
    path: str = ""
    licence: str = ""

    @property
    def text(self) -> str:
        commit = f"@{self.commit[:12]}" if self.commit else ""
        return f"{self.repo}{commit} {self.path}".strip()


class _Target(_Loose):
    node_id: str
    text: str = ""
    prob: float | None = None


class _Group(_Loose):
    label: str | None = None
    members: tuple[str, ...] = ()


class _Edit(_Loose):
    supernode: str = ""
    features: tuple[Any, ...] | None = None
    op: str = "scale"
    multiplier: float | None = None
    from_circuit: str | None = None
    gold_supernode: str | None = None


class _Intervention(_Loose):
    id: str
    source: _Origin | None = None
    ops: tuple[_Edit, ...] = ()
    prompt: str | None = None
    before: tuple[tuple[str, float], ...] | None = None
    after: tuple[tuple[str, float], ...] | None = None
    supernode_activation_after: dict[str, Any] | None = None
    note: str | None = None


class _Document(_Loose):
    circuit_id: str
    source: _Origin = Field(default_factory=_Origin)
    label_source: _Origin | None = None
    model: str = ""
    transcoder_set: str | None = None
    transcoder_kind: str | None = None
    prompt: str | None = None
    prompt_tokens: tuple[str, ...] | None = None
    expected: str | None = None
    target_logits: tuple[_Target, ...] | None = None
    label_provenance: dict[str, Any] = Field(default_factory=dict)
    supernodes: tuple[_Group, ...] = ()
    selected: tuple[str, ...] = ()
    feature_labels: dict[str, str | None] = Field(default_factory=dict)
    label_targets: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    interventions: tuple[_Intervention, ...] = ()
    flags: dict[str, Any] = Field(default_factory=dict)
    can_score: dict[str, bool | None] = Field(default_factory=dict)
    graph: str | None = None
    source_note: str | None = None


def published_circuit(document: Any, name: str) -> GoldCircuit:
    """A circuit of the layout `gold-circuit/1` in our schema.

    Args:
        document: the parsed JSON.
        name: how error messages call it.

    Raises:
        GoldFormatError: it is not of the layout; the message names the place inside.
    """
    try:
        found = _Document.model_validate(document)
    except ValidationError as error:
        faults = [f"{path_of('', fault['loc'])}: {fault['msg']}" for fault in error.errors(include_url=False)]
        raise_if(faults, f"{name}: not a circuit of the layout {PUBLISHED_SCHEMA}", "correct the file")
        raise  # unreachable: a validation error has at least one fault
    try:
        return _as_gold(found)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise GoldFormatError(f"{name}: {path_of('', fault['loc'])}: {fault['msg']}; correct the file") from error


def _as_gold(found: _Document) -> GoldCircuit:
    tokens = found.prompt_tokens or ()
    return GoldCircuit(
        gold_id=found.circuit_id,
        family=str(found.flags.get("family") or file_safe(found.circuit_id)),
        tags=_tags(found),
        source=GoldSource(kind="human", origin=found.source.text or NOT_TOLD, licence=found.source.licence or NOT_TOLD),
        stamp=ModelStamp(
            model=found.model, model_sha256=None, transcoder=found.transcoder_set or "", transcoder_sha256=None
        ),
        prompt=found.prompt or "".join(tokens) or NOT_TOLD,
        tokens=tokens,
        targets=tuple(_target(one) for one in found.target_logits or ()),
        supernodes=tuple(_supernode(number, group) for number, group in enumerate(found.supernodes, start=1)),
        selected=tuple(dict.fromkeys(found.selected)),
        node_labels={node: tuple(dict.fromkeys(labels)) for node, labels in found.label_targets.items() if labels},
        other_labels={node: label for node, label in found.feature_labels.items() if label},
        interventions=tuple(_intervention(one) for one in found.interventions),
        dropped=tuple(str(one) for one in _listed(found.flags.get("stale_ids"))),
        graph=GoldGraph(path=found.graph) if found.graph else None,
        can_score=_can_score(found),
        notes=_notes(found),
    )


def _can_score(found: _Document) -> tuple[ScoreKind, ...]:
    """What the layout lets be scored: nodes' labels wherever there are targets, whatever its flag says."""
    kinds: list[ScoreKind] = []
    if found.can_score.get("selection"):
        kinds.append("selection")
    if found.can_score.get("grouping"):
        kinds.append("grouping")
    if any(found.label_targets.values()):
        kinds.append("node_labels")
    return tuple(kinds)


def _tags(found: _Document) -> tuple[str, ...]:
    kind = [found.transcoder_kind.lower()] if found.transcoder_kind else []
    return (*kind, *(flag for flag in _FLAG_TAGS if found.flags.get(flag)))


def output_token(label: str) -> str:
    """The token that an output's label tells (`Output " Austin" (p=0.450)`), or the label itself."""
    told = _OUTPUT.fullmatch(label)
    return told["token"] if told else label


def _target(one: _Target) -> GoldTarget:
    known = one.prob is not None and 0 <= one.prob <= 1
    return GoldTarget(node_id=one.node_id, token=output_token(one.text), probability=one.prob if known else None)


def _supernode(number: int, group: _Group) -> GoldSupernode:
    label = group.label or ""
    return GoldSupernode(
        supernode_id=f"g{number}",
        label=label,
        accepted_labels=(label,),
        role="other",
        members=tuple(dict.fromkeys(group.members)),
    )


def _intervention(one: _Intervention) -> RecordedIntervention:
    return RecordedIntervention(
        intervention_id=one.id,
        origin=one.source.text if one.source else "",
        prompt=one.prompt or "",
        edits=tuple(
            RecordedEdit(
                supernode=edit.gold_supernode or edit.supernode,
                features=tuple(_feature(feature) for feature in edit.features or ()),
                action=edit.op,
                multiplier=edit.multiplier,
                from_circuit=edit.from_circuit or "",
            )
            for edit in one.ops
        ),
        before=one.before or (),
        after=one.after or (),
        activations_after={name: str(value) for name, value in (one.supernode_activation_after or {}).items()},
        note=one.note or "",
    )


def _feature(value: Any) -> str:
    """A feature as text: node ids as they are, lists of numbers joined as ids are."""
    return "_".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)


def _notes(found: _Document) -> tuple[str, ...]:
    notes = [f"{key}: {value}" for key, value in found.label_provenance.items() if value]
    if found.label_source is not None:
        notes.append(f"labels from {found.label_source.text} ({found.label_source.licence or NOT_TOLD})")
    if found.expected:
        notes.append(f"expected: {found.expected}")
    if found.source_note:
        notes.append(found.source_note)
    for flag in _LISTED_FLAGS:
        listed = _listed(found.flags.get(flag))
        if listed:
            notes.append(f"{flag}: {', '.join(str(one) for one in listed)}")
    kept = {"family", *_FLAG_TAGS, *_LISTED_FLAGS}
    notes += [f"{key}: {value}" for key, value in found.flags.items() if key not in kept and value]
    notes += [f"{kind}: could be scored by hand" for kind in _by_hand(found)]
    return tuple(notes)


def _by_hand(found: _Document) -> list[str]:
    return [kind for kind in ("grouping_ids_only", "labels_without_features") if found.can_score.get(kind)]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
