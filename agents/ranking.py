"""What an agent says of single features and edges beyond its supernodes, and the plain way to say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tracescribe.agents.claims import FeatureAt
from tracescribe.agents.findings import FeatureImportance, Supernode, SupernodeEdge
from tracescribe.agents.grouping.circuit_edges import circuit_edges
from tracescribe.agents.survey import Survey
from tracescribe.tracer.errors import ReportError
from tracescribe.tracer.graph import FeatureNode

if TYPE_CHECKING:
    from tracescribe.agents.agent import Proposer
    from tracescribe.agents.case_tools import CaseTools

MAX_RANKED = 5000
"""Most features that a report ranks: a graph of a long prompt has more than anybody reads."""


class PlainRanking:
    """`rank` and `connect` of a proposer without ideas of its own: influence decides, and every edge is told."""

    def rank(self, tools: CaseTools, survey: Survey, supernodes: tuple[Supernode, ...]) -> Mapping[FeatureNode, float]:
        """Influence on the target logits."""
        return survey.influence

    def connect(
        self, tools: CaseTools, survey: Survey, supernodes: tuple[Supernode, ...], edges: tuple[SupernodeEdge, ...]
    ) -> tuple[SupernodeEdge, ...]:
        """All of them."""
        return edges


def ranked_features(
    tools: CaseTools, proposer: Proposer, survey: Survey, supernodes: tuple[Supernode, ...]
) -> tuple[FeatureImportance, ...]:
    """A proposer's ranking of the graph's features, most important first; equal scores stand in the graph's order.

    Raises:
        ReportError: it ranks a node that the graph does not have.
    """
    scores = proposer.rank(tools, survey, supernodes)
    strangers = [node for node in scores if node not in survey.full.node_of_feature]
    if strangers:
        raise ReportError(f"{proposer.name} ranks {strangers[0]}, which is no feature node of the graph")
    ordered = sorted(scores, key=lambda node: (-scores[node], node))[:MAX_RANKED]
    return tuple(FeatureImportance(node=FeatureAt.of(node), score=float(scores[node])) for node in ordered)


def told_edges(
    tools: CaseTools, proposer: Proposer, survey: Survey, supernodes: tuple[Supernode, ...]
) -> tuple[SupernodeEdge, ...]:
    """The edges that a proposer wants told; their weights are the graph's, whoever asks for them.

    Raises:
        ReportError: it tells an edge that the graph does not have.
    """
    edges = circuit_edges(survey.full, supernodes)
    chosen = set(proposer.connect(tools, survey, supernodes, edges))
    strangers = chosen - set(edges)
    if strangers:
        one = min(strangers, key=lambda edge: (edge.source, edge.destination))
        raise ReportError(
            f"{proposer.name} tells an edge {one.source} -> {one.destination} that the graph does not have"
        )
    return tuple(edge for edge in edges if edge in chosen)
