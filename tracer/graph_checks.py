"""What every attribution graph must be, whichever file it came from: the checks that all readers share.

A graph that passes can be pruned, drawn, written in any format and read back.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence, Sized

import numpy as np
from numpy.typing import NDArray

from tracescribe.tracer.graph import AttributionGraph, NodeKind
from tracescribe.tracer.graph_rows import MAX_INDEX, MAX_LAYERS, MAX_NUMBER

_MAX_LISTED = 20
"""Rows that one check names; the rest are counted."""

_NODE_ID = re.compile(r"[A-Za-z0-9_.\-]{1,100}")
_NEW_ERROR = re.compile("[0-9]+_-1_[0-9]+")
_OUTPUT_LAYER = re.compile("0|[1-9][0-9]{0,18}")


def graph_faults(graph: AttributionGraph) -> list[str]:
    """Everything that is wrong with a graph, each with its place: `nodes[3].layer`, `links[7].weight`; empty if nothing.

    Columns of the wrong length end the checks, since nothing else can be said then.
    """
    faults = list(_length_faults(graph))
    if faults:
        return faults
    faults += _prompt_faults(graph)
    faults += _node_faults(graph)
    faults += _id_faults(graph)
    faults += _edge_faults(graph)
    if not faults:
        faults += cycle_faults(graph.node_ids, graph.nodes.layer, graph.edges.target, graph.edges.source)
    return faults


def cycle_faults(
    node_ids: Sequence[str], layer: NDArray[np.integer], target: NDArray[np.integer], source: NDArray[np.integer]
) -> list[str]:
    """A fault if edges run in a circle: influence would never end.

    Args:
        node_ids: `[n_nodes]`.
        layer: `[n_nodes]`.
        target: `[n_edges]` node indices.
        source: `[n_edges]` node indices.
    """
    if (layer[target] > layer[source]).all():
        return []
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    at_itself = np.flatnonzero(target == source)
    if len(at_itself):
        return [f"links: a cycle runs through node {node_ids[int(target[at_itself[0]])]!r}"]
    n = len(node_ids)
    ones = np.ones(len(target), dtype=np.bool_)
    adjacency = coo_array((ones, (source, target)), shape=(n, n)).tocsr()
    n_components, component = connected_components(adjacency, directed=True, connection="strong")
    if n_components == n:
        return []
    crowded = int(np.flatnonzero(np.bincount(component, minlength=n_components) > 1)[0])
    node = int(np.flatnonzero(component == crowded)[0])
    return [f"links: a cycle runs through node {node_ids[node]!r}"]


def _length_faults(graph: AttributionGraph) -> Iterator[str]:
    table, edges, n = graph.nodes, graph.edges, graph.n_nodes
    columns: dict[str, Sized] = {
        "layer": table.layer, "position": table.position, "feature": table.feature, "activation": table.activation,
        "influence": table.influence, "bias": table.bias, "node_id": graph.node_ids, "label": graph.labels,
    }  # fmt: skip
    for name, column in columns.items():
        if len(column) != n:
            yield f"nodes.{name}: {len(column)} entries for {n} nodes"
    for name, ends in (("source", edges.source), ("target", edges.target)):
        if len(ends) != len(edges):
            yield f"links.{name}: {len(ends)} entries for {len(edges)} links"


def _prompt_faults(graph: AttributionGraph) -> Iterator[str]:
    if not graph.n_pos:
        yield "prompt_tokens: none, expected at least one"
    if graph.token_ids and len(graph.token_ids) != graph.n_pos:
        yield f"token_ids: {len(graph.token_ids)} entries, but the prompt has {graph.n_pos} tokens"
    if not 1 <= graph.n_layers <= MAX_LAYERS:
        yield f"n_layers: {graph.n_layers}, expected 1 to {MAX_LAYERS}"


def _node_faults(graph: AttributionGraph) -> Iterator[str]:
    table, n_layers = graph.nodes, graph.n_layers
    kind = table.kind
    yield from _rows("nodes", "kind", kind, ~np.isin(kind, list(NodeKind)), "expected a node kind, 0 to 3")
    within = (kind == NodeKind.FEATURE) | (kind == NodeKind.ERROR)
    expected = np.where(kind == NodeKind.EMBEDDING, -1, n_layers)
    wrong = np.where(within, (table.layer < 0) | (table.layer >= n_layers), table.layer != expected)
    yield from _rows(
        "nodes", "layer", table.layer, wrong, f"expected 0 to {n_layers - 1}, -1 for tokens, {n_layers} for outputs"
    )
    wrong = (table.position < 0) | (table.position >= graph.n_pos)
    yield from _rows("nodes", "position", table.position, wrong, f"but the prompt has {graph.n_pos} tokens")
    wrong = np.where(kind == NodeKind.ERROR, table.feature != -1, (table.feature < 0) | (table.feature > MAX_INDEX))
    yield from _rows("nodes", "feature", table.feature, wrong, "expected an index, -1 for errors")
    for name, column in (("activation", table.activation), ("influence", table.influence), ("bias", table.bias)):
        wrong = np.abs(np.nan_to_num(column, nan=0.0, posinf=np.inf, neginf=-np.inf)) > MAX_NUMBER
        yield from _rows("nodes", name, column, wrong, "expected a number of usual size")
    probability = np.nan_to_num(table.activation, nan=0.0)
    wrong = (kind == NodeKind.LOGIT) & ((probability < 0) | (probability > 1 + 1e-6))
    yield from _rows("nodes", "activation", table.activation, wrong, "expected the probability of an output token")
    wrong = np.isin(kind, (NodeKind.ERROR, NodeKind.EMBEDDING)) & ~np.isnan(table.activation)
    yield from _rows("nodes", "activation", table.activation, wrong, "expected none for errors and tokens")


def _id_faults(graph: AttributionGraph) -> Iterator[str]:
    counts = Counter(graph.node_ids)
    if len(counts) < graph.n_nodes:
        repeated = [f"nodes: id {node_id[:100]!r} stands {n} times" for node_id, n in counts.items() if n > 1]
        yield from _first(repeated, "nodes")
    table, rows = graph.nodes, enumerate(graph.node_ids)
    columns = (table.kind.tolist(), table.layer.tolist(), table.position.tolist(), table.feature.tolist())
    faults = [
        f"nodes[{i}].node_id: {node_id[:100]!r} contradicts its row"
        for (i, node_id), *row in zip(rows, *columns, strict=True)
        if not _is_id_of(node_id, *row)
    ]
    yield from _first(faults, "nodes")


def _is_id_of(node_id: str, kind: int, layer: int, position: int, feature: int) -> bool:
    if kind == NodeKind.FEATURE:
        return node_id == f"{layer}_{feature}_{position}"
    if kind == NodeKind.EMBEDDING:
        return node_id == f"E_{feature}_{position}"
    if kind == NodeKind.LOGIT:
        first, _, rest = node_id.partition("_")
        return rest == f"{feature}_{position}" and _OUTPUT_LAYER.fullmatch(first) is not None
    if kind == NodeKind.ERROR and _NEW_ERROR.fullmatch(node_id):
        return node_id == f"{layer}_-1_{position}"
    # foreign spellings of errors tell nothing
    return _NODE_ID.fullmatch(node_id) is not None


def _edge_faults(graph: AttributionGraph) -> Iterator[str]:
    edges, n = graph.edges, graph.n_nodes
    ends = (("source", edges.source), ("target", edges.target))
    outside = False
    for name, index in ends:
        wrong = (index < 0) | (index >= n)
        outside |= bool(wrong.any())
        yield from _rows("links", name, index, wrong, f"expected a node, 0 to {n - 1}")
    # not a number is no number of usual size either
    wrong = ~(np.abs(edges.weight) <= MAX_NUMBER)
    yield from _rows("links", "weight", edges.weight, wrong, "expected a number of usual size")
    if outside or not len(edges):
        return
    place = edges.target.astype(np.int64) * n + edges.source
    if (place[1:] > place[:-1]).all():
        return  # in row order, as traced graphs are
    order = np.argsort(place, kind="stable")
    again = order[1:][place[order][1:] == place[order][:-1]]
    faults = [
        f"links[{i}]: repeats another from {graph.node_ids[int(edges.source[i])]!r} to "
        f"{graph.node_ids[int(edges.target[i])]!r}"
        for i in np.sort(again)[:_MAX_LISTED].tolist()
    ]
    yield from faults
    if len(again) > len(faults):
        yield f"links: {len(again) - len(faults)} more are repeated"


def _rows(
    table: str, column: str, values: NDArray[np.generic], wrong: NDArray[np.bool_], expected: str
) -> Iterator[str]:
    index = np.flatnonzero(wrong)
    for i in index[:_MAX_LISTED].tolist():
        yield f"{table}[{i}].{column}: {values[i]}, {expected}"
    if len(index) > _MAX_LISTED:
        yield f"{table}: {len(index) - _MAX_LISTED} more with a wrong {column}"


def _first(faults: list[str], table: str) -> Iterator[str]:
    yield from faults[:_MAX_LISTED]
    if len(faults) > _MAX_LISTED:
        yield f"{table}: {len(faults) - _MAX_LISTED} more with a wrong id"
