"""One node of a graph with the edges into it and out of it, strongest first."""

from __future__ import annotations

import math
from typing import Literal, TypedDict

import numpy as np
from pydantic import BaseModel, ConfigDict

from tracescribe.agents.rendering.visible_text import visible_text, visible_token
from tracescribe.runs.web.graph_data import ServedGraph
from tracescribe.tracer.graph import AttributionGraph, IntArray, NodeKind

Kind = Literal["feature", "error", "embedding", "logit"]


class _Named(TypedDict):
    node_id: str
    kind: Kind
    layer: int
    position: int
    feature: int | None
    token: str
    label: str


_KINDS: dict[NodeKind, Kind] = {
    NodeKind.FEATURE: "feature",
    NodeKind.ERROR: "error",
    NodeKind.EMBEDDING: "embedding",
    NodeKind.LOGIT: "logit",
}


class NodeLink(BaseModel):
    """The other end of an edge.

    Attributes:
        weight: of the edge: direct effect of its source on its target's pre-activation.
        share: |weight| by the sum of |weight| over all edges on that side of the node.
    """

    model_config = ConfigDict(frozen=True)

    node_id: str
    kind: Kind
    layer: int
    position: int
    feature: int | None
    token: str
    label: str
    weight: float
    share: float


class NodeDetails(BaseModel):
    """A node.

    Attributes:
        layer: -1 for tokens of the prompt, the number of layers for outputs.
        feature: index of a feature; token id of a token or an output; None for an error.
        token: of the prompt, at the node's position.
        activation: of a feature, in this prompt; probability of an output.
        influence: share of the influence on the answer that comes from more influential nodes and this one.
        bias: part of the pre-activation that no edge carries.
        inputs, outputs: strongest first, as many as were asked for.
        n_inputs, n_outputs: how many there are.
        input_total, output_total: sum of |weight| over all of them.
    """

    model_config = ConfigDict(frozen=True)

    node_id: str
    kind: Kind
    layer: int
    position: int
    feature: int | None
    token: str
    label: str
    activation: float | None
    influence: float | None
    bias: float | None
    inputs: tuple[NodeLink, ...]
    outputs: tuple[NodeLink, ...]
    n_inputs: int
    n_outputs: int
    input_total: float
    output_total: float


def node_details(served: ServedGraph, node_id: str, limit: int) -> NodeDetails:
    """A node with its edges.

    Args:
        limit: edges on each side.

    Raises:
        UnknownIdError: the graph has no such node.
    """
    graph = served.graph
    index = graph.index(node_id)
    incoming = _rows(served.by_target, index)
    outgoing = _rows(served.by_source, index)
    source, target = np.asarray(graph.edges.source), np.asarray(graph.edges.target)
    inputs, input_total = _links(graph, incoming, source, limit)
    outputs, output_total = _links(graph, outgoing, target, limit)
    table = graph.nodes
    return NodeDetails(
        **_named(graph, index),
        activation=_number(float(table.activation[index])),
        influence=_number(float(table.influence[index])),
        bias=_number(float(table.bias[index])),
        inputs=inputs,
        outputs=outputs,
        n_inputs=len(incoming),
        n_outputs=len(outgoing),
        input_total=input_total,
        output_total=output_total,
    )


def _rows(grouped: tuple[IntArray, IntArray], index: int) -> IntArray:
    order, start = grouped
    return order[start[index] : start[index + 1]]


def _links(
    graph: AttributionGraph, rows: IntArray, other_end: IntArray, limit: int
) -> tuple[tuple[NodeLink, ...], float]:
    weight = np.asarray(graph.edges.weight, dtype=np.float64)[rows]
    total = float(np.abs(weight).sum())
    order = np.argsort(-np.abs(weight), kind="stable")[:limit]
    ends, weights = other_end[rows[order]].tolist(), weight[order].tolist()
    found = tuple(
        NodeLink(**_named(graph, end), weight=value, share=abs(value) / total if total > 0 else 0.0)
        for end, value in zip(ends, weights, strict=True)
    )
    return found, total


def _named(graph: AttributionGraph, index: int) -> _Named:
    table = graph.nodes
    feature = int(table.feature[index])
    return {
        "node_id": graph.node_ids[index],
        "kind": _KINDS[NodeKind(int(table.kind[index]))],
        "layer": int(table.layer[index]),
        "position": int(table.position[index]),
        "feature": feature if feature >= 0 else None,
        "token": visible_token(graph.token_text(index)),
        "label": visible_text(graph.labels[index]),
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
