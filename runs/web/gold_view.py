"""A report beside the gold circuit of its prompt: what was found, missed and added, and the scores that follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tracescribe.agents.rendering.rows import Row
from tracescribe.agents.rendering.visible_text import visible_text, visible_token
from tracescribe.tracer.errors import TracescribeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tracescribe.agents.report import CircuitReport
    from tracescribe.evals.gold import GoldCircuit
    from tracescribe.evals.gold.parts import GoldSupernode
    from tracescribe.evals.prediction import Prediction
    from tracescribe.tracer.graph import AttributionGraph

LinkFate = Literal["found", "wrong sign", "missed", "added", "not asked"]
FATES: dict[LinkFate, str] = {
    "found": "in both, with the same sign",
    "wrong sign": "in both, but with the other sign",
    "missed": "in gold alone",
    "added": "in the report alone",
    "not asked": "in the report; gold cannot tell",
}


@dataclass(frozen=True)
class Pair:
    """A gold supernode and the report's that overlaps it best.

    Attributes:
        found: label of the report's; empty where it has none.
        target: of the report's on its page.
        named_right: whether its label is one that counts as right; None where there is none.
        shared, only_gold, only_report: members by name.
        overlap: F1 of the members as a percentage.
    """

    gold: str
    role: str
    accepted: tuple[str, ...]
    found: str
    target: str
    named_right: bool | None
    shared: tuple[str, ...]
    only_gold: tuple[str, ...]
    only_report: tuple[str, ...]
    overlap: str


@dataclass(frozen=True)
class Extra:
    """A supernode of the report that matches none of gold."""

    label: str
    target: str
    members: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class GoldLink:
    """A link of either side."""

    source: str
    destination: str
    sign: str
    fate: LinkFate


@dataclass(frozen=True)
class GoldScore:
    """A score; `value` is empty where there is nothing to score."""

    title: str
    value: str
    meaning: str
    main: bool


@dataclass(frozen=True)
class GoldPage:
    """All that the page shows."""

    facts: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    extras: tuple[Extra, ...]
    links: tuple[GoldLink, ...]
    traps: tuple[Row, ...]
    scores: tuple[GoldScore, ...]
    why_no_scores: str


def gold_page(report: CircuitReport, gold: GoldCircuit, graph: AttributionGraph | None) -> GoldPage:
    """Lay a report beside gold.

    Args:
        graph: the unpruned graph; None where it was not kept: there are no scores then.
    """
    from tracescribe.evals.matching import match_supernodes

    prediction = _prediction(report, graph)
    matching = match_supernodes(prediction, gold)
    found = {match.gold_id: match.predicted_id for match in matching.matches}
    overlaps = {match.gold_id: match.f1 for match in matching.matches}
    names = _member_names(report, gold)
    pairs = tuple(_pair(node, prediction, found.get(node.supernode_id), overlaps, names) for node in gold.supernodes)
    extras = tuple(
        Extra(
            visible_text(node.label),
            f"supernode:{node.supernode_id}",
            tuple(names[member] for member in node.members),
            "gold cannot tell about its features" if node.supernode_id in matching.undecided
            else "none of its features is in a gold supernode" if node.supernode_id in matching.strangers
            else "another of the report's supernodes fits that gold supernode better",
        )
        for node in prediction.standing if node.supernode_id not in found.values()
    )  # fmt: skip
    scores, why_not = _scores(report, gold, graph)
    return GoldPage(
        facts=(
            Row("Gold circuit", gold.gold_id),
            Row("Comes from", visible_text(gold.source.origin)),
            Row("Family", visible_text(gold.family)),
            Row("True of the model", visible_text(gold.stamp.model)),
        ),
        pairs=pairs,
        extras=extras,
        links=tuple(_links(prediction, gold, {predicted: name for name, predicted in found.items()}, report)),
        traps=tuple(Row(visible_text(trap.label), visible_text(trap.reason)) for trap in gold.traps),
        scores=scores,
        why_no_scores=why_not,
    )


def _prediction(report: CircuitReport, graph: AttributionGraph | None) -> Prediction:
    from tracescribe.evals.prediction import PredictedEdge, PredictedSupernode, Prediction, prediction_of_report

    if graph is not None:
        return prediction_of_report(report, graph)
    return Prediction(
        supernodes=tuple(
            PredictedSupernode(s.supernode_id, s.label, s.role, tuple(m.node_id for m in s.members), s.rejected)
            for s in report.supernodes
        ),
        importance={},
        edges=tuple(PredictedEdge(e.source, e.destination, 1 if e.weight > 0 else -1) for e in report.edges),
    )


class _Names(dict[str, str]):
    def __missing__(self, node_id: str) -> str:
        return visible_text(node_id)


def _member_names(report: CircuitReport, gold: GoldCircuit) -> Mapping[str, str]:
    labels = {(label.layer, label.feature): label.text for label in report.labels}
    names = _Names()
    nodes = [m for s in gold.supernodes for m in s.members] + [m.node_id for s in report.supernodes for m in s.members]
    for node_id in nodes:
        layer, _, rest = node_id.partition("_")
        feature, _, position = rest.partition("_")
        if not (layer.isdecimal() and feature.isdecimal() and position.isdecimal()):
            continue
        place = int(position)
        at = f"“{visible_token(report.tokens[place])}”" if place < len(report.tokens) else f"position {place}"
        own = labels.get((int(layer), int(feature)))
        names[node_id] = f"{layer}/{feature} at {at}" + (f" ({visible_text(own)})" if own else "")
    return names


def _pair(
    node: GoldSupernode,
    prediction: Prediction,
    found: str | None,
    overlaps: Mapping[str, float],
    names: Mapping[str, str],
) -> Pair:
    from tracescribe.evals.scorers.labels import names_exactly

    other = next((one for one in prediction.supernodes if one.supernode_id == found), None)
    mine = set(other.members) if other is not None else set[str]()
    gold = set(node.members)

    def told(members: Iterable[str]) -> tuple[str, ...]:
        return tuple(names[member] for member in sorted(members))

    return Pair(
        gold=visible_text(node.label) or node.supernode_id,
        role=node.role,
        accepted=tuple(visible_text(label) for label in node.accepted_labels),
        found=visible_text(other.label) if other is not None else "",
        target=f"supernode:{found}" if found else "",
        named_right=names_exactly(other.label, node) if other is not None else None,
        shared=told(gold & mine),
        only_gold=told(gold - mine),
        only_report=told(mine - gold),
        overlap=f"{100 * overlaps.get(node.supernode_id, 0.0):.0f} %",
    )


def _links(
    prediction: Prediction, gold: GoldCircuit, gold_of: Mapping[str, str], report: CircuitReport
) -> Iterable[GoldLink]:
    """Every link of either side with its fate, found ones first, then missed and added ones."""
    outputs = {target.node_id: f"“{visible_token(target.token)}” (answer)" for target in report.targets}
    labels = {node.supernode_id: visible_text(node.label) or node.supernode_id for node in gold.supernodes}
    labels |= {node.supernode_id: visible_text(node.label) for node in prediction.supernodes}

    def name(end: str) -> str:
        if end in labels or end in outputs:
            return labels.get(end) or outputs[end]
        kind, _, rest = end.partition("_")
        position = rest.rpartition("_")[2]
        if kind == "E" and position.isdecimal() and int(position) < len(report.tokens):
            return f"“{visible_token(report.tokens[int(position)])}” (prompt)"
        return visible_text(end)

    def sign(value: int) -> str:
        return "strengthens" if value > 0 else "weakens"

    fallen = {node.supernode_id for node in prediction.supernodes if node.rejected}
    drawn = {
        (gold_of.get(e.source, e.source), gold_of.get(e.destination, e.destination)): e
        for e in prediction.edges
        if not fallen & {e.source, e.destination}
    }
    order: dict[LinkFate, int] = {fate: place for place, fate in enumerate(FATES)}
    links: list[GoldLink] = []
    told: set[tuple[str, str]] = set()
    for edge in gold.edges:
        ends = (edge.source, edge.destination)
        told.add(ends)
        own = drawn.get(ends)
        if own is None and (edge.status == "undecided" or not edge.visible):
            continue
        fate: LinkFate = (
            "not asked" if edge.status == "undecided" or not edge.visible
            else "missed" if own is None
            else "found" if own.sign == edge.sign
            else "wrong sign"
        )  # fmt: skip
        links.append(GoldLink(name(ends[0]), name(ends[1]), sign(edge.sign), fate))
    links += [
        GoldLink(name(edge.source), name(edge.destination), sign(edge.sign), "added")
        for ends, edge in drawn.items()
        if ends not in told
    ]
    return sorted(links, key=lambda link: (order[link.fate], link.destination, link.source))


def _scores(
    report: CircuitReport, gold: GoldCircuit, graph: AttributionGraph | None
) -> tuple[tuple[GoldScore, ...], str]:
    from tracescribe.evals.scores import METRICS, main_scores, score_report

    if graph is None:
        return (), "The graph was not kept with the report, so there are no scores."
    try:
        scores = score_report(report, gold, graph)
    except TracescribeError as error:
        return (), f"No scores: {error}."
    main = {"overall", *main_scores(gold)}
    shown = []
    for metric in METRICS:
        value = scores.value(metric.name)
        if value is None and metric.name not in main:
            continue
        meaning = metric.meaning if metric.higher_is_better else f"{metric.meaning} (lower is better)"
        shown.append(GoldScore(metric.title, "–" if value is None else f"{value:.2f}", meaning, metric.name in main))
    return tuple(shown), ""
