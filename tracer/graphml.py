"""GraphML out and in: the format of Gephi, igraph, yEd and networkx.

Every node and edge carries typed attributes, named as `AttributionGraph.to_networkx` names them. What GraphML has no
place for (prompt, scores, provenance, rows of a JSON file) goes into one attribute of the graph, `tracescribe`, as JSON.
Only files that hold it are read back; attributes that other programs added are left out.

A document type is refused, so that no entity is ever expanded.

Source: GraphML primer (graphml.graphdrawing.org); attribute types as networkx 3 writes them.
"""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from tracescribe.tracer.errors import GraphFormatError, OutputError
from tracescribe.tracer.graph import AttributionGraph, EdgeTable, FloatArray, IntArray, NodeKind, NodeTable
from tracescribe.tracer.graph_document import (
    MAX_BYTES,
    MAX_FAULTS,
    GraphFaultsError,
    load_json,
    read_bytes,
    shown,
    unpack,
)
from tracescribe.tracer.graph_parts import join_parts, part_of
from tracescribe.tracer.graph_rows import MAX_INTEGER, MAX_LINKS, MAX_NODES, MAX_NUMBER, MAX_TEXT
from tracescribe.tracer.provenance import write_bytes_atomic

_OWN_KEY = "tracescribe"
_FORMAT_VERSION = 1
_NAMESPACE = "http://graphml.graphdrawing.org/xmlns"
_MAX_DEPTH = 8
_KEYS = {
    "graph": {_OWN_KEY: "string"},
    "node": {
        "kind": "string", "layer": "int", "position": "int", "feature": "long", "activation": "double",
        "influence": "double", "bias": "double", "label": "string",
    },
    "edge": {"weight": "double"},
}  # fmt: skip
_KIND_OF_NAME = {kind.name.lower(): kind for kind in NodeKind}
_NOT_XML = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]")
_INTEGER = re.compile(r"-?\d{1,19}", re.ASCII)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,5})?", re.ASCII)

Attributes = dict[str, str]


