"""From a checked graph document to an `AttributionGraph`.

Traps of published files: `feature` is a Cantor number, a bare index or something else again, so feature indices come
from node ids; old error ids (`0_{layer}_{position}`) collide with ids of layer-0 features, so kinds come from
`feature_type`, and `link_ends` tells which node a link means.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tracescribe.tracer.graph import AttributionGraph, EdgeTable, GraphScores, NodeKind, NodeTable
from tracescribe.tracer.graph_checks import cycle_faults
from tracescribe.tracer.graph_document import GraphDocument, GraphFaultsError
from tracescribe.tracer.graph_rows import MAX_INDEX, MAX_LAYERS, NODE_ID_SHAPES, NodeRow, OwnBlock
from tracescribe.tracer.link_ends import ImportedNode, LinkEnds
from tracescribe.tracer.query_parameters import with_renamed_nodes

_log = logging.getLogger(__name__)

KIND_OF_TYPE = {
    "cross layer transcoder": NodeKind.FEATURE,  # per-layer transcoders too
    "mlp reconstruction error": NodeKind.ERROR,
    "embedding": NodeKind.EMBEDDING,
    "logit": NodeKind.LOGIT,
}
"""Node kinds by their `feature_type` in a file."""

OWN_KEY = "tracescribe"
"""Key of this product's block in `metadata`."""

_NEW_ERROR = re.compile(r"\d+_-1_\d+")


def import_graph(document: GraphDocument, name: str) -> AttributionGraph:
    """Build the graph of a document.

    Args:
        document: checked rows.
        name: how messages call it.

    Raises:
        GraphFormatError: ids that contradict their rows, duplicate nodes or links, links to unknown nodes, a cycle.
    """
    faults: list[str] = []
    n_pos = len(document.metadata.prompt_tokens)
    nodes = [n for i, row in enumerate(document.nodes) if (n := _read_node(row, f"nodes[{i}]", n_pos, faults))]
    if faults:
        raise GraphFaultsError(name, faults)
    _refuse_duplicates(nodes, faults)
    ends = LinkEnds(nodes)
    pairs, aside = ends.resolve(document.links, faults)
    if faults:
        raise GraphFaultsError(name, faults)
    if aside:
        _log.warning("%s: %d links could mean either of two nodes and were set aside", name, len(aside))
    own, links = document.metadata.tracescribe, document.raw["links"]
    n_layers = _n_layers(nodes, own, faults)
    dtype: np.dtype[Any] = np.dtype(np.float32 if own is None else own.dtype)
    table = _node_table(nodes, n_layers, own, dtype)
    left_out = set(aside)
    kept = [i for i in range(len(pairs)) if i not in left_out]
    edges = EdgeTable(
        target=np.array([pairs[i][1] for i in kept], dtype=np.int64),
        source=np.array([pairs[i][0] for i in kept], dtype=np.int64),
        weight=np.array([document.links.weight[i] for i in kept], dtype=dtype),
    )
    faults += cycle_faults([node.node_id for node in nodes], table.layer, edges.target, edges.source)
    if faults:
        raise GraphFaultsError(name, faults)
    return AttributionGraph(
        prompt=document.metadata.prompt,
        tokens=tuple(document.metadata.prompt_tokens),
        token_ids=_token_ids(nodes, n_pos, own, name),
        n_layers=n_layers,
        nodes=table,
        node_ids=tuple(node.node_id for node in nodes),
        labels=tuple(node.row.clerp or "" for node in nodes),
        edges=edges,
        scores=None if own is None or own.scores is None else GraphScores(**own.scores.model_dump()),
        provenance=_provenance(document, own),
        extra=_extra(document, nodes, edges, [links[i] for i in kept], [links[i] for i in aside]),
    )


def _read_node(row: NodeRow, where: str, n_pos: int, faults: list[str]) -> ImportedNode | None:
    """One node; None after a fault."""
    kind = KIND_OF_TYPE[row.feature_type]
    before = len(faults)
    if row.ctx_idx >= n_pos:
        faults.append(f"{where}.ctx_idx: {row.ctx_idx}, but the prompt has {n_pos} tokens")
    if kind == NodeKind.ERROR:
        return _read_error(row, where, faults) if len(faults) == before else None
    if not re.fullmatch(NODE_ID_SHAPES[row.feature_type], row.node_id):
        shape = "E_token_position" if kind == NodeKind.EMBEDDING else "layer_feature_position"
        faults.append(f"{where}.node_id: {row.node_id!r}, expected {shape} for a node of type {row.feature_type!r}")
        return None
    first, feature, position = (-1 if part == "E" else int(part) for part in row.node_id.split("_"))
    layer = -1 if kind == NodeKind.EMBEDDING else first
    if feature > MAX_INDEX or layer > MAX_LAYERS:
        faults.append(f"{where}.node_id: {row.node_id!r} has numbers beyond any model")
    if position != row.ctx_idx:
        faults.append(f"{where}.ctx_idx: {row.ctx_idx}, but node_id {row.node_id!r} says {position}")
    if kind == NodeKind.FEATURE and str(row.layer) != str(layer):
        faults.append(f"{where}.layer: {row.layer!r}, but node_id {row.node_id!r} says {layer}")
    return ImportedNode(row.node_id, kind, layer, position, feature, row) if len(faults) == before else None


