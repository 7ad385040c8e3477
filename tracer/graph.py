"""The attribution graph: a node table, sparse signed edges, the prompt, and where it all came from.

Direction: an edge runs from a *source* to a *target*; its weight is the direct linear effect of the source, as it is in
this prompt, on the target's pre-activation (Ameisen et al. 2025, "Circuit Tracing", transformer-circuits.pub).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tracescribe.tracer.edges import BoolArray, EdgeTable, FloatArray, IntArray
from tracescribe.tracer.errors import UnknownIdError

if TYPE_CHECKING:
    import networkx

__all__ = [
    "AttributionGraph",
    "BoolArray",
    "EdgeTable",
    "FeatureNode",
    "FeatureRef",
    "FloatArray",
    "GraphScores",
    "IntArray",
    "NodeKind",
    "NodeTable",
    "standard_node_ids",
]


class NodeKind(enum.IntEnum):
    """What a node stands for. The order is the node order of a freshly traced graph."""

    FEATURE = 0
    ERROR = 1
    EMBEDDING = 2
    LOGIT = 3


class FeatureRef(NamedTuple):
    """One transcoder feature, wherever it fires: its layer, and its index within that layer."""

    layer: int
    feature: int

    def __str__(self) -> str:
        return f"{self.layer}/{self.feature}"


class FeatureNode(NamedTuple):
    """One transcoder feature at one position of one prompt."""

    layer: int
    position: int
    feature: int

    @property
    def ref(self) -> FeatureRef:
        """The feature without its position."""
        return FeatureRef(self.layer, self.feature)


@dataclass(frozen=True, eq=False)
class NodeTable:
    """Nodes as parallel arrays of length `n_nodes`.

    Attributes:
        kind: `NodeKind` values.
        layer: layer read by a feature or reconstructed by an error; -1 for embeddings, `n_layers` for logits.
        position: token position, counted from 0.
        feature: feature index; token id for embeddings and logits; -1 for errors.
        activation: activation of a feature, probability of a logit, NaN otherwise.
        influence: cumulative influence share as graph files carry it (smaller is more influential), NaN if unknown.
        bias: the constant part of the node's pre-activation that no edge carries, NaN if unknown.
    """

    kind: IntArray
    layer: IntArray
    position: IntArray
    feature: IntArray
    activation: FloatArray
    influence: FloatArray
    bias: FloatArray

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, index: IntArray | BoolArray) -> NodeTable:
        """The chosen rows, in the order given."""
        return NodeTable(
            self.kind[index],
            self.layer[index],
            self.position[index],
            self.feature[index],
            self.activation[index],
            self.influence[index],
            self.bias[index],
        )


@dataclass(frozen=True)
class GraphScores:
    """Replacement and completeness score of the unpruned graph, each between 0 and 1 (SPEC: circuit-tracer 0.4.1)."""

    replacement: float
    completeness: float


@dataclass(frozen=True, eq=False)
class AttributionGraph:
    """An attribution graph of one prompt.

    Attributes:
        prompt: the text that was traced.
        tokens: the prompt's tokens as text, `[n_pos]`.
        token_ids: their ids, `[n_pos]` (empty where a file does not tell them).
        n_layers: layers of the model.
        nodes: node table, `[n_nodes]`.
        node_ids: unique ids, `[n_nodes]`: features `{layer}_{feature}_{position}`, errors `{layer}_-1_{position}`,
            embeddings `E_{token id}_{position}`, logits `{n_layers + 1}_{token id}_{position}`.
        labels: text that a file carries for each node ("clerp"); empty strings in a blinded graph.
        edges: edge table.
        scores: of the unpruned graph; None where unknown.
        provenance: model and weight hash, transcoder and hash, tracer version, settings, seed (plain JSON values).
        extra: what a graph file held beyond this, kept so that a round trip loses nothing.
    """

    prompt: str
    tokens: tuple[str, ...]
    token_ids: tuple[int, ...]
    n_layers: int
    nodes: NodeTable
    node_ids: tuple[str, ...]
    labels: tuple[str, ...]
    edges: EdgeTable
    scores: GraphScores | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.nodes)

    @property
    def n_pos(self) -> int:
        """Number of prompt tokens."""
        return len(self.tokens)

    @cached_property
    def index_of(self) -> Mapping[str, int]:
        """Node index by node id."""
        return {node_id: index for index, node_id in enumerate(self.node_ids)}

    def index(self, node_id: str) -> int:
        """Index of one node.

        Raises:
            UnknownIdError: no node has this id.
        """
        try:
            return self.index_of[node_id]
        except KeyError:
            raise UnknownIdError(
                f"node id {node_id!r} is not in this graph of {self.n_nodes} nodes; "
                "ids read layer_feature_position, E_token_position or layer_token_position"
            ) from None

    def of_kind(self, kind: NodeKind) -> IntArray:
        """Indices of the nodes of one kind, ascending."""
        return np.flatnonzero(self.nodes.kind == kind).astype(np.int64)

    def feature_node(self, index: int) -> FeatureNode:
        """The feature, layer and position of one feature node."""
        table = self.nodes
        return FeatureNode(int(table.layer[index]), int(table.position[index]), int(table.feature[index]))

    @cached_property
    def node_of_feature(self) -> Mapping[FeatureNode, int]:
        """Node index by feature and position, features only."""
        return {self.feature_node(int(i)): int(i) for i in self.of_kind(NodeKind.FEATURE)}

    @cached_property
    def target_logit(self) -> int | None:
        """Index of the most probable logit node, or None in a graph without logits."""
        logits = self.of_kind(NodeKind.LOGIT)
        if not len(logits):
            return None
        return int(logits[np.nanargmax(np.nan_to_num(self.nodes.activation[logits], nan=-1.0))])

    def token_text(self, index: int) -> str:
        """The token a node stands on: its own token for embeddings, the position's token for everything else."""
        return self.tokens[int(self.nodes.position[index])]

    def dense(self) -> FloatArray:
        """The adjacency matrix `[n_nodes target, n_nodes source]`; 4 n_nodes^2 bytes."""
        matrix = np.zeros((self.n_nodes, self.n_nodes), dtype=self.edges.weight.dtype)
        matrix[self.edges.target, self.edges.source] = self.edges.weight
        return matrix

    def subgraph(self, node_mask: BoolArray, edge_mask: BoolArray | None = None) -> AttributionGraph:
        """The graph of the kept nodes, and of the kept edges between them.

        Args:
            node_mask: `[n_nodes]`.
            edge_mask: `[n_edges]`; None keeps every edge between kept nodes.
        """
        order = np.flatnonzero(node_mask)
        new_index = np.full(self.n_nodes, -1, dtype=np.int64)
        new_index[order] = np.arange(len(order))
        if edge_mask is None:
            kept = self.edges.inside(node_mask)
        else:
            kept = EdgeTable(self.edges.target[edge_mask], self.edges.source[edge_mask], self.edges.weight[edge_mask])
            kept = kept.inside(node_mask)
        edges = EdgeTable(new_index[kept.target], new_index[kept.source], kept.weight)
        return replace(
            self,
            nodes=self.nodes.take(order),
            node_ids=tuple(self.node_ids[i] for i in order),
            labels=tuple(self.labels[i] for i in order),
            edges=edges,
        )

    def with_influence(self, influence: FloatArray) -> AttributionGraph:
        """The same graph with the cumulative influence share of every node, `[n_nodes]`."""
        return replace(self, nodes=replace(self.nodes, influence=influence.astype(np.float32)))

    def to_networkx(self) -> networkx.DiGraph[str]:
        """A `networkx.DiGraph` over node ids, with node and edge attributes as plain Python values."""
        import networkx

        graph: networkx.DiGraph[str] = networkx.DiGraph()
        table = self.nodes
        for i, node_id in enumerate(self.node_ids):
            graph.add_node(
                node_id,
                kind=NodeKind(int(table.kind[i])).name.lower(),
                layer=int(table.layer[i]),
                position=int(table.position[i]),
                feature=int(table.feature[i]),
                activation=float(table.activation[i]),
                influence=float(table.influence[i]),
                bias=float(table.bias[i]),
                label=self.labels[i],
            )
        for target, source, weight in zip(self.edges.target, self.edges.source, self.edges.weight, strict=True):
            graph.add_edge(self.node_ids[source], self.node_ids[target], weight=float(weight))
        return graph


def standard_node_ids(nodes: NodeTable, n_layers: int) -> tuple[str, ...]:
    """Node ids in the current circuit-tracer spelling, in which error ids cannot collide with feature ids."""

    def spell(kind: int, layer: int, position: int, feature: int) -> str:
        if kind == NodeKind.EMBEDDING:
            return f"E_{feature}_{position}"
        if kind == NodeKind.LOGIT:
            return f"{n_layers + 1}_{feature}_{position}"
        return f"{layer}_{feature}_{position}"

    columns: Sequence[IntArray] = (nodes.kind, nodes.layer, nodes.position, nodes.feature)
    return tuple(spell(*(int(v) for v in row)) for row in zip(*columns, strict=True))