def write_graphml(path: str | Path, graph: AttributionGraph) -> None:
    """Write a graph, gzipped if the name ends in `.gz`; the same graph gives the same bytes.

    Raises:
        OutputError: the file cannot be written, or is larger than is read back.
    """
    path = Path(path)
    try:
        content = "".join(_lines(graph)).encode()
    except (ValueError, TypeError) as error:
        raise OutputError(f"cannot write {path}: the graph holds a value that JSON does not have ({error})") from error
    n_edges = len(graph.edges)
    if len(content) > MAX_BYTES or graph.n_nodes > MAX_NODES or n_edges > MAX_LINKS:
        raise OutputError(
            f"cannot write {path}: {len(content)} bytes and {n_edges} edges, at most {MAX_BYTES} and {MAX_LINKS} are "
            "read back; prune the graph, or write the native format (.tsgraph)"
        )
    write_bytes_atomic(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def read_graphml(path: str | Path) -> AttributionGraph:
    """Read a graph that `write_graphml` wrote.

    Raises:
        GraphFormatError: no such file, not GraphML, not of this product, a document type, or faults; the message
            names the place.
    """
    path = Path(path)
    return parse_graphml(read_bytes(path), name=str(path))


def parse_graphml(content: bytes, *, name: str = "graph") -> AttributionGraph:
    """`read_graphml` for the bytes of a file, plain or gzipped.

    Raises:
        GraphFormatError: as `read_graphml`.
    """
    return _graph_of(_parsed(unpack(content, name), name), name)


def _lines(graph: AttributionGraph) -> Iterator[str]:
    yield f'<?xml version="1.0" encoding="utf-8"?>\n<graphml xmlns="{_NAMESPACE}">\n'
    for domain, keys in _KEYS.items():
        for key, kind in keys.items():
            yield f'<key id="{domain}-{key}" for="{domain}" attr.name="{key}" attr.type="{kind}"/>\n'
    yield '<graph edgedefault="directed">\n'
    safe = [_NOT_XML.sub("\ufffd", label) for label in graph.labels]
    own = {
        "format": _FORMAT_VERSION,
        "dtype": str(graph.edges.weight.dtype),
        "graph": part_of(graph),
        # XML has no control characters, and its readers turn \r into \n
        "labels": {str(i): label for i, label in enumerate(graph.labels) if safe[i] != label or "\r" in label},
    }
    yield _data("graph", _OWN_KEY, json.dumps(own, ensure_ascii=True, allow_nan=False, separators=(",", ":")))
    table = graph.nodes
    columns = [c.tolist() for c in (table.kind, table.layer, table.position, table.feature)]
    numbers = [c.tolist() for c in (table.activation, table.influence, table.bias)]
    names = {int(kind): kind.name.lower() for kind in NodeKind}
    for i, node_id in enumerate(graph.node_ids):
        yield f"<node id={quoteattr(node_id)}>"
        yield _data("node", "kind", names[columns[0][i]])
        for key, column in zip(("layer", "position", "feature"), columns[1:], strict=True):
            yield _data("node", key, str(column[i]))
        for key, values in zip(("activation", "influence", "bias"), numbers, strict=True):
            if not math.isnan(values[i]):
                yield _data("node", key, repr(values[i]))
        yield _data("node", "label", safe[i]) + "</node>\n"
    edges = graph.edges
    quoted = [quoteattr(node_id) for node_id in graph.node_ids]
    for source, target, weight in zip(edges.source.tolist(), edges.target.tolist(), edges.weight.tolist(), strict=True):
        yield f"<edge source={quoted[source]} target={quoted[target]}>{_data('edge', 'weight', repr(weight))}</edge>\n"
    yield "</graph>\n</graphml>\n"


def _data(domain: str, key: str, text: str) -> str:
    return f'<data key="{domain}-{key}">{escape(text)}</data>'


class _Rows:
    """What a GraphML document holds, gathered while it is parsed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.keys: dict[str, tuple[str, str]] = {}  # key id -> domain, attribute name
        self.graph: Attributes = {}
        self.nodes: list[tuple[str, Attributes]] = []
        self.edges: list[tuple[str, str, Attributes]] = []
        self.path: list[str] = []
        self.key = ""
        self.text: list[str] = []

    def refuse(self, fault: str) -> GraphFormatError:
        """The error of one fault."""
        return GraphFormatError(f"{self.name}: {fault}")

    @property
    def where(self) -> str:
        """The row that is being read."""
        inside = self.path[2] if len(self.path) > 2 else ""
        if inside == "node":
            return f"nodes[{len(self.nodes) - 1}]"
        return f"links[{len(self.edges) - 1}]" if inside == "edge" else "graph"

    def start(self, tag: str, attributes: Attributes) -> None:
        """An element opens."""
        self.path.append(tag.rsplit(" ", 1)[-1])
        if len(self.path) > _MAX_DEPTH:
            raise self.refuse(f"{self.where}: nested deeper than {_MAX_DEPTH} levels")
        match self.path:
            case ["graphml"]:
                return
            case [_]:
                raise self.refuse(f"the document is a {shown(self.path[0])}, expected graphml")
            case ["graphml", "key"]:
                self.keys[attributes.get("id", "")] = attributes.get("for", ""), attributes.get("attr.name", "")
            case ["graphml", "graph"]:
                if attributes.get("edgedefault") != "directed":
                    raise self.refuse("graph: expected a directed graph")
            case ["graphml", "graph", "node"]:
                if len(self.nodes) >= MAX_NODES:
                    raise self.refuse(f"nodes: more than {MAX_NODES} are not read")
                self.nodes.append((attributes.get("id", ""), {}))
            case ["graphml", "graph", "edge"]:
                if len(self.edges) >= MAX_LINKS:
                    raise self.refuse(f"links: more than {MAX_LINKS} are not read")
                self.edges.append((attributes.get("source", ""), attributes.get("target", ""), {}))
            case [*_, "data"]:
                self.key, self.text = attributes.get("key", ""), []
            case _:
                pass  # what other programs added

    def end(self, tag: str) -> None:
        """An element closes."""
        if self.path[-1] == "data":
            domain, key = self.keys.get(self.key, ("", ""))
            owners = {
                ("graphml", "graph", "data"): ("graph", self.graph),
                ("graphml", "graph", "node", "data"): ("node", self.nodes[-1][1] if self.nodes else {}),
                ("graphml", "graph", "edge", "data"): ("edge", self.edges[-1][2] if self.edges else {}),
            }
            owner = owners.get(tuple(self.path))
            if owner is not None and domain == owner[0] and key in _KEYS[domain]:
                text = "".join(self.text)
                if domain != "graph" and len(text) > MAX_TEXT:
                    raise self.refuse(f"{self.where}.{key}: a text of {len(text)} characters, at most {MAX_TEXT}")
                if key in owner[1]:
                    raise self.refuse(f"{self.where}.{key}: stands twice")
                owner[1][key] = text
        self.path.pop()

    def characters(self, text: str) -> None:
        """Text within an element."""
        if self.path[-1] == "data":
            self.text.append(text)


def _parsed(content: bytes, name: str) -> _Rows:
    rows = _Rows(name)

    def refuse_doctype(*_: Any) -> None:
        raise rows.refuse("has a document type; expected plain GraphML without one (entities are not expanded)")

    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise GraphFormatError(f"{name}: not UTF-8 at byte {error.start}; expected GraphML in UTF-8") from error
    parser = expat.ParserCreate("utf-8", " ")
    parser.buffer_text = True
    parser.StartElementHandler = rows.start
    parser.EndElementHandler = rows.end
    parser.CharacterDataHandler = rows.characters
    parser.StartDoctypeDeclHandler = refuse_doctype
    parser.EntityDeclHandler = refuse_doctype
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        refuse_doctype()
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise GraphFormatError(f"{name}: not valid XML ({error}); it may be cut off: write it again") from error
    if rows.path or not rows.graph:
        raise GraphFormatError(
            f"{name}: graph.{_OWN_KEY}: missing; only GraphML that tracescribe wrote can be read, since others do not "
            "say what was traced"
        )
    return rows


def _graph_of(rows: _Rows, name: str) -> AttributionGraph:
    own = load_json(rows.graph[_OWN_KEY].encode("utf-8"), f"{name}: graph.{_OWN_KEY}")
    if not isinstance(own, dict) or own.get("format") != _FORMAT_VERSION:
        raise GraphFormatError(f"{name}: graph.{_OWN_KEY}.format: expected {_FORMAT_VERSION}")
    if own.get("dtype") not in ("float32", "float64") or not isinstance(own.get("labels"), dict):
        raise GraphFormatError(f"{name}: graph.{_OWN_KEY}: expected dtype float32 or float64, and labels by node")
    faults: list[str] = []
    read = _Columns(faults)
    dtype: np.dtype[Any] = np.dtype(own["dtype"])
    nodes, edges = rows.nodes, rows.edges
    index = {node_id: i for i, (node_id, _) in enumerate(nodes)}

    def integers(key: str) -> IntArray:
        return np.array([read.integer(a, key, i) for i, (_, a) in enumerate(nodes)], dtype=np.int64)

    def numbers(key: str) -> FloatArray:
        return np.array([read.number(a, key, f"nodes[{i}]") for i, (_, a) in enumerate(nodes)], dtype=dtype)

    table = NodeTable(
        kind=np.array([read.kind(a, i) for i, (_, a) in enumerate(nodes)], dtype=np.int64),
        layer=integers("layer"),
        position=integers("position"),
        feature=integers("feature"),
        activation=numbers("activation"),
        influence=numbers("influence"),
        bias=numbers("bias"),
    )
    table_edges = EdgeTable(
        target=np.array(
            [read.end(index, t, f"links[{i}].target") for i, (_, t, _) in enumerate(edges)], dtype=np.int64
        ),
        source=np.array(
            [read.end(index, s, f"links[{i}].source") for i, (s, _, _) in enumerate(edges)], dtype=np.int64
        ),
        weight=np.array([read.number(a, "weight", f"links[{i}]") for i, (_, _, a) in enumerate(edges)], dtype=dtype),
    )
    if faults:
        raise GraphFaultsError(name, faults)
    labels = [_label(a.get("label", ""), own["labels"].get(str(i))) for i, (_, a) in enumerate(nodes)]
    return join_parts(own.get("graph"), table, [node_id for node_id, _ in nodes], labels, table_edges, name)


def _label(text: str, exact: Any) -> str:
    """The label before XML could not hold it, unless somebody has changed it since."""
    if isinstance(exact, str) and len(exact) <= MAX_TEXT:
        kept = _NOT_XML.sub("\ufffd", exact)
        if text in (kept, kept.replace("\r\n", "\n").replace("\r", "\n")):
            return exact
    return text


class _Columns:
    """Reads attributes of rows; what cannot be read is a fault."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults

    def fault(self, text: str) -> None:
        """Note a fault, unless there are very many."""
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(text)

    def kind(self, attributes: Attributes, row: int) -> int:
        """The node kind."""
        text = attributes.get("kind", "")
        if text not in _KIND_OF_NAME:
            self.fault(f"nodes[{row}].kind: {shown(text)}, expected one of {', '.join(_KIND_OF_NAME)}")
            return 0
        return int(_KIND_OF_NAME[text])

    def integer(self, attributes: Attributes, key: str, row: int) -> int:
        """A whole number."""
        text = attributes.get(key, "")
        value = int(text) if _INTEGER.fullmatch(text) else MAX_INTEGER + 1
        if abs(value) > MAX_INTEGER:
            self.fault(f"nodes[{row}].{key}: {shown(text)}, expected a whole number")
            return 0
        return value

    def number(self, attributes: Attributes, key: str, where: str) -> float:
        """A number; one that is not there is unknown."""
        text = attributes.get(key)
        if text is None and key != "weight":
            return math.nan
        if text is None or not _NUMBER.fullmatch(text) or not abs(value := float(text)) <= MAX_NUMBER:
            self.fault(f"{where}.{key}: {shown(text)}, expected a number of usual size")
            return math.nan
        return value

    def end(self, index: dict[str, int], node_id: str, where: str) -> int:
        """The node that an edge names."""
        if node_id not in index:
            self.fault(f"{where}: no node {shown(node_id)}")
            return -1
        return index[node_id]
