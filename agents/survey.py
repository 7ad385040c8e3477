"""The survey: what the graph says before anything is labelled or tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tracescribe.agents.report import TargetLogit
from tracescribe.tracer.graph import AttributionGraph, FeatureNode


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
