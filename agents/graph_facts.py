"""What grouping, naming and the search for donors need to know of a graph, computed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracescribe.agents.findings import FeatureLabel
from tracescribe.tracer.graph import AttributionGraph, FeatureNode, FeatureRef, NodeKind
from tracescribe.tracer.profiles import Profiles, profiles

Labels = Mapping[FeatureRef, FeatureLabel]
"""Labels by feature."""


@dataclass(frozen=True, eq=False)
class GraphFacts:
    """What grouping needs to know of a graph; rows are the graph's feature nodes.

    Attributes:
        graph: the graph.
        profiles: attribution profiles of all its features.
        row_of: row by feature node.
        to_logits: summed direct effect on each logit, `[n_features, n_logits]`.
        direct_share: share of absolute outgoing effect that goes straight to logits, `[n_features]`.
    """

    graph: AttributionGraph
    profiles: Profiles
    row_of: Mapping[FeatureNode, int]
    to_logits: NDArray[np.float64]
    direct_share: NDArray[np.float64]

    @property
    def final_position(self) -> int:
        """Position of the last token, where answers are given."""
        return self.graph.n_pos - 1


def graph_facts(graph: AttributionGraph) -> GraphFacts:
    """Profiles and direct effects of a graph.

    Raises:
        AttributionError: the graph has a cycle or a weight that is not finite.
    """
    found = profiles(graph)
    n_features = len(found.nodes)
    row = np.full(graph.n_nodes, -1)
    row[found.nodes] = np.arange(n_features)
    column = np.full(graph.n_nodes, -1)
    column[found.logits] = np.arange(len(found.logits))
    edges = graph.edges
    source, weight = row[edges.source], edges.weight.astype(np.float64)
    mine = source >= 0
    total = np.bincount(source[mine], weights=np.abs(weight[mine]), minlength=n_features)
    direct = mine & (graph.nodes.kind[edges.target] == NodeKind.LOGIT)
    to_logits = np.zeros((n_features, len(found.logits)))
    np.add.at(to_logits, (source[direct], column[edges.target[direct]]), weight[direct])
    straight = np.bincount(source[direct], weights=np.abs(weight[direct]), minlength=n_features)
    share = np.divide(straight, total, out=np.zeros(n_features), where=total > 0)
    rows = {graph.feature_node(int(node)): number for number, node in enumerate(found.nodes)}
    return GraphFacts(graph, found, rows, to_logits, share)
