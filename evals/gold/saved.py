"""What a person saved of a graph, whatever it was saved in, and how it becomes a gold circuit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tracescribe.evals.gold.ids import file_safe
from tracescribe.evals.gold.parts import GoldGraph, GoldSource, GoldSupernode, GoldTarget, ModelStamp
from tracescribe.evals.gold.pins import NodeNames, Resolved
from tracescribe.evals.gold.published import NOT_TOLD, output_token
from tracescribe.evals.gold.recorded import RecordedIntervention
from tracescribe.evals.gold.schema import GoldCircuit, ScoreKind
from tracescribe.tracer.graph import AttributionGraph, NodeKind

DEGENERATE_SELECTION = 0.8
"""Where people pinned this share of a graph's features, the graph was cut to their choice, and choosing is no test."""


@dataclass(frozen=True)
class SavedGroup:
    """A supernode as it was saved; its members as the source spells them.

    Attributes:
        other_labels: what the source calls the same members elsewhere.
    """

    label: str
    members: tuple[str, ...]
    other_labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class SavedCircuit:
    """Pins, groups and labels as they were saved.

    Attributes:
        labels: of single nodes, written by a person.
        other_labels: of single nodes, whose author is not known; published graphs often carry a program's.
        prompt: empty where the source does not tell it.
        notes: what else the source tells.
    """

    name: str
    pins: tuple[str, ...] = ()
    groups: tuple[SavedGroup, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    other_labels: tuple[tuple[str, str], ...] = ()
    prompt: str = ""
    model: str = ""
    transcoder: str = ""
    interventions: tuple[RecordedIntervention, ...] = ()
    notes: tuple[str, ...] = ()


def gold_of_saved(
    saved: SavedCircuit, source: GoldSource, graph: AttributionGraph | None, graph_file: str | None = None
) -> GoldCircuit:
    """A saved circuit as gold; ids that its graph does not have are dropped, and told in `dropped` and `notes`.

    Args:
        saved: what was saved.
        source: where it comes from.
        graph: of its prompt. Without one, ids stay as the source spells them, and nothing can be scored.
        graph_file: path of the blinded graph, relative to the gold file.
    """
    told = list(saved.notes)
    names = None if graph is None else NodeNames(graph)
    groups = [(group, _resolve(names, group.members)) for group in saved.groups]
    pins = _resolve(names, saved.pins)
    labels, other = _labels(names, saved.labels), _labels(names, saved.other_labels)
    dropped: dict[str, str] = {}
    for found in (pins, *(found for _, found in groups)):
        dropped |= found.dropped
    told += [f"dropped {one}: {reason}" for one, reason in dropped.items()]
    lost = [group.label for group, found in groups if group.members and not found.node_ids]
    told += [f"supernode {label!r} dropped: none of its members is in the graph" for label in lost]
    groups = [(group, found) for group, found in groups if found.node_ids or not group.members]
    told += [f"label of {one} dropped: {reason}" for one, reason in (labels[1] | other[1]).items()]
    unpinned = sorted({node for _, found in groups for node in found.node_ids} - set(pins.node_ids))
    if unpinned and pins.node_ids:
        told.append(f"grouped but not pinned: {', '.join(unpinned)}")
    supernodes = tuple(_supernode(number, *group) for number, group in enumerate(groups, start=1))
    # a source that groups without pinning has chosen what it grouped
    selected = pins.node_ids or unpinned
    circuit = GoldCircuit(
        gold_id=file_safe(saved.name),
        family=file_safe(saved.name),
        source=source,
        stamp=_stamp(saved, graph),
        prompt=saved.prompt or (graph.prompt if graph is not None else "") or NOT_TOLD,
        tokens=() if graph is None else graph.tokens,
        targets=() if graph is None else targets_of(graph),
        supernodes=supernodes,
        selected=tuple(selected),
        node_labels={node: (label,) for node, label in labels[0].items()},
        other_labels=other[0],
        interventions=saved.interventions,
        dropped=tuple(dropped),
        graph=None if graph_file is None else GoldGraph(path=graph_file),
        can_score=(),
        notes=tuple(told),
    )
    return _with_scores(circuit, graph)


def targets_of(graph: AttributionGraph) -> tuple[GoldTarget, ...]:
    """The outputs of a graph, most probable first."""
    logits = [int(i) for i in graph.of_kind(NodeKind.LOGIT)]
    found = [(graph.node_ids[i], output_token(graph.labels[i]), float(graph.nodes.activation[i])) for i in logits]
    found.sort(key=lambda one: (-one[2] if one[2] == one[2] else 1.0, one[0]))
    return tuple(GoldTarget(node_id=i, token=t, probability=p if 0 <= p <= 1 else None) for i, t, p in found)


def _with_scores(circuit: GoldCircuit, graph: AttributionGraph | None) -> GoldCircuit:
    """What a saved circuit is good for, with a tag where a kind of score would be no test."""
    if graph is None:
        return circuit
    features = {graph.node_ids[int(i)] for i in graph.of_kind(NodeKind.FEATURE)}
    chosen = features & set(circuit.selected)
    kinds: list[ScoreKind] = []
    tags = []
    if len(chosen) >= DEGENERATE_SELECTION * len(features):
        tags.append("selection_degenerate")
    elif chosen:
        kinds.append("selection")
    with_members = [s for s in circuit.supernodes if s.members]
    if len(with_members) > 1 and any(len(s.members) > 1 for s in with_members):
        kinds.append("grouping")
    elif with_members:
        tags.append("grouping_degenerate")
    if circuit.node_labels:
        kinds.append("node_labels")
    return circuit.model_copy(update={"can_score": tuple(kinds), "tags": tuple(tags)})


def _resolve(names: NodeNames | None, told: Iterable[str]) -> Resolved:
    return Resolved(list(dict.fromkeys(told))) if names is None else names.resolve(told)


def _labels(names: NodeNames | None, told: Iterable[tuple[str, str]]) -> tuple[dict[str, str], dict[str, str]]:
    """Labels by node id, and the ids that were dropped with the reason."""
    kept, dropped = {}, {}
    for one, label in told:
        node_id, reason = (one, "") if names is None else names.find(one)
        if node_id is None:
            dropped[one] = reason
        elif label.strip():
            kept[node_id] = label
    return kept, dropped


def _supernode(number: int, group: SavedGroup, found: Resolved) -> GoldSupernode:
    return GoldSupernode(
        supernode_id=f"g{number}",
        label=group.label,
        accepted_labels=tuple(dict.fromkeys((group.label, *group.other_labels))),
        role="other",
        members=tuple(found.node_ids),
    )


def _stamp(saved: SavedCircuit, graph: AttributionGraph | None) -> ModelStamp:
    told = {} if graph is None else graph.provenance

    def text(key: str) -> str | None:
        value = told.get(key)
        return value if isinstance(value, str) else None

    return ModelStamp(
        model=saved.model or text("model") or NOT_TOLD,
        model_sha256=text("model_sha256"),
        transcoder=saved.transcoder or text("transcoders") or NOT_TOLD,
        transcoder_sha256=text("transcoders_sha256"),
    )


def of_this_graph(parts: Iterable[SavedCircuit], graph: AttributionGraph) -> tuple[SavedCircuit, ...]:
    """Those of several saved circuits that are of a graph: most of their ids are in it; all of them if that is none."""
    names, listed = NodeNames(graph), tuple(parts)
    kept = []
    for part in listed:
        found = names.resolve((*part.pins, *(node for group in part.groups for node in group.members)))
        if len(found.node_ids) > len(found.dropped):
            kept.append(part)
    others = [part.name for part in listed if part not in kept]
    if not kept or not others:
        return listed
    note = f"left out, as most of their ids are not in the graph: {', '.join(others)}"
    return (replace(kept[0], notes=(*kept[0].notes, note)), *kept[1:])


def merged(parts: Iterable[SavedCircuit], name: str) -> SavedCircuit:
    """Several saved circuits of one graph as one: groups of the same members stand once, with all their names."""
    whole = SavedCircuit(name=name)
    for part in parts:
        whole = replace(
            whole,
            pins=tuple(dict.fromkeys((*whole.pins, *part.pins))),
            groups=_once((*whole.groups, *part.groups)),
            labels=tuple(dict.fromkeys((*whole.labels, *part.labels))),
            other_labels=tuple(dict.fromkeys((*whole.other_labels, *part.other_labels))),
            prompt=whole.prompt or part.prompt,
            model=whole.model or part.model,
            transcoder=whole.transcoder or part.transcoder,
            interventions=(*whole.interventions, *part.interventions),
            notes=tuple(dict.fromkeys((*whole.notes, *part.notes))),
        )
    return whole


def _once(groups: tuple[SavedGroup, ...]) -> tuple[SavedGroup, ...]:
    """Groups in order, those with the same members as one."""
    kept: dict[frozenset[str], SavedGroup] = {}
    for group in groups:
        members = frozenset(group.members)
        first = kept.setdefault(members, group)
        if group.label != first.label and group.label not in first.other_labels:
            kept[members] = replace(first, other_labels=(*first.other_labels, group.label))
    return tuple(kept.values())
