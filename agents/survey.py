"""The survey: what the graph says before anything is labelled or tested."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tracescribe.agents.report import TargetLogit
from tracescribe.tracer.graph import AttributionGraph, FeatureNode, NodeKind
from tracescribe.tracer.prune import error_influence_share, node_influence

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools


COMPLETION_SHARE = 0.15
"""A feature that pruning dropped comes back if it has this share of the influence of the strongest kept feature at its
layer and position: pruning keeps what carries the graph, and so cuts through groups that share their work."""
OWN_SHARE = 0.05
"""A feature that pruning dropped comes back, wherever it stands, if a twentieth of all influence passes through it: in a
short prompt a few nodes carry nearly everything, and pruning by cumulative share stops early. The same holds for features
of one layer and position that carry a twentieth together: a concept may be split among features too small by themselves."""
LEAST_SHARE = 0.005
"""Least influence of a feature that comes back for the company it keeps: in a wide layer, hundreds of traces add up."""


@dataclass(frozen=True, eq=False)
class Survey:
    """The part of a graph that carries its influence.

    Attributes:
        full: the unpruned graph (for an imported graph: the graph as it came).
        graph: the pruned graph.
        kept: feature nodes that pruning kept, most influential first.
        features: those, what pruning should not have dropped, and what the screen brings in, in this order.
        influence: of every feature node, the share of the target logits' influence that passes through it, 0 to 1.
        targets: output tokens, most probable first.
        error_influence: share of the influence that enters through error nodes, 0 to 1.
        screened: nats that a feature brought in by the screen costs the target when switched off; see `screening`.
    """

    full: AttributionGraph
    graph: AttributionGraph
    kept: tuple[FeatureNode, ...]
    features: tuple[FeatureNode, ...]
    influence: Mapping[FeatureNode, float]
    targets: tuple[TargetLogit, ...]
    error_influence: float
    screened: Mapping[FeatureNode, float] = field(default_factory=dict)

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
    values = node_influence(full)
    influence = {node: float(values[index]) for node, index in full.node_of_feature.items()}
    # ties are broken by the node itself, so that the order never depends on how a file was sorted
    ordered = sorted(influence, key=lambda node: (-influence[node], node))
    members = set(graph.node_of_feature)
    kept = tuple(node for node in ordered if node in members)
    back = _dropped_wrongly(ordered, kept, influence)
    if tools.corpus is not None or tools.can_test:
        back |= sharing_work(ordered, influence)
    completing = tuple(node for node in ordered if node in back and node not in members)
    return Survey(
        full=full,
        graph=graph,
        kept=kept,
        features=kept + completing,
        influence=influence,
        targets=_targets(tools),
        error_influence=error_influence_share(full),
    )


def _dropped_wrongly(
    ordered: Sequence[FeatureNode], kept: Sequence[FeatureNode], influence: Mapping[FeatureNode, float]
) -> set[FeatureNode]:
    """Features that come back by themselves, or beside a feature that pruning kept."""
    strongest: dict[tuple[int, int], float] = {}
    for node in kept:
        strongest.setdefault((node.layer, node.position), influence[node])
    return {
        node
        for node in ordered
        if influence[node] > 0
        and influence[node] >= min(OWN_SHARE, COMPLETION_SHARE * strongest.get((node.layer, node.position), math.inf))
    }


def sharing_work(ordered: Sequence[FeatureNode], influence: Mapping[FeatureNode, float]) -> set[FeatureNode]:
    """Features of a layer and position that carry enough together, though perhaps none of them does alone."""
    places: dict[tuple[int, int], list[FeatureNode]] = {}
    for node in ordered:  # the strongest of a place comes first
        fellows = places.setdefault((node.layer, node.position), [])
        least = COMPLETION_SHARE * influence[fellows[0]] if fellows else 0.0
        if influence[node] >= max(LEAST_SHARE, least):
            fellows.append(node)
    together = [fellows for fellows in places.values() if sum(influence[n] for n in fellows) >= OWN_SHARE]
    return {node for fellows in together for node in fellows}


def _targets(tools: CaseTools) -> tuple[TargetLogit, ...]:
    graph = tools.pruned
    found = []
    for index in graph.of_kind(NodeKind.LOGIT):
        probability = float(graph.nodes.activation[index])
        found.append(
            TargetLogit(
                node_id=graph.node_ids[index],
                token=tools.token_of_logit(graph, int(index)),
                probability=min(1.0, max(0.0, probability)) if math.isfinite(probability) else 0.0,
            )
        )
    return tuple(sorted(found, key=lambda target: (-target.probability, target.node_id)))
