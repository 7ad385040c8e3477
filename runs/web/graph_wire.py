"""An attribution graph as one block of bytes for the page that draws it, and back.

Layout, little-endian: `TSVG`, format version (uint32), length of the header (uint32), the header as UTF-8 JSON, then the
arrays one after another, each at a multiple of 4 bytes. The header's `arrays` names each with its type (`u1`, `u2`, `u4`,
`i4`, `f4`), its offset from the end of the header, and its number of entries.

Edges come by falling |weight|, so that a page can draw the strongest first and stop anywhere. What does not fit is left
out, and the header tells how much that was.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracescribe.agents.rendering.visible_text import visible_text, visible_token
from tracescribe.tracer.errors import GraphFormatError
from tracescribe.tracer.graph import AttributionGraph, BoolArray, NodeKind, NodeTable

MEDIA_TYPE = "application/vnd.tracescribe.graph"
MAGIC = b"TSVG"
WIRE_VERSION = 1
MAX_NODES = 40_000
"""Nodes that a page is given; beyond it those with the least weight on their edges are left out."""
DEFAULT_EDGES = 150_000
"""Edges that a page is given unless it asks for more."""
MAX_EDGES = 2_000_000
"""Edges that a page may ask for."""
MAX_SHOWN = 200
"""Characters of a label or token that are sent; the page of the node has the whole of it."""

_Array = NDArray[Any]
_TYPES = {"u1": np.uint8, "u2": np.uint16, "u4": np.uint32, "i4": np.int32, "f4": np.float32}
_HEAD = struct.Struct("<4sII")


@dataclass(frozen=True, eq=False)
class DrawnGraph:
    """What a page gets: the header's values, and arrays by name.

    Arrays of nodes: `kind`, `layer`, `position`, `feature`, `activation`, `influence`, `slot` (the place in the cell of
    one layer and token, 0 for the most influential). Arrays of edges: `source`, `target` (node numbers), `weight`.
    """

    header: dict[str, Any]
    arrays: dict[str, _Array]


def drawn_graph(graph: AttributionGraph, *, max_edges: int = DEFAULT_EDGES, max_nodes: int = MAX_NODES) -> DrawnGraph:
    """What is drawn of a graph.

    Args:
        graph: any that the readers let pass.
        max_edges: the strongest that are kept.
        max_nodes: tokens and outputs count, and are kept before others.
    """
    kept = kept_nodes(graph, max_nodes)
    small = graph if kept.all() else graph.subgraph(kept)
    weight = np.asarray(small.edges.weight, dtype=np.float64)
    # of equals the earlier ones, so that the same graph gives the same block
    order = np.argsort(-np.abs(weight), kind="stable")[:max_edges]
    table = small.nodes
    index: np.dtype[Any] = np.dtype(np.uint16 if small.n_nodes <= 1 << 16 else np.uint32)
    header = {
        "n_layers": small.n_layers,
        "tokens": [_shown(visible_token(token)) for token in small.tokens],
        "ids": list(small.node_ids),
        "labels": [_shown(visible_text(label)) for label in small.labels],
        "n_nodes_total": graph.n_nodes,
        "n_edges_total": len(graph.edges),
        "absolute_weight_total": float(np.abs(np.asarray(graph.edges.weight, dtype=np.float64)).sum()),
        "target": None if small.target_logit is None else small.node_ids[small.target_logit],
    }
    arrays: dict[str, _Array] = {
        "kind": table.kind.astype(np.uint8),
        "layer": table.layer.astype(np.int32),
        "position": table.position.astype(np.int32),
        "feature": table.feature.astype(np.int32),
        "activation": table.activation.astype(np.float32),
        "influence": table.influence.astype(np.float32),
        "slot": slots(table).astype(np.uint32),
        "source": np.asarray(small.edges.source)[order].astype(index),
        "target": np.asarray(small.edges.target)[order].astype(index),
        "weight": weight[order].astype(np.float32),
    }
    return DrawnGraph(header, arrays)


def kept_nodes(graph: AttributionGraph, max_nodes: int) -> BoolArray:
    """Which nodes are drawn: all that fit; else tokens and outputs, then those with the most weight on their edges."""
    if graph.n_nodes <= max_nodes:
        return np.ones(graph.n_nodes, dtype=np.bool_)
    magnitude = np.abs(np.asarray(graph.edges.weight, dtype=np.float64))
    strength = np.bincount(graph.edges.source, magnitude, graph.n_nodes)
    strength += np.bincount(graph.edges.target, magnitude, graph.n_nodes)
    ends = (graph.nodes.kind == NodeKind.EMBEDDING) | (graph.nodes.kind == NodeKind.LOGIT)
    order = np.lexsort((np.arange(graph.n_nodes), -strength, ~ends))
    kept = np.zeros(graph.n_nodes, dtype=np.bool_)
    kept[order[:max_nodes]] = True
    return kept


def slots(table: NodeTable) -> _Array:
    """Place of every node in its cell of layer and token, counted from 0; the most influential come first.

    Outputs stand by falling probability.
    """
    n = len(table)
    # influence is cumulative: smaller is more influential; unknown goes last
    rank = np.where(
        table.kind == NodeKind.LOGIT, -np.nan_to_num(table.activation), np.nan_to_num(table.influence, nan=2.0)
    )
    order = np.lexsort((np.arange(n), rank, table.position, table.layer))
    layer, position = table.layer[order], table.position[order]
    first = np.ones(n, dtype=np.bool_)
    first[1:] = (layer[1:] != layer[:-1]) | (position[1:] != position[:-1])
    start = np.maximum.accumulate(np.where(first, np.arange(n), 0))
    found = np.empty(n, dtype=np.int64)
    found[order] = np.arange(n) - start
    return found


def encode(graph: DrawnGraph) -> bytes:
    """The block of bytes."""
    places, parts, offset = [], [], 0
    for name, array in graph.arrays.items():
        kind = next(kind for kind, dtype in _TYPES.items() if array.dtype == dtype)
        content = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
        places.append({"name": name, "type": kind, "offset": offset, "length": len(array)})
        padding = -len(content) % 4
        parts.append(content + bytes(padding))
        offset += len(content) + padding
    # offsets count from the end of the header, whose length depends on them otherwise
    header = json.dumps({**graph.header, "arrays": places}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text = header.encode()
    text += b" " * (-len(text) % 4)
    return b"".join([_HEAD.pack(MAGIC, WIRE_VERSION, len(text)), text, *parts])


def decode(content: bytes) -> DrawnGraph:
    """What `encode` made a block of.

    Raises:
        GraphFormatError: it is no such block, or is cut off.
    """
    if len(content) < _HEAD.size:
        raise GraphFormatError(f"drawn graph: {len(content)} bytes, expected at least {_HEAD.size}; ask for it again")
    magic, version, length = _HEAD.unpack_from(content)
    if magic != MAGIC or version != WIRE_VERSION:
        raise GraphFormatError(
            f"drawn graph: begins with {magic!r}, version {version}; expected {MAGIC!r}, {WIRE_VERSION}"
        )
    base = _HEAD.size + length
    try:
        header = json.loads(content[_HEAD.size : base].decode())
        arrays = {}
        for place in header.pop("arrays"):
            dtype = np.dtype(_TYPES[place["type"]]).newbyteorder("<")
            arrays[place["name"]] = np.frombuffer(content, dtype, place["length"], base + place["offset"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GraphFormatError(f"drawn graph: damaged ({error}); ask for it again") from error
    return DrawnGraph(header, arrays)


def _shown(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
