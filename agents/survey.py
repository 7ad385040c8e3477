"""The survey: what the graph says before anything is labelled or tested."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracescribe.agents.report import TargetLogit
from tracescribe.tracer.graph import AttributionGraph, FeatureNode, NodeKind
from tracescribe.tracer.prune import error_influence_share, node_influence

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools


@dataclass(frozen=True, eq=False)
class Survey:
    """The part of a graph that carries its influence.

    Attributes:
        full: the unpruned graph (for an imported graph: the graph as it came).
        graph: the pruned graph.
        features: kept feature nodes, most influential first.
        influence: of every kept feature node, the share of the target logits' influence that passes through it, 0 to 1.
        targets: output tokens, most probable first.
        error_influence: share of the influence that enters through error nodes, 0 to 1.
    """

    full: AttributionGraph
    graph: AttributionGraph
    features: tuple[FeatureNode, ...]
    influence: Mapping[FeatureNode, float]
    targets: tuple[TargetLogit, ...]
    error_influence: float

    @property
    def target_token(self) -> str:
        """The most probable output token; empty for a graph without logits."""
        return self.targets[0].token if self.targets else ""


def make_survey(tools: CaseTools) -> Survey:
    """Survey a case's graph.

    Raises:
        AttributionError: the graph has a cycle.
    """
    full, graph = tools.full, tools.pruned
    influence = node_influence(full)
    kept = [(graph.feature_node(int(i)), graph.node_ids[int(i)]) for i in graph.of_kind(NodeKind.FEATURE)]
    share = {node: float(influence[full.index(node_id)]) for node, node_id in kept}
    # ties are broken by the node itself, so that the order never depends on how a file was sorted
    ordered = sorted(share, key=lambda node: (-share[node], node))
    return Survey(
        full=full,
        graph=graph,
        features=tuple(ordered),
        influence=share,
        targets=_targets(tools),
        error_influence=error_influence_share(full),
    )


def _targets(tools: CaseTools) -> tuple[TargetLogit, ...]:
    graph = tools.pruned
    found = []
    for index in graph.of_kind(NodeKind.LOGIT):
        probability = float(graph.nodes.activation[index])
        found.append(
            TargetLogit(
                node_id=graph.node_ids[index],
                token=tools.token_of_logit(graph, int(index)),
                probability=probability if math.isfinite(probability) else 0.0,
            )
        )
    return tuple(sorted(found, key=lambda target: (-target.probability, target.node_id)))
