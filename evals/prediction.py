"""What is scored: the part of a report that gold can speak about, in the terms of a graph's node ids.

A prediction comes from a report, or from gold itself: gold scored against itself must reach 1 everywhere, which tests
every scorer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from tracescribe.agents.claims import Claim, EdgeClaim, FeatureAt, NecessityClaim, SwapClaim
from tracescribe.agents.findings import Outcome, Verdict
from tracescribe.evals.gold import GoldCircuit
from tracescribe.tracer.graph import AttributionGraph, NodeKind
from tracescribe.tracer.prune import node_influence

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport


@dataclass(frozen=True)
class PredictedSupernode:
    """A supernode as an agent reported it.

    Attributes:
        members: node ids.
        rejected: the report itself says that its tests refuted it; it is then no part of the answer, but claims about
            it are still judged.
    """

    supernode_id: str
    label: str
    role: str
    members: tuple[str, ...]
    rejected: bool = False


@dataclass(frozen=True)
class PredictedEdge:
    """A signed edge between supernodes, or node ids of embeddings and logits."""

    source: str
    destination: str
    sign: Literal[1, -1]


@dataclass(frozen=True)
class JudgedClaim:
    """A claim with the outcome that its report gives.

    Attributes:
        probability: that the claim is true, as far as the report states one; None where it states none. For a supported
            claim it is 1 - q: q is the share of false claims that the report expects among those at least as certain.
    """

    claim: Claim
    outcome: Outcome
    probability: float | None = None


@dataclass(frozen=True)
class Prediction:
    """What an agent says about one prompt.

    Attributes:
        supernodes: in the report's order, rejected ones included.
        importance: node id -> how much it matters, larger is more; nodes that are not ranked share the last place.
        edges: between supernodes.
        claims: with outcomes; only those that were judged.
        node_labels: node id -> what the node stands for.
        chosen: node ids of the answer where they are told apart from supernodes; None: the members of supernodes.
    """

    supernodes: tuple[PredictedSupernode, ...]
    importance: Mapping[str, float]
    edges: tuple[PredictedEdge, ...] = ()
    claims: tuple[JudgedClaim, ...] = ()
    node_labels: Mapping[str, str] = field(default_factory=dict)
    chosen: frozenset[str] | None = None

    @property
    def standing(self) -> tuple[PredictedSupernode, ...]:
        """The supernodes that the report stands by: its answer."""
        return tuple(supernode for supernode in self.supernodes if not supernode.rejected)

    @property
    def selected(self) -> frozenset[str]:
        """Node ids of the answer: those in a standing supernode, unless they are told apart from supernodes."""
        if self.chosen is not None:
            return self.chosen
        return frozenset(node_id for supernode in self.standing for node_id in supernode.members)

    def as_json(self) -> dict[str, object]:
        """The answer in the layout of predictions files (see `evals.predictions_file`); claims and edges are not in it."""
        return {
            "selected": sorted(self.selected),
            "scores": {node: float(score) for node, score in sorted(self.importance.items())},
            "groups": [{"label": s.label, "members": list(s.members)} for s in self.standing],
            "labels": dict(sorted(self.node_labels.items())),
        }


def feature_node_ids(graph: AttributionGraph) -> tuple[str, ...]:
    """Ids of all feature nodes of a graph: the candidates of selection."""
    return tuple(graph.node_ids[int(i)] for i in graph.of_kind(NodeKind.FEATURE))


def prediction_of_report(report: CircuitReport, graph: AttributionGraph) -> Prediction:
    """A report as a prediction.

    Args:
        report: of the graph's prompt.
        graph: the unpruned graph. Where the report ranks nothing, a selected node matters as much as its influence on
            the target logits.
    """
    supernodes = tuple(
        PredictedSupernode(s.supernode_id, s.label, s.role, tuple(m.node_id for m in s.members), s.rejected)
        for s in report.supernodes
    )
    verdicts = {verdict.claim_id: verdict for verdict in report.verdicts}
    return Prediction(
        supernodes=supernodes,
        importance=_importance(report, supernodes, graph),
        edges=tuple(PredictedEdge(e.source, e.destination, 1 if e.weight > 0 else -1) for e in report.edges),
        claims=tuple(_judged(claim, verdicts[claim.claim_id]) for claim in report.claims),
        node_labels=_node_labels(report, graph),
    )


def _judged(claim: Claim, verdict: Verdict) -> JudgedClaim:
    stated = None if verdict.outcome != "supported" or verdict.q_value is None else 1.0 - verdict.q_value
    return JudgedClaim(claim, verdict.outcome, stated)


def _node_labels(report: CircuitReport, graph: AttributionGraph) -> dict[str, str]:
    """Label of each feature node: its own, else the name of the first standing supernode that it is in."""
    own = {(label.layer, label.feature): label.text for label in report.labels if label.text.strip()}
    found: dict[str, str] = {}
    for node, index in graph.node_of_feature.items():
        if (node.layer, node.feature) in own:
            found[graph.node_ids[index]] = own[node.layer, node.feature]
    for supernode in report.supernodes:
        for member in supernode.members:
            if not supernode.rejected and supernode.label.strip():
                found.setdefault(member.node_id, supernode.label)
    return found


def _importance(
    report: CircuitReport, supernodes: Sequence[PredictedSupernode], graph: AttributionGraph
) -> dict[str, float]:
    if report.importance:
        found = ((graph.node_of_feature.get(one.node.node), one.score) for one in report.importance)
        return {graph.node_ids[index]: score for index, score in found if index is not None}
    influence = node_influence(graph)
    selected = {node_id for supernode in supernodes if not supernode.rejected for node_id in supernode.members}
    return {i: float(influence[graph.index_of[i]]) for i in selected if i in graph.index_of}


def _gold_claims(gold: GoldCircuit) -> list[Claim]:
    """Every effect of a gold circuit that features were seen to have, as claims about predicted supernodes."""
    claims: list[Claim] = []
    rename = _predicted_ids(gold)
    for effects in gold.effects:
        supernode = rename.get(effects.supernode)
        if supernode is None:
            continue
        if effects.necessary_by_features:
            claims.append(
                NecessityClaim(
                    claim_id=f"c{len(claims) + 1}",
                    statement="gold",
                    supernode=supernode,
                    target_token=effects.target_token,
                )
            )
        for swap in effects.swaps:
            if swap.shown_by_features:
                claims.append(
                    SwapClaim(
                        claim_id=f"c{len(claims) + 1}",
                        statement="gold",
                        supernode=supernode,
                        donor_prompt=swap.value,
                        donor_features=(FeatureAt(layer=0, position=1, feature=0),),
                        expected_token=swap.expected_token,
                    )
                )
    for edge in gold.edges:
        source, destination = rename.get(edge.source), rename.get(edge.destination)
        if source is not None and destination is not None and edge.status == "asked":
            claims.append(
                EdgeClaim(
                    claim_id=f"c{len(claims) + 1}",
                    statement="gold",
                    source=source,
                    destination=destination,
                    sign=edge.sign,
                )
            )
    return claims


def _predicted_ids(gold: GoldCircuit) -> dict[str, str]:
    return {s.supernode_id: f"s{number}" for number, s in enumerate(gold.scorable_supernodes, start=1)}


def prediction_of_gold(gold: GoldCircuit) -> Prediction:
    """Gold as if an agent had found exactly it: every scorer must give it full marks."""
    rename = _predicted_ids(gold)
    supernodes = tuple(
        PredictedSupernode(rename[s.supernode_id], s.label, s.role, s.members) for s in gold.scorable_supernodes
    )
    missing = {s.supernode_id for s in gold.supernodes} - set(rename)
    edges = tuple(
        PredictedEdge(rename.get(e.source, e.source), rename.get(e.destination, e.destination), e.sign)
        for e in gold.edges
        if e.status == "asked" and not missing & {e.source, e.destination}
    )
    falling = np.linspace(1.0, 0.5, num=max(1, len(gold.selected)))
    return Prediction(
        supernodes=supernodes,
        importance=dict(zip(gold.selected, falling.tolist(), strict=False)),
        edges=edges,
        claims=tuple(JudgedClaim(claim, "supported", 1.0) for claim in _gold_claims(gold)),
        node_labels={node: accepted[0] for node, accepted in gold.node_labels.items() if accepted},
        chosen=frozenset(gold.selected),
    )
