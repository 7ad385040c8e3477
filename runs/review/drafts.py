"""A report as a review has it at one moment: what acts are applied to, and what a state is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from tracescribe.runs.review.states import (
    ClaimState,
    CommentState,
    EdgeOrigin,
    EdgeState,
    LabelState,
    Sign,
    SupernodeState,
)

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport
    from tracescribe.runs.review.acts import Decision

Ends = tuple[str, str]
"""Source and destination of a link."""
Effects = Callable[[Mapping[str, Sequence[str]]], Mapping[Ends, float]]
"""Summed direct effects of the graph between supernodes of these members, embeddings and logits; the same for the same."""


@dataclass(frozen=True)
class GraphNodes:
    """What acts may name of a graph.

    Attributes:
        features: ids of its feature nodes.
        sources: ids of nodes besides that a link may come from: embeddings.
        destinations: ids of nodes besides that a link may lead to: logits.
    """

    features: frozenset[str]
    sources: frozenset[str]
    destinations: frozenset[str]


@dataclass(frozen=True)
class LinkSaid:
    """What the reviewer says of a link. `sign` is None where they leave it to the report and the graph."""

    decision: Decision = "open"
    sign: Sign | None = None


@dataclass(frozen=True)
class Draft:
    """Never changed: an act makes another draft, which shares what it leaves alone.

    Attributes:
        of_report: weights of the report's links.
        said: of links, by their ends.
        undecided: node ids; none of them is a member of a supernode.
        effects: the graph's, for supernodes with other members than the report's; None where no graph is kept.
    """

    supernodes: Mapping[str, SupernodeState]
    of_report: Mapping[Ends, float]
    said: Mapping[Ends, LinkSaid]
    labels: Mapping[tuple[int, int], LabelState]
    claims: Mapping[str, ClaimState]
    comments: tuple[CommentState, ...] = ()
    undecided: tuple[str, ...] = ()
    report_decision: Decision = "open"
    effects: Effects | None = field(default=None, compare=False)

    @cached_property
    def edges(self) -> Mapping[Ends, EdgeState]:
        """Links as they stand, whoever says so."""
        return links_of(self.supernodes, self.of_report, self.said, self.effects)

    def standing(self) -> Iterator[SupernodeState]:
        """Supernodes that are there."""
        return (supernode for supernode in self.supernodes.values() if not supernode.gone)


def draft_of(report: CircuitReport, effects: Effects | None = None) -> Draft:
    """A report before anybody said anything of it."""
    supernodes: dict[str, SupernodeState] = {}
    for one in report.supernodes:
        members = tuple(dict.fromkeys(member.node_id for member in one.members))
        supernodes[one.supernode_id] = SupernodeState(
            supernode_id=one.supernode_id,
            label=one.label,
            label_before=one.label,
            role=one.role,
            role_before=one.role,
            members=members,
            members_before=members,
            decision="open",
            rejected_by_report=one.rejected,
            gone=False,
        )
    of_report: dict[Ends, float] = {}
    for edge in report.edges:
        of_report.setdefault((edge.source, edge.destination), edge.weight)
    labels: dict[tuple[int, int], LabelState] = {}
    for label in report.labels:
        labels.setdefault(
            (label.layer, label.feature),
            LabelState(
                layer=label.layer, feature=label.feature, text=label.text, text_before=label.text, decision="open"
            ),
        )
    claims = {claim.claim_id: ClaimState(claim_id=claim.claim_id, decision="open") for claim in report.claims}
    return Draft(supernodes, of_report, {}, labels, claims, effects=effects)


def nodes_of_report(report: CircuitReport) -> GraphNodes:
    """What a report names of its graph: all that acts may name where no graph is stored."""
    features = {member.node_id for supernode in report.supernodes for member in supernode.members}
    features |= {ranked.node.node_id for ranked in report.importance}
    supernodes = {supernode.supernode_id for supernode in report.supernodes}
    return GraphNodes(
        frozenset(features),
        frozenset(edge.source for edge in report.edges) - supernodes,
        frozenset(target.node_id for target in report.targets)
        | (frozenset(edge.destination for edge in report.edges) - supernodes),
    )


def links_of(
    supernodes: Mapping[str, SupernodeState],
    of_report: Mapping[Ends, float],
    said: Mapping[Ends, LinkSaid],
    effects: Effects | None,
) -> dict[Ends, EdgeState]:
    """Links as they stand: the report's between ends that it knows, the graph's where members changed, the reviewer's.

    A link of the report whose end has other members now holds no longer as the report says; the graph tells whether it
    holds, how strong it is and which links come in its place. A link to which the reviewer gave a sign stays in any case.
    """
    changed = {name for name, one in supernodes.items() if one.changed}
    gone = {name for name, one in supernodes.items() if one.gone}
    found: dict[Ends, EdgeState] = {}
    for ends, weight in of_report.items():
        if not changed & set(ends) or gone & set(ends) or effects is None:
            stale = bool(changed & set(ends))
            found[ends] = _link(ends, weight, weight, said.get(ends), "report", stale=stale)
    if changed - gone and effects is not None:
        groups = {name: one.members for name, one in supernodes.items() if not one.gone}
        for ends, weight in effects(groups).items():
            if changed & set(ends):
                found[ends] = _link(ends, weight, of_report.get(ends), said.get(ends), "graph")
    for ends, one in said.items():
        if one.sign is not None and (ends not in found or (found[ends].stale and not gone & set(ends))):
            found[ends] = _link(ends, None, of_report.get(ends), one, "reviewer", stale=bool(gone & set(ends)))
    return found


def _link(
    ends: Ends,
    weight: float | None,
    weight_before: float | None,
    said: LinkSaid | None,
    origin: EdgeOrigin,
    *,
    stale: bool = False,
) -> EdgeState:
    sign_before: Sign | None = None if weight is None else 1 if weight > 0 else -1
    sign = (said.sign if said is not None else None) or sign_before
    assert sign is not None, "a link has a weight, or the reviewer gave it a sign"
    return EdgeState(
        source=ends[0],
        destination=ends[1],
        weight=weight,
        weight_before=weight_before,
        sign=sign,
        sign_before=sign_before,
        decision="open" if said is None else said.decision,
        origin=origin,
        stale=stale,
    )


def emptied(supernode: SupernodeState, leaving: Iterable[str]) -> SupernodeState:
    """A supernode without some members; gone once it has none."""
    out = set(leaving)
    members = tuple(node for node in supernode.members if node not in out)
    if len(members) == len(supernode.members):
        return supernode
    return supernode.model_copy(update={"members": members, "gone": not members})