def _read_error(row: NodeRow, where: str, faults: list[str]) -> ImportedNode | None:
    text = str(row.layer)
    if not re.fullmatch("0|[1-9][0-9]{0,5}", text) or int(text) > MAX_LAYERS:
        faults.append(f"{where}.layer: {row.layer!r}, expected a layer number")
        return None
    layer = int(text)
    new, old = f"{layer}_-1_{row.ctx_idx}", f"0_{layer}_{row.ctx_idx}"
    if row.node_id != new and _NEW_ERROR.fullmatch(row.node_id):
        faults.append(f"{where}.node_id: {row.node_id!r}, but the row says layer {layer}, position {row.ctx_idx}")
        return None
    # foreign spellings without a layer stay as they are
    node_id = new if row.node_id == old else row.node_id
    return ImportedNode(node_id, NodeKind.ERROR, layer, row.ctx_idx, -1, row)


def _refuse_duplicates(nodes: Sequence[ImportedNode], faults: list[str]) -> None:
    counts = Counter(node.node_id for node in nodes)
    faults.extend(f"nodes: id {node_id!r} stands {n} times" for node_id, n in counts.items() if n > 1)


def _n_layers(nodes: Sequence[ImportedNode], own: OwnBlock | None, faults: list[str]) -> int:
    """Layers of the model: as the file says, else enough for every feature and error, and for circuit-tracer's logits."""
    below = max((n.layer for n in nodes if n.kind in (NodeKind.FEATURE, NodeKind.ERROR)), default=-1)
    if own is not None:
        if below >= own.n_layers:
            faults.append(f"metadata.{OWN_KEY}.n_layers: {own.n_layers}, but a node stands at layer {below}")
        return own.n_layers
    logits = max((n.layer for n in nodes if n.kind == NodeKind.LOGIT), default=0)
    return max(below + 1, logits - 1, 1)


def _node_table(nodes: Sequence[ImportedNode], n_layers: int, own: OwnBlock | None, dtype: np.dtype[Any]) -> NodeTable:
    layer = {NodeKind.EMBEDDING: -1, NodeKind.LOGIT: n_layers}
    bias = {} if own is None else own.bias

    def number(value: float | None) -> float:
        return np.nan if value is None else value

    def activation(node: ImportedNode) -> float:
        if node.kind == NodeKind.LOGIT:
            return number(node.row.token_prob)
        return number(node.row.activation) if node.kind == NodeKind.FEATURE else np.nan

    return NodeTable(
        kind=np.array([n.kind for n in nodes], dtype=np.int64),
        layer=np.array([layer.get(n.kind, n.layer) for n in nodes], dtype=np.int64),
        position=np.array([n.position for n in nodes], dtype=np.int64),
        feature=np.array([n.feature for n in nodes], dtype=np.int64),
        activation=np.array([activation(n) for n in nodes], dtype=dtype),
        influence=np.array([number(n.row.influence) for n in nodes], dtype=dtype),
        bias=np.array([number(bias.get(n.node_id)) for n in nodes], dtype=dtype),
    )


def _token_ids(nodes: Sequence[ImportedNode], n_pos: int, own: OwnBlock | None, name: str) -> tuple[int, ...]:
    if own is not None and own.token_ids is not None:
        if len(own.token_ids) not in (0, n_pos):
            fault = f"metadata.{OWN_KEY}.token_ids: {len(own.token_ids)} entries, but the prompt has {n_pos} tokens"
            raise GraphFaultsError(name, [fault])
        return tuple(own.token_ids)
    by_position = {n.position: n.feature for n in nodes if n.kind == NodeKind.EMBEDDING}
    return tuple(by_position[p] for p in range(n_pos)) if len(by_position) == n_pos else ()


def _provenance(document: GraphDocument, own: OwnBlock | None) -> Mapping[str, Any]:
    if own is not None:
        return own.provenance
    return {"model": document.metadata.scan} if isinstance(document.metadata.scan, str) else {}


def _extra(
    document: GraphDocument, nodes: Sequence[ImportedNode], edges: EdgeTable, kept: Sequence[Any], aside: Sequence[Any]
) -> Mapping[str, Any]:
    """What the file holds beyond the graph.

    `metadata`, `qParams` and `document` (other top-level keys) as read; `order`: the top-level keys in the file's
    order; `nodes`: each node's row by node id; `links`: rows that hold more than a weight of the graph's own precision,
    by source and target id; `ambiguous_links`: rows set aside.
    """
    raw = document.raw
    metadata = {key: value for key, value in raw["metadata"].items() if key != OWN_KEY}
    known = {"metadata", "qParams", "nodes", "links"}
    rows = {node.node_id: row for node, row in zip(nodes, raw["nodes"], strict=True)}
    ids = [node.node_id for node in nodes]
    links: dict[tuple[str, str], Any] = {}
    columns = (edges.target.tolist(), edges.source.tolist(), edges.weight.tolist())
    for row, target, source, weight in zip(kept, *columns, strict=True):
        if len(row) > 3 or weight != row["weight"]:
            links[ids[source], ids[target]] = row
    own = document.metadata.tracescribe
    aside = [*([] if own is None else own.ambiguous_links), *aside]
    extra = {
        "metadata": metadata,
        "document": {key: value for key, value in raw.items() if key not in known},
        "order": list(raw),
        "nodes": rows,
        "links": links,
        "ambiguous_links": aside,
    }
    if "qParams" in raw:
        extra["qParams"] = _saved_view(raw["qParams"], nodes)
    return extra


def _saved_view(parameters: Any, nodes: Sequence[ImportedNode]) -> Any:
    """`qParams` with errors under their new ids, except where an old id means a feature as well."""
    if parameters is None:
        return None
    meanings = Counter(node.row.node_id for node in nodes)
    renamed = {n.row.node_id: n.node_id for n in nodes if n.node_id != n.row.node_id and meanings[n.row.node_id] == 1}
    return with_renamed_nodes(parameters, renamed)
