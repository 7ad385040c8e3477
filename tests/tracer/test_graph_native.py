"""The native graph file: damage is known, and faults behind a right signature name their place."""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from tests.tracer.graph_examples import random_graph
from tracescribe.tracer import graph_native
from tracescribe.tracer.errors import GraphFormatError
from tracescribe.tracer.graph import EdgeTable
from tracescribe.tracer.graph_files import read_graph_file, write_graph_file

Arrays = dict[str, Any]


def signed(arrays: Arrays, **header: Any) -> bytes:
    """A native file of these arrays, its hash right."""
    told = {"format": "tracescribe-graph", "version": 1, "sha256": graph_native._sha256(arrays), **header}
    return save(arrays, metadata={"tracescribe": json.dumps(told)})


def text_of(arrays: Arrays) -> Any:
    return json.loads(zlib.decompress(arrays["text"].tobytes()))


def with_text(arrays: Arrays, change: Callable[[Any], object]) -> Arrays:
    text = text_of(arrays)
    change(text)
    packed = zlib.compress(json.dumps(text).encode())
    return {**arrays, "text": np.frombuffer(packed, dtype=np.uint8)}


def put(name: str, index: int, value: Any) -> Callable[[Arrays], Arrays]:
    def change(arrays: Arrays) -> Arrays:
        arrays[name][index] = value
        return arrays

    return change


def repeated(arrays: Arrays) -> Arrays:
    ends = arrays["edge.row_end"]
    first = int(ends[np.argmax(np.diff(ends, prepend=0) > 1)]) - 2  # the last two edges of a row that has two
    return put("edge.source", first + 1, arrays["edge.source"][first])(arrays)


NATIVE_FAULTS: dict[str, tuple[Callable[[Arrays], Arrays], str]] = {
    "no text": (lambda a: {k: v for k, v in a.items() if k != "text"}, "array text: missing"),
    "a foreign array": (lambda a: {**a, "x": a["text"]}, "array 'x': not part of the format"),
    "both kinds of targets": (lambda a: {**a, "edge.target": a["edge.source"]}, "expected one of them"),
    "half floats": (lambda a: {**a, "edge.weight": a["edge.weight"].astype(np.float16)}, "edge.weight: F16, expected F32"),
    "two axes": (lambda a: {**a, "edge.weight": a["edge.weight"][None]}, "edge.weight: shape .* expected one axis"),
    "lengths": (lambda a: {**a, "edge.weight": a["edge.weight"][1:]}, "different lengths: edge.source"),
    "row ends that fall": (put("edge.row_end", 0, 5), "edge.row_end: expected to rise"),
    "row ends beyond": (put("edge.row_end", -1, 1 << 62), "edge.row_end: expected to rise"),
    "row ends below": (put("edge.row_end", 0, -(1 << 63)), "edge.row_end: expected to rise"),
    "a kind of its own": (put("node.kind", 0, 9), r"nodes\[0\].kind: 9, expected a node kind"),
    "a layer beyond": (put("node.layer", 0, 99), r"nodes\[0\].layer: 99, expected 0 to 2"),
    "a position beyond": (put("node.position", 0, 99), r"nodes\[0\].position: 99, but the prompt has 3"),
    "a feature of an error": (put("node.feature", 6, 3), r"nodes\[6\].feature: 3, expected an index, -1 for errors"),
    "an infinite activation": (put("node.activation", 0, np.inf), r"nodes\[0\].activation: inf"),
    "a probability of two": (put("node.activation", -1, 2.0), "activation: 2.0, expected the probability"),
    "a source beyond": (put("edge.source", 0, 999), r"links\[0\].source: 999, expected a node"),
    "a source below": (put("edge.source", 0, -1), r"links\[0\].source: -1, expected a node"),
    "a weight that is none": (put("edge.weight", 0, np.nan), r"links\[0\].weight: nan, expected a number"),
    "a repeated edge": (lambda a: repeated(a), r"links\[\d+\]: repeats another from"),
    "no tokens": (lambda a: with_text(a, lambda t: t["graph"].update(tokens=[])), "graph.tokens: .* at least 1"),
    "text with more": (lambda a: with_text(a, lambda t: t.update(x=1)), "text: expected graph, node_ids and labels"),
    "too few labels": (lambda a: with_text(a, lambda t: t["labels"].pop()), "text.labels: expected a list of"),
    "a label that is none": (lambda a: with_text(a, lambda t: t["labels"].insert(0, t["labels"].pop() and 3)), "text.labels"),
    "an id of another node": (
        lambda a: with_text(a, lambda t: t.update(node_ids=["0_0_0"] * 20)), "id '0_0_0' stands 20 times"
    ),
    "a document that hides nodes": (
        lambda a: with_text(a, lambda t: t["graph"]["extra"].update(document={"nodes": []})),
        "extra.document.nodes: belongs to the graph",
    ),
    "text that is no zlib": (lambda a: {**a, "text": a["text"][:-3]}, "text: zlib data of the wrong length"),
    "an old version": (lambda a: a, "format version 7, this release reads 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(NATIVE_FAULTS))
def test_a_faulty_native_file_names_the_place(case: str, tmp_path: Path) -> None:
    """Files that are signed rightly, and wrong behind the signature."""
    change, message = NATIVE_FAULTS[case]
    path = tmp_path / "g.tsgraph"
    write_graph_file(path, random_graph(0))
    arrays = {key: value.copy() for key, value in load(path.read_bytes()).items()}
    path.write_bytes(signed(change(arrays), **({"version": 7} if "version" in case else {})))
    with pytest.raises(GraphFormatError, match=message) as caught:
        read_graph_file(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_native_file_is_known_before_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "g.tsgraph"
    write_graph_file(path, random_graph(0))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(GraphFormatError, match="damaged: content has SHA-256"):
        read_graph_file(path)
    path.write_bytes(content[:-8])
    with pytest.raises(GraphFormatError, match="no native graph file .* cut off"):
        read_graph_file(path)
    path.write_bytes(save({"x": np.zeros(1)}))
    with pytest.raises(GraphFormatError, match="a safetensors file, but no graph"):
        read_graph_file(path)
    path.write_bytes(b"")
    with pytest.raises(GraphFormatError, match="no native graph file"):
        read_graph_file(path)


def test_text_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_graph_file(tmp_path / "g.tsgraph", random_graph(0))
    monkeypatch.setattr(graph_native, "MAX_BYTES", 100)
    with pytest.raises(GraphFormatError, match="of more than 100 bytes"):
        read_graph_file(tmp_path / "g.tsgraph")


def test_a_graph_of_twenty_thousand_nodes_is_compact(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    graph = random_graph(0, n_features=20_000, n_pos=20, n_layers=26, density=0.0)
    target, source = np.sort(rng.integers(0, 20_000, (2, 300_000)), axis=0)[::-1]
    lower = graph.nodes.layer[target] > graph.nodes.layer[source]
    place = np.unique(target[lower].astype(np.int64) * graph.n_nodes + source[lower])
    edges = EdgeTable(place // graph.n_nodes, place % graph.n_nodes, rng.random(len(place), dtype=np.float32))
    graph = dataclasses.replace(graph, edges=edges)
    path = tmp_path / "g.tsgraph"
    write_graph_file(path, graph)
    assert path.stat().st_size < 8 * len(edges) + 60 * graph.n_nodes
    found = read_graph_file(path)
    assert found.edges.weight.tobytes() == edges.weight.tobytes()
    assert np.array_equal(found.edges.target, edges.target) and found.node_ids == graph.node_ids
