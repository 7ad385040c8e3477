"""What grouping, naming and the search for donors need to know of a graph, computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracescribe.agents.findings import FeatureLabel
from tracescribe.tracer.graph import AttributionGraph, FeatureNode, FeatureRef, IntArray, NodeKind
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
        drives_target, drives_source, drives_share: positive edges between features as rows, and the share of the
            target's positive input that each carries, `[n_links]`.
    """

    graph: AttributionGraph
    profiles: Profiles
    row_of: Mapping[FeatureNode, int]
    to_logits: NDArray[np.float64]
    direct_share: NDArray[np.float64]
    drives_target: IntArray
    drives_source: IntArray
    drives_share: NDArray[np.float64]

    @property
    def final_position(self) -> int:
        """Position of the last token, where answers are given."""
        return self.graph.n_pos - 1

    def drives(self, row: int) -> float:
        """The largest share of any feature's positive input that one feature carries."""
        return float(self.drives_share[self.drives_source == row].max(initial=0.0))

    def drives_among(self, rows: Sequence[int]) -> NDArray[np.float64]:
        """Shares of positive input among some features, `[len(rows) target, len(rows) source]`."""
        place = np.full(len(self.direct_share), -1)
        place[list(rows)] = np.arange(len(rows))
        target, source = place[self.drives_target], place[self.drives_source]
        inside = (target >= 0) & (source >= 0)
        shares = np.zeros((len(rows), len(rows)))
        np.add.at(shares, (target[inside], source[inside]), self.drives_share[inside])
        return shares

    def moves_answer(self, rows: Sequence[int]) -> NDArray[np.float64]:
        """How some features move the likeliest token through each feature that they feed, and straight, `[n_features + 1]`.

        A direct effect on another feature counts by that feature's own total effect on the token per unit of activation.
        """
        edges, n_features = self.graph.edges, len(self.profiles.nodes)
        answer = int(np.argmax(self.graph.nodes.activation[self.profiles.logits]))
        row = np.full(self.graph.n_nodes, -1)
        row[self.profiles.nodes] = np.arange(n_features)
        between = np.isin(row[edges.source], list(rows)) & (row[edges.target] >= 0)
        fed = np.bincount(row[edges.target[between]], weights=edges.weight[between], minlength=n_features)
        activation = self.graph.nodes.activation[self.profiles.nodes].astype(np.float64)
        effect = self.profiles.outputs[:, answer].astype(np.float64)
        moved = fed * np.divide(effect, activation, out=np.zeros(n_features), where=activation > 0)
        moved[list(rows)] = 0.0
        return np.concatenate([moved, [float(self.to_logits[list(rows), answer].sum())]])


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
    between = mine & (row[edges.target] >= 0) & (weight > 0)
    into = (row[edges.target] >= 0) & (weight > 0)
    received = np.bincount(row[edges.target[into]], weights=weight[into], minlength=n_features)
    target = row[edges.target[between]]
    carried = weight[between] / received[target]
    rows = {graph.feature_node(int(node)): number for number, node in enumerate(found.nodes)}
    return GraphFacts(graph, found, rows, to_logits, share, target, source[between], carried)
