"""What is scored: the part of a report that gold can speak about, in the terms of a graph's node ids.

A prediction comes from a report, or from gold itself: gold scored against itself must reach 1 everywhere, which tests
every scorer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tracescribe.agents.claims import Claim, EdgeClaim, FeatureAt, NecessityClaim, SwapClaim
from tracescribe.agents.findings import Outcome
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
    """A claim with the outcome that its report gives."""

    claim: Claim
    outcome: Outcome


@dataclass(frozen=True)
class Prediction:
    """What an agent says about one prompt.

    Attributes:
        supernodes: in the report's order, rejected ones included.
        importance: node id -> how much it matters, larger is more; nodes that are not ranked share the last place.
        edges: between supernodes.
        claims: with outcomes; only those that were judged.
    """

    supernodes: tuple[PredictedSupernode, ...]
    importance: Mapping[str, float]
    edges: tuple[PredictedEdge, ...] = ()
    claims: tuple[JudgedClaim, ...] = ()

    @property
    def standing(self) -> tuple[PredictedSupernode, ...]:
        """The supernodes that the report stands by: its answer."""
        return tuple(supernode for supernode in self.supernodes if not supernode.rejected)

    @property
    def selected(self) -> frozenset[str]:
        """Node ids that are in a standing supernode."""
        return frozenset(node_id for supernode in self.standing for node_id in supernode.members)


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
    outcomes: dict[str, Outcome] = {verdict.claim_id: verdict.outcome for verdict in report.verdicts}
    return Prediction(
        supernodes=supernodes,
        importance=_importance(report, supernodes, graph),
        edges=tuple(PredictedEdge(e.source, e.destination, 1 if e.weight > 0 else -1) for e in report.edges),
        claims=tuple(JudgedClaim(claim, outcomes[claim.claim_id]) for claim in report.claims),
    )


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
        if source is not None and destination is not None:
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
        if not missing & {e.source, e.destination}
    )
    falling = np.linspace(1.0, 0.5, num=max(1, len(gold.selected)))
    return Prediction(
        supernodes=supernodes,
        importance=dict(zip(gold.selected, falling.tolist(), strict=False)),
        edges=edges,
        claims=tuple(JudgedClaim(claim, "supported") for claim in _gold_claims(gold)),
    )
