"""The links of chosen features as rows, in an order that no file decides, and how alike such rows are.

Everything that the graph-only models read comes from here, so that the order of nodes and links in a file, and the
numbers of its tokens, change nothing: rows and columns are sorted by what nodes are, never by where they stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracescribe.agents.grouping.graph_facts import GraphFacts
from tracescribe.tracer.graph import AttributionGraph, FeatureNode, IntArray, NodeKind

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Matrix = NDArray[np.float64]
"""`[n, n]` over chosen features, or `[n, width]`."""

CHANCE_TWINS = 0.5
"""Pairs of features that may share a number by chance before a shared number at two layers means nothing: crosslayer
features are numbered over all layers in tens of millions, others by layer in thousands."""


@dataclass(frozen=True, eq=False)
class FeatureLinks:
    """The links of chosen features.

    Attributes:
        facts: of the graph.
        features: the chosen features, sorted; every row below stands for one.
        columns: node indices in the order of the columns, `[n_nodes]`.
        layer, position: of each row, `[n]`.
    """

    facts: GraphFacts
    features: tuple[FeatureNode, ...]
    columns: IntArray
    layer: IntArray
    position: IntArray

    @property
    def graph(self) -> AttributionGraph:
        """The graph."""
        return self.facts.graph

    @property
    def rows(self) -> list[int]:
        """Rows of the features in `facts`."""
        return [self.facts.row_of[node] for node in self.features]

    @cached_property
    def incoming(self) -> Matrix:
        """Weights of incoming links, `[n, n_nodes]`."""
        return np.asarray(self._matrix[self._index].todense())[:, self.columns]

    @cached_property
    def outgoing(self) -> Matrix:
        """Weights of outgoing links, `[n, n_nodes]`."""
        return np.asarray(self._matrix.T.tocsr()[self._index].todense())[:, self.columns]

    @cached_property
    def received(self) -> Matrix:
        """Outgoing links as shares of all that their targets receive, signed, `[n, n_nodes]`."""
        size = np.asarray(abs(self._matrix).sum(axis=1)).ravel()[self.columns]
        found: Matrix = np.divide(self.outgoing, size, out=np.zeros_like(self.outgoing), where=size > 0)
        return found

    @cached_property
    def embedding_shares(self) -> Matrix:
        """Share of every prompt token in what reaches a feature from all tokens, over all paths, `[n, n_pos]`.

        Paths multiply the absolute shares of each link in what its target receives.
        """
        from scipy.sparse import csr_array

        graph = self.graph
        size = np.asarray(abs(self._matrix).sum(axis=1)).ravel()
        edges = graph.edges
        share = np.abs(edges.weight.astype(np.float64)) / np.where(size > 0, size, 1.0)[edges.target]
        matrix = csr_array((share, (edges.target, edges.source)), shape=self._matrix.shape)
        tokens = graph.of_kind(NodeKind.EMBEDDING)
        step = np.zeros((graph.n_nodes, graph.n_pos))
        step[tokens, graph.nodes.position[tokens]] = 1.0
        total = np.zeros_like(step)
        for _ in range(graph.n_layers + 2):
            step = np.asarray(matrix @ step)
            total += step
            if not step.any():
                break
        return shares(total[self._index])

    @cached_property
    def twins(self) -> NDArray[np.bool_]:
        """Whether two rows are one feature at two places, `[n, n]`."""
        key = identities(self.features)
        return np.asarray(key[:, None] == key[None, :])

    @cached_property
    def _index(self) -> list[int]:
        return [self.graph.node_of_feature[node] for node in self.features]

    @cached_property
    def _matrix(self) -> csr_array:
        from scipy.sparse import csr_array

        edges, n = self.graph.edges, self.graph.n_nodes
        return csr_array((edges.weight.astype(np.float64), (edges.target, edges.source)), shape=(n, n))


def feature_links(facts: GraphFacts, nodes: Sequence[FeatureNode]) -> FeatureLinks:
    """The links of some features of a graph."""
    graph = facts.graph
    table = graph.nodes
    features = tuple(sorted(nodes))
    # tokens of the output are told apart by their probability: their numbers are a tokenizer's business
    probability = np.nan_to_num(table.activation, nan=-1.0)
    number = np.where(table.kind == NodeKind.FEATURE, table.feature, 0)
    columns = np.lexsort((number, -probability, table.position, table.layer, table.kind))
    return FeatureLinks(
        facts,
        features,
        columns,
        np.array([node.layer for node in features], dtype=np.int64),
        np.array([node.position for node in features], dtype=np.int64),
    )


def identities(features: Sequence[FeatureNode]) -> IntArray:
    """A number for each row; two rows are one feature at two places where their numbers agree, `[n]`.

    Published crosslayer graphs put one feature at different layers at different positions: there its number tells.
    Where numbers are small, so that two features of different layers share one by chance, layer and number tell.
    """
    number = np.array([node.feature for node in features], dtype=np.int64)
    layer = np.array([node.layer for node in features], dtype=np.int64)
    n = len(features)
    by_chance = n * (n - 1) / 2 / (int(number.max(initial=0)) + 1)
    if by_chance > CHANCE_TWINS:
        _, key = np.unique(np.stack([layer, number]), axis=1, return_inverse=True)
    else:
        _, key = np.unique(number, return_inverse=True)
    return np.asarray(key, dtype=np.int64).ravel()


def damped(weight: Matrix) -> Matrix:
    """Signed square root: a few heavy links (an embedding, a logit) would else decide alone."""
    return np.sign(weight) * np.sqrt(np.abs(weight))


def shares(rows: Matrix) -> Matrix:
    """Rows divided by their absolute sums; rows of zeros stay."""
    size = np.abs(rows).sum(axis=1, keepdims=True)
    found: Matrix = np.divide(rows, size, out=np.zeros_like(rows), where=size > 0)
    return found


def cosines(rows: Matrix) -> Matrix:
    """Cosines of all pairs of rows, `[n, n]`; 0 with a row of zeros."""
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    units = np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)
    return np.asarray(units @ units.T)


def overlaps(rows: Matrix) -> Matrix:
    """Share of the columns used by either of two rows that both use, `[n, n]`."""
    used = (rows != 0).astype(np.float64)
    both, size = used @ used.T, used.sum(axis=1)
    return np.asarray(both / np.maximum(1.0, size[:, None] + size[None, :] - both))


def open_cosines(rows: Matrix, column_layer: IntArray, layer: IntArray, *, below: bool) -> Matrix:
    """Cosines of pairs of rows over the columns that both can be linked to, `[n, n]`.

    Of two features at different layers, only what lies below both can feed both, and only what lies above both can be
    fed by both; a plain cosine counts the rest as difference.

    Args:
        rows: links, `[n, n_nodes]`.
        column_layer: layer of each column.
        layer: layer of each row.
        below: compare over columns below the lower of two rows; otherwise above the higher.
    """
    n = len(rows)
    sign = 1 if below else -1
    first = np.minimum(layer[:, None] * sign, layer[None, :] * sign)
    found, dot = np.zeros((n, n)), np.zeros((n, n))
    order, done = np.argsort(column_layer * sign, kind="stable"), 0
    sorted_layer = (column_layer * sign)[order]
    for level in np.unique(layer * sign):
        end = int(np.searchsorted(sorted_layer, level, side="left"))
        part = rows[:, order[done:end]]
        dot, done = dot + part @ part.T, end
        norm = np.sqrt(np.diag(dot))
        scale = np.outer(norm, norm)
        here = first == level
        found[here] = np.divide(dot, scale, out=np.zeros_like(dot), where=scale > 0)[here]
    return found
