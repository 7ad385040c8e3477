"""The native graph file (`.tsgraph`): a safetensors file of the graph's arrays, exact to the bit, small and fast.

Arrays: `node.kind` (uint8), `node.layer`, `node.position` (int32), `node.feature` (int64), `node.activation`,
`node.influence`, `node.bias` (float32 or float64), `edge.source` (int32), `edge.weight` (float32 or float64), and either
`edge.row_end` (int64, `[n_nodes]`: where the edges into each node end, for edges in row order) or `edge.target` (int32).
`text` (uint8) is zlib-packed JSON: prompt, tokens, ids, labels, scores, provenance and what a JSON file held beyond.

The header's one entry, `tracescribe`, holds format, version and the SHA-256 of all arrays, so that a damaged file is
known before it is used. Any safetensors reader opens the file.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracescribe.tracer.errors import GraphFormatError, OutputError
from tracescribe.tracer.graph import AttributionGraph, EdgeTable, NodeTable, standard_node_ids
from tracescribe.tracer.graph_document import MAX_BYTES, load_json
from tracescribe.tracer.graph_parts import join_parts, part_of
from tracescribe.tracer.graph_rows import MAX_NODES, MAX_TEXT
from tracescribe.tracer.provenance import write_bytes_atomic

FORMAT = "tracescribe-graph"
FORMAT_VERSION = 1

MAX_FILE_BYTES = 1 << 34
"""Largest file: a billion edges."""

_Array = NDArray[Any]
_HEADER = "tracescribe"
_MAX_HEADER = 1000
_FLOATS = ("F32", "F64")
_NODE_COLUMNS = {
    "node.kind": ("U8",),
    "node.layer": ("I32",),
    "node.position": ("I32",),
    "node.feature": ("I64",),
    "node.activation": _FLOATS,
    "node.influence": _FLOATS,
    "node.bias": _FLOATS,
}
_EDGE_COLUMNS = {"edge.source": ("I32",), "edge.weight": _FLOATS}
_TARGETS = {"edge.row_end": ("I64",), "edge.target": ("I32",)}
_TEXT = {"text": ("U8",)}
_ALLOWED = {**_NODE_COLUMNS, **_EDGE_COLUMNS, **_TARGETS, **_TEXT}


def write_native(path: str | Path, graph: AttributionGraph) -> None:
    """Write a graph; the same graph gives the same bytes.

    Raises:
        OutputError: the file cannot be written, or the graph holds what JSON cannot.
    """
    from safetensors.numpy import save

    path = Path(path)
    arrays = _arrays(graph, path)
    header = {"format": FORMAT, "version": FORMAT_VERSION, "sha256": _sha256(arrays)}
    # one entry only: safetensors does not promise an order of several
    write_bytes_atomic(path, save(arrays, metadata={_HEADER: json.dumps(header)}))


def read_native(path: str | Path, name: str | None = None) -> AttributionGraph:
    """Read a graph, bit for bit as it was written.

    Args:
        path: of the file.
        name: by which errors call it; None for its path.

    Raises:
        GraphFormatError: no such file, no native graph, damaged, or with faults; the message names the place.
    """
    path = Path(path)
    name = name or str(path)
    arrays = _load(path, name)
    text = _unpack_text(arrays["text"].tobytes(), name)
    if not isinstance(text, dict) or set(text) != {"graph", "node_ids", "labels"}:
        raise GraphFormatError(f"{name}: text: expected graph, node_ids and labels")
    target = _targets(arrays, name)
    table = NodeTable(
        kind=arrays["node.kind"].astype(np.int64),
        layer=arrays["node.layer"].astype(np.int64),
        position=arrays["node.position"].astype(np.int64),
        feature=arrays["node.feature"],
        activation=arrays["node.activation"],
        influence=arrays["node.influence"],
        bias=arrays["node.bias"],
    )
    n_layers = text["graph"].get("n_layers") if isinstance(text["graph"], dict) else None
    ids = text["node_ids"]
    if ids is None and isinstance(n_layers, int):
        ids = standard_node_ids(table, n_layers)
    return join_parts(
        text["graph"],
        table,
        _texts(ids, "node_ids", len(table), name),
        _texts(text["labels"], "labels", len(table), name),
        EdgeTable(target, arrays["edge.source"], arrays["edge.weight"]),
        name,
    )


def _arrays(graph: AttributionGraph, path: Path) -> dict[str, _Array]:
    table, edges = graph.nodes, graph.edges
    if graph.n_nodes > MAX_NODES:
        raise OutputError(f"cannot write {path}: {graph.n_nodes} nodes, at most {MAX_NODES} are read back")
    is_standard = graph.node_ids == standard_node_ids(table, graph.n_layers)
    text = {
        "graph": part_of(graph),
        "node_ids": None if is_standard else list(graph.node_ids),
        "labels": list(graph.labels),
    }
    try:
        content = json.dumps(text, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, TypeError) as error:
        raise OutputError(f"cannot write {path}: the graph holds a value that JSON does not have ({error})") from error
    if len(content) > MAX_BYTES:
        raise OutputError(f"cannot write {path}: {len(content)} bytes of text, at most {MAX_BYTES} are read back")
    arrays: dict[str, _Array] = {
        "node.kind": table.kind.astype(np.uint8),
        "node.layer": table.layer.astype(np.int32),
        "node.position": table.position.astype(np.int32),
        "node.feature": table.feature.astype(np.int64),
        "node.activation": _floats(table.activation),
        "node.influence": _floats(table.influence),
        "node.bias": _floats(table.bias),
        "edge.source": np.ascontiguousarray(edges.source, dtype=np.int32),
        "edge.weight": _floats(edges.weight),
        "text": np.frombuffer(zlib.compress(content, 6), dtype=np.uint8),
    }
    target = np.asarray(edges.target)
    if (target[1:] >= target[:-1]).all():
        arrays["edge.row_end"] = np.cumsum(np.bincount(target, minlength=graph.n_nodes), dtype=np.int64)
    else:
        arrays["edge.target"] = np.ascontiguousarray(target, dtype=np.int32)
    return arrays


def _floats(column: _Array) -> _Array:
    return np.ascontiguousarray(column, dtype=np.float64 if column.dtype == np.float64 else np.float32)


def _sha256(arrays: Mapping[str, _Array]) -> str:
    """SHA-256 over names, types and contents of arrays, in name order."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}:{array.dtype.str}:{array.size};".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _load(path: Path, name: str) -> dict[str, _Array]:
    """The arrays of a file, with the names and types that they must have, and as they were written."""
    from safetensors import SafetensorError, safe_open

    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise GraphFormatError(f"{name}: {size} bytes, at most {MAX_FILE_BYTES} are read")
        if not path.is_file():
            raise GraphFormatError(f"cannot read graph file {name}: not a file; check the path")
        with safe_open(str(path), framework="np") as file:
            told = (file.metadata() or {}).get(_HEADER, "")
            header = _header(told, name)
            _refuse_shapes({key: file.get_slice(key) for key in file.keys()}, name)  # noqa: SIM118  not a dict
            arrays = {key: np.asarray(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        reason = " ".join(str(error).split())[:100]
        raise GraphFormatError(f"{name}: no native graph file ({reason}); it may be cut off: write it again") from error
    except OSError as error:
        raise GraphFormatError(f"cannot read graph file {name}: {error.strerror or error}; check the path") from error
    found = _sha256(arrays)
    if found != header["sha256"]:
        raise GraphFormatError(
            f"{name}: damaged: content has SHA-256 {found[:12]}, written was {str(header['sha256'])[:12]!r}; "
            "copy or write it again"
        )
    return arrays


def _header(told: str, name: str) -> Mapping[str, Any]:
    header = load_json(told.encode("utf-8", "replace"), f"{name}: header") if 0 < len(told) <= _MAX_HEADER else None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise GraphFormatError(f"{name}: a safetensors file, but no graph of the native format")
    if header.get("version") != FORMAT_VERSION:
        found = str(header.get("version"))[:20]
        raise GraphFormatError(f"{name}: format version {found}, this release reads {FORMAT_VERSION}; update it")
    return {"sha256": header.get("sha256")}


def _refuse_shapes(slices: Mapping[str, Any], name: str) -> None:
    """Refuse arrays with other names, types or shapes than the format has."""
    faults = [f"array {key!r:.40}: not part of the format" for key in slices if key not in _ALLOWED]
    needed = [*_NODE_COLUMNS, *_EDGE_COLUMNS, *_TEXT]
    faults += [f"array {key}: missing" for key in needed if key not in slices]
    if len(_TARGETS.keys() & slices.keys()) != 1:
        faults.append("arrays edge.row_end and edge.target: expected one of them")
    shapes = {key: tuple(part.get_shape()) for key, part in slices.items() if key in _ALLOWED}
    for key, shape in shapes.items():
        found = str(slices[key].get_dtype())
        if found not in _ALLOWED[key]:
            faults.append(f"array {key}: {found}, expected {' or '.join(_ALLOWED[key])}")
        if len(shape) != 1:
            faults.append(f"array {key}: shape {str(shape)[:60]}, expected one axis")
    if not faults:
        per_node = {key: shapes[key][0] for key in (*_NODE_COLUMNS, "edge.row_end") if key in shapes}
        per_edge = {key: shapes[key][0] for key in (*_EDGE_COLUMNS, "edge.target") if key in shapes}
        for lengths in (per_node, per_edge):
            if len(set(lengths.values())) > 1:
                faults.append(f"arrays of different lengths: {', '.join(f'{k} {n}' for k, n in lengths.items())}")
        if per_node["node.kind"] > MAX_NODES:
            faults.append(f"{per_node['node.kind']} nodes, at most {MAX_NODES} are read")
    if faults:
        raise GraphFormatError(f"{name}: {'; '.join(faults[:5])}")


def _targets(arrays: Mapping[str, _Array], name: str) -> _Array:
    if "edge.target" in arrays:
        return arrays["edge.target"]
    ends, n_edges = arrays["edge.row_end"], len(arrays["edge.source"])
    counts = np.diff(ends, prepend=np.int64(0))
    bounded = not len(ends) or (int(ends.min()) >= 0 and int(ends.max()) <= n_edges)
    if not bounded or (counts < 0).any() or (int(ends[-1]) if len(ends) else 0) != n_edges:
        raise GraphFormatError(f"{name}: array edge.row_end: expected to rise to the number of edges, {n_edges}")
    return np.repeat(np.arange(len(ends), dtype=np.int32), counts)


def _unpack_text(packed: bytes, name: str) -> Any:
    decompressor = zlib.decompressobj()
    try:
        content = decompressor.decompress(packed, MAX_BYTES)
    except zlib.error as error:
        raise GraphFormatError(f"{name}: text: damaged zlib data ({error})") from error
    if not decompressor.eof or decompressor.unused_data:
        raise GraphFormatError(f"{name}: text: zlib data of the wrong length, or of more than {MAX_BYTES} bytes")
    return load_json(content, f"{name}: text")


def _texts(values: Any, key: str, n: int, name: str) -> list[str]:
    if not isinstance(values, list | tuple) or len(values) != n:
        raise GraphFormatError(f"{name}: text.{key}: expected a list of {n} texts")
    for i, value in enumerate(values):
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            raise GraphFormatError(f"{name}: text.{key}[{i}]: expected a text of at most {MAX_TEXT} characters")
    return list(values)
