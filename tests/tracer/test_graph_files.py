"""Formats of graph files: lossless in each, refused by name where damaged or hostile, and one schema for all."""

from __future__ import annotations

import copy
import dataclasses
import gzip
import itertools
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, load_file, save

from tests.tracer.graph_examples import AWKWARD, published_graph, random_graph, same_graph
from tracescribe.tracer import graph_document, graph_native, graphml
from tracescribe.tracer.errors import GraphFormatError, OutputError
from tracescribe.tracer.graph import AttributionGraph, EdgeTable
from tracescribe.tracer.graph_checks import graph_faults
from tracescribe.tracer.graph_files import FORMATS, file_faults, format_of, read_graph_file, write_graph_file
from tracescribe.tracer.graph_json import parse_graph, read_graph, to_json
from tracescribe.tracer.graph_notes import feature_numbering, graph_notes
from tracescribe.tracer.graph_schema import generated_schema, graph_schema
from tracescribe.tracer.graphml import parse_graphml
from tracescribe.tracer.query_parameters import Supernode, saved_view, with_renamed_nodes

EXACT = (".tsgraph", ".graphml", ".graphml.gz")
GRAPHS: dict[str, Callable[[], AttributionGraph]] = {
    "traced": lambda: random_graph(0),
    "traced in float64": lambda: random_graph(1, dtype="float64"),
    "published": lambda: published_graph(2),
    "without edges": lambda: random_graph(3, density=0.0),
    "without features": lambda: random_graph(4, n_features=0),
}


@pytest.mark.parametrize("suffix", EXACT)
@pytest.mark.parametrize("name", list(GRAPHS))
def test_exact_formats_return_every_bit(name: str, suffix: str, tmp_path: Path) -> None:
    graph = GRAPHS[name]()
    write_graph_file(tmp_path / f"a{suffix}", graph)
    again = read_graph_file(tmp_path / f"a{suffix}")
    same_graph(graph, again)
    write_graph_file(tmp_path / f"b{suffix}", again)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_features=st.integers(0, 12), n_pos=st.integers(1, 4), wide=st.booleans())
def test_any_graph_survives_a_tour_of_all_formats(seed: int, n_features: int, n_pos: int, wide: bool) -> None:
    import tempfile

    graph = random_graph(seed, n_features=n_features, n_pos=n_pos, dtype="float64" if wide else "float32")
    # files of circuit-tracer hold no influence of outputs
    assert graph_faults(graph) == []
    with tempfile.TemporaryDirectory() as folder:
        found = graph
        for suffix in (".tsgraph", ".graphml", ".json.gz", ".graphml", ".json", ".tsgraph"):
            path = Path(folder) / f"g{suffix}"
            write_graph_file(path, found)
            found = read_graph_file(path)
    assert found.nodes.activation.tobytes() == graph.nodes.activation.tobytes()
    assert found.edges.weight.tobytes() == graph.edges.weight.tobytes()
    assert (found.node_ids, found.labels, found.tokens) == (graph.node_ids, graph.labels, graph.tokens)
    assert to_json(found) == to_json(graph)


def test_numbers_that_formats_like_to_round_come_back(tmp_path: Path) -> None:
    graph = random_graph(0)
    hard = np.array([-0.0, 1e-45, 1.1754942e-38, 0.1, 16777217, 1e30, -(2.0**100), 3.4e-39], dtype=np.float32)
    weight = np.resize(hard, len(graph.edges))
    graph = dataclasses.replace(graph, edges=EdgeTable(graph.edges.target, graph.edges.source, weight))
    for suffix in FORMATS:
        write_graph_file(tmp_path / f"g{suffix}", graph)
        assert read_graph_file(tmp_path / f"g{suffix}").edges.weight.tobytes() == weight.tobytes(), suffix


def test_edges_out_of_row_order_keep_their_order(tmp_path: Path) -> None:
    graph = random_graph(5)
    order = np.random.default_rng(0).permutation(len(graph.edges))
    edges = EdgeTable(graph.edges.target[order], graph.edges.source[order], graph.edges.weight[order])
    for suffix, kept in ((".tsgraph", "edge.target"), (".graphml", None)):
        write_graph_file(tmp_path / f"g{suffix}", dataclasses.replace(graph, edges=edges))
        found = read_graph_file(tmp_path / f"g{suffix}").edges
        assert np.array_equal(found.target, edges.target) and np.array_equal(found.source, edges.source)
        if kept:
            assert kept in load_file(tmp_path / f"g{suffix}")


def test_shared_graphs_survive_every_format(shared_folder: Path, tmp_path: Path) -> None:
    paths = sorted((shared_folder / "tracer").rglob("graph.json.gz"))
    paths += [
        shared_folder / "gold" / "graphs" / name for name in ("gemma-clt-hp-dallas.json.gz", "haiku-bomb-to.json")
    ]
    for path in paths:
        graph = read_graph(path)
        for suffix in EXACT:
            write_graph_file(tmp_path / f"g{suffix}", graph)
            same_graph(graph, read_graph_file(tmp_path / f"g{suffix}"))
    assert len(paths) >= 2


def test_networkx_reads_what_it_would_have_written(tmp_path: Path) -> None:
    """Two implementations of GraphML; labels that XML cannot hold are the only difference."""
    graph = random_graph(6)
    write_graph_file(tmp_path / "g.graphml", graph)
    theirs, ours = networkx.read_graphml(tmp_path / "g.graphml"), graph.to_networkx()
    assert list(theirs.nodes) == list(ours.nodes)
    assert {(u, v): d["weight"] for u, v, d in theirs.edges(data=True)} == {
        (u, v): d["weight"] for u, v, d in ours.edges(data=True)
    }
    for node_id, attributes in ours.nodes.items():
        found = theirs.nodes[node_id]
        for key, value in attributes.items():
            if key == "label":
                continue
            if isinstance(value, float) and np.isnan(value):
                assert key not in found
            else:
                assert found[key] == value and type(found[key]) is type(value), (node_id, key)


def test_what_networkx_wrote_again_reads_back(tmp_path: Path) -> None:
    graph = random_graph(7)
    graph = dataclasses.replace(graph, labels=("plain",) * graph.n_nodes)
    write_graph_file(tmp_path / "g.graphml", graph)
    networkx.write_graphml(networkx.read_graphml(tmp_path / "g.graphml"), tmp_path / "h.graphml")
    again = read_graph_file(tmp_path / "h.graphml")
    assert again.node_ids == graph.node_ids and np.array_equal(again.dense(), graph.dense())
    assert again.provenance == graph.provenance and again.labels == graph.labels


def test_a_label_changed_elsewhere_is_taken(tmp_path: Path) -> None:
    graph = random_graph(8)
    labels = (AWKWARD[4], *graph.labels[1:])
    write_graph_file(tmp_path / "g.graphml", dataclasses.replace(graph, labels=labels))
    content = (tmp_path / "g.graphml").read_text()
    assert parse_graphml(content.encode()).labels == labels
    shown = graphml._NOT_XML.sub("\ufffd", AWKWARD[4])
    assert parse_graphml(content.replace(shown, "by hand", 1).encode()).labels[0] == "by hand"


def spoiled_graphml(*changes: tuple[str, str]) -> bytes:
    """A GraphML file with pieces of text replaced."""
    import tempfile

    graph = random_graph(9, n_features=2, n_pos=1, n_layers=2)
    with tempfile.TemporaryDirectory() as folder:
        write_graph_file(Path(folder) / "g.graphml", graph)
        text = (Path(folder) / "g.graphml").read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text.encode()


BOMB = '<!DOCTYPE g [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (spoiled_graphml(("<graphml", BOMB + "<graphml")), "has a document type"),
        (spoiled_graphml(("<graphml", "<!DOCTYPE graphml SYSTEM 'file:///etc/passwd'><graphml")), "document type"),
        (spoiled_graphml().decode().replace("utf-8", "utf-16").encode("utf-16"), "not UTF-8 at byte 0"),
        (spoiled_graphml(("<node ", "<node><node ")), "not valid XML"),
        (spoiled_graphml()[:-40], "not valid XML .* cut off"),
        (spoiled_graphml(("<graphml", "<svg"), ("</graphml>", "</svg>")), "is a 'svg', expected graphml"),
        (spoiled_graphml(('edgedefault="directed"', 'edgedefault="undirected"')), "expected a directed graph"),
        (spoiled_graphml(('<key id="graph-', '<key id="other-')), "only GraphML that tracescribe wrote"),
        (spoiled_graphml((">feature<", ">neuron<")), r"nodes\[0\].kind: 'neuron', expected one of"),
        (spoiled_graphml(('"node-layer">', '"node-layer">x')), r"nodes\[0\].layer: 'x\d', expected a whole"),
        (spoiled_graphml(('"node-layer">', '"node-layer">7')), r"nodes\[0\].layer: 7\d, expected 0 to 1"),
        (spoiled_graphml(('"node-position">0', '"node-position">1')), r"nodes\[0\].position: 1, but the prompt"),
        (spoiled_graphml(('"node-activation">', '"node-activation">1e999 ')), r"nodes\[0\].activation: '1e999"),
        (spoiled_graphml(('<edge source="', '<edge source="x')), r"links\[0\].source: no node 'x"),
        (spoiled_graphml(('"edge-weight">', '"edge-weight">nan')), r"links\[0\].weight: 'nan"),
        (spoiled_graphml(("</edge>", "<data key='edge-weight'>1</data></edge>")), r"links\[0\].weight: stands twice"),
        (spoiled_graphml(("<node id=", "<a><a><a><a><a><a><a></a></a></a></a></a></a></a><node id=")), "nested deeper"),
    ],
)
def test_spoiled_graphml_is_refused_with_the_place(content: bytes, message: str) -> None:
    with pytest.raises(GraphFormatError, match=message) as caught:
        parse_graphml(content, name="g.graphml")
    assert str(caught.value).startswith("g.graphml: ") and "\n" not in str(caught.value)


def test_what_other_programs_add_to_graphml_does_no_harm() -> None:
    added = '<key id="v" for="node" attr.name="viz" attr.type="string"/><graph '
    content = spoiled_graphml(("<graph ", added), ("</node>", "<data key='v'>red</data><port/></node>"))
    same_graph(parse_graphml(spoiled_graphml()), parse_graphml(content))


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


def test_the_shipped_schema_is_what_the_models_say() -> None:
    """Renew it with `python -m tracescribe.tracer.graph_schema --write`."""
    assert graph_schema() == json.loads(json.dumps(generated_schema()))
    jsonschema.Draft202012Validator.check_schema(graph_schema())


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(graph_schema())


@pytest.mark.parametrize("name", list(GRAPHS))
def test_what_is_written_follows_the_schema(name: str, validator: jsonschema.Draft202012Validator) -> None:
    validator.validate(to_json(GRAPHS[name]()))


def test_golden_and_published_files_follow_the_schema(
    shared_folder: Path, validator: jsonschema.Draft202012Validator
) -> None:
    paths = [*(shared_folder / "tracer").rglob("graph.json.gz"), *(shared_folder / "gold" / "graphs").iterdir()]
    for path in paths:
        content = path.read_bytes()
        document = json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)
        # links are all alike; of thousands, some are enough
        document["links"] = document["links"][:200]
        validator.validate(document)
    assert len(paths) >= 20


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["metadata"].pop("prompt"),
        lambda d: d["metadata"].update(prompt_tokens=[]),
        lambda d: d["metadata"].update(info={"create_time_ms": "now"}),
        lambda d: d["metadata"].update(generation_settings={"max_n_logits": -1}),
        lambda d: d["metadata"].update(schema_version="1"),
        lambda d: d["metadata"]["tracescribe"].update(more=1),
        lambda d: d["qParams"].update(supernodes=[1]),
        lambda d: d["nodes"][0].update(feature_type="neuron"),
        lambda d: d["nodes"][0].update(node_id="0_03_0"),
        lambda d: d["nodes"][0].update(node_id="E_1_0"),
        lambda d: d["nodes"][0].update(ctx_idx=-1),
        lambda d: d["nodes"][0].update(is_target_logit=1),
        lambda d: d["nodes"][0].update(activation="1"),
        lambda d: d["links"][0].pop("weight"),
        lambda d: d["links"][0].update(source="a b"),
        lambda d: d["links"][0].update(weight=1e40),
    ],
)
def test_the_schema_and_the_reader_refuse_the_same(
    change: Callable[[Any], object], validator: jsonschema.Draft202012Validator
) -> None:
    document = to_json(random_graph(0))
    validator.validate(document)
    change(document)
    assert not validator.is_valid(document)
    with pytest.raises(GraphFormatError):
        parse_graph(json.dumps(document).encode())


NEURONPEDIA: dict[str, Any] = {
    "metadata": {
        "slug": str, "scan": str, "prompt_tokens": list, "prompt": str, "node_threshold": float, "info": dict,
        "generation_settings": {"max_n_logits": int, "desired_logit_prob": float, "batch_size": int, "max_feature_nodes": int},
        "pruning_settings": {"node_threshold": float, "edge_threshold": float},
    },
    "qParams": {"pinnedIds": list, "supernodes": list, "linkType": str, "clickedId": str, "sg_pos": str},
    "nodes": {"node_id": str, "feature": int, "layer": str, "ctx_idx": int, "feature_type": str, "jsNodeId": str, "clerp": str},
    "links": {"source": str, "target": str, "weight": float},
}  # fmt: skip
"""Types that Neuronpedia's upload asks for (its graph-schema.json); what is required: `NEURONPEDIA_NEEDS`."""

NEURONPEDIA_NEEDS = {
    "metadata": {"slug", "scan", "prompt_tokens", "prompt"},
    "qParams": set[str](),
    "nodes": set(NEURONPEDIA["nodes"]),
    "links": set(NEURONPEDIA["links"]),
}


@pytest.mark.parametrize("budget", [None, 5])
def test_neuronpedia_takes_what_is_written(budget: int | None) -> None:
    graph = random_graph(0)
    provenance = {
        "model": "gemma-2-2b",
        "settings": {"max_n_logits": 10, "desired_logit_probability": 0.95, "max_feature_nodes": budget},
        "pruning": {"node_threshold": 0.8, "edge_threshold": 0.98, "other": None},
    }
    document = to_json(dataclasses.replace(graph, provenance=provenance))
    assert document["metadata"]["generation_settings"].get("max_feature_nodes") == budget
    for part, types in NEURONPEDIA.items():
        rows = document[part] if isinstance(document[part], list) else [document[part]]
        for row in rows:
            assert row.keys() >= NEURONPEDIA_NEEDS[part]
            _fits(row, types)


def _fits(row: Any, types: Any) -> None:
    for key, expected in types.items():
        if key not in row:
            continue
        if isinstance(expected, dict):
            _fits(row[key], expected)
        else:
            allowed = (int, float) if expected is float else expected
            assert isinstance(row[key], allowed) and not isinstance(row[key], bool), key


def test_pins_follow_errors_that_get_new_ids() -> None:
    graph = published_graph(2)
    parameters = graph.extra["qParams"]
    assert parameters["clickedId"] == "1_-1_0" and parameters["supernodes"][1] == ["an error", "1_-1_0"]
    view = saved_view(parameters)
    assert view.supernodes[0] == Supernode("a label", graph.node_ids[:2])
    assert view.pinned == graph.node_ids[:3]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"pinnedIds": "a,b"}, {"pinnedIds": "x,b"}),
        ({"pinnedIds": ["a", "b"]}, {"pinnedIds": ["x", "b"]}),
        ({"pinnedIds": '["a","b"]'}, {"pinnedIds": '["x","b"]'}),
        ({"supernodes": [["a", "a", "c"]]}, {"supernodes": [["a", "x", "c"]]}),
        ({"supernodes": '[["a", "a"]]'}, {"supernodes": '[["a","x"]]'}),
        ({"supernodes": '[["c", "d"]]', "other": 1}, {"supernodes": '[["c", "d"]]', "other": 1}),
        ({"clickedId": "a", "sg_pos": ""}, {"clickedId": "x", "sg_pos": ""}),
        ({"supernodes": "not JSON", "pinnedIds": None}, {"supernodes": "not JSON", "pinnedIds": None}),
        ({"supernodes": "[" * 500 + "]" * 500}, {"supernodes": "[" * 500 + "]" * 500}),
    ],
)
def test_both_spellings_of_pins_and_supernodes(parameters: dict[str, Any], expected: dict[str, Any]) -> None:
    before = copy.deepcopy(parameters)
    assert with_renamed_nodes(parameters, {"a": "x"}) == expected
    assert parameters == before
    assert with_renamed_nodes(parameters, {}) == parameters
    saved_view(parameters)


def test_the_order_of_a_foreign_document_stays() -> None:
    document = to_json(published_graph(2))
    assert list(document)[:2] == ["vendor", "links"]
    assert list(to_json(parse_graph(json.dumps(document).encode()))) == list(document)


def test_oddities_are_told() -> None:
    document = to_json(random_graph(0, density=1.0))
    assert graph_notes(parse_graph(json.dumps(document).encode())) == [
        "does not say which weights it was traced from: interventions need --model and --transcoders that fit"
    ]
    output = next(row["node_id"] for row in document["nodes"] if row["feature_type"] == "logit")
    error = next(row for row in document["nodes"] if row["feature_type"] == "mlp reconstruction error")
    document["links"] = [{"source": output, "target": error["node_id"], "weight": 1.0}]
    document["metadata"]["slug"] = ""
    document["qParams"]["pinnedIds"] = ["9_9_9"]
    document["nodes"][0]["feature"] = 0
    notes = " | ".join(graph_notes(parse_graph(json.dumps(document).encode())))
    for part in (
        "no slug in metadata", "promises Cantor numbers", "1 links lead into an error", "1 links leave an output",
        "1 links do not lead to a higher layer", "features and errors without a link", "not in the graph: '9_9_9'",
    ):  # fmt: skip
        assert part in notes


def test_numberings_of_features_are_told_apart() -> None:
    document = to_json(random_graph(0))
    features = [row for row in document["nodes"] if row["feature_type"] == "cross layer transcoder"]

    def numbering() -> str:
        return feature_numbering(parse_graph(json.dumps(document).encode()))

    assert numbering() == "cantor"
    for row in features:
        row["feature"] = int(row["node_id"].split("_")[1])
    assert numbering() == "index"
    for row in features:
        row["feature"] += int(row["layer"]) * 100_000
    assert numbering() == "other"
    for row in features:
        row["feature"] = None
    assert numbering() == "none"
    assert feature_numbering(random_graph(0)) == "none"


def test_the_suffix_tells_the_format(tmp_path: Path) -> None:
    assert [format_of(f"A.B{s.upper()}") for s in FORMATS] == list(FORMATS.values())
    for name in ("graph", "graph.pt", "graph.xml", "json"):
        with pytest.raises(GraphFormatError, match=r"which format\? expected a name that ends in .json"):
            format_of(name)
        with pytest.raises(GraphFormatError, match="which format"):
            write_graph_file(tmp_path / name, random_graph(0))
    for suffix in FORMATS:
        with pytest.raises(GraphFormatError, match="cannot read graph file .*none"):
            read_graph_file(tmp_path / f"none{suffix}")


def test_all_faults_of_a_file_are_listed(tmp_path: Path) -> None:
    document = to_json(random_graph(0))
    for row in document["nodes"]:
        row["ctx_idx"] = -1
    (tmp_path / "g.json").write_text(json.dumps(document))
    assert len(file_faults(tmp_path / "g.json")) == len(document["nodes"])
    (tmp_path / "h.json").write_text("{")
    assert len(file_faults(tmp_path / "h.json")) == 1
    write_graph_file(tmp_path / "i.json", random_graph(0))
    assert file_faults(tmp_path / "i.json") == ()


def test_a_graph_that_json_cannot_hold_is_not_half_written(tmp_path: Path) -> None:
    graph = dataclasses.replace(random_graph(0), provenance={"seed": float("nan")})
    for suffix in FORMATS:
        with pytest.raises(OutputError, match="JSON does not have"):
            write_graph_file(tmp_path / f"g{suffix}", graph)
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_read_back_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tracescribe.tracer import graph_json

    monkeypatch.setattr(graph_json, "MAX_LINKS", 3)
    monkeypatch.setattr(graphml, "MAX_LINKS", 3)
    for suffix in (".json", ".graphml"):
        with pytest.raises(OutputError, match="at most .* prune the graph, or write the native format"):
            write_graph_file(tmp_path / f"g{suffix}", random_graph(0))
    write_graph_file(tmp_path / "g.tsgraph", random_graph(0))


def json_graph(**changes: Any) -> bytes:
    return json.dumps({**to_json(random_graph(0)), **changes}).encode()


@pytest.mark.parametrize(
    ("limit", "value", "content", "message"),
    [
        ("MAX_NODES", 3, json_graph(), "nodes: 20 entries, at most 3 are read"),
        ("MAX_LINKS", 3, json_graph(), "links: .* entries, at most 3 are read"),
        ("MAX_ENTRIES", 50, json_graph(vendor=[0] * 51), "vendor: 51 entries, at most 50 are read"),
        ("MAX_CONTAINERS", 100, json_graph(vendor=[[]] * 100), "about .* objects and .* values, at most 100"),
        ("MAX_VALUES", 1000, json_graph(vendor=[0] * 1001), "about .* values, at most .* and 1000"),
        ("MAX_PROMPT", 1000, json_graph(vendor=["x" * 1001]), r"vendor\[0\]: a text of 1001 characters"),
        ("MAX_TEXT", 1000, json_graph(vendor={"x" * 1001: 1}), "vendor: a key is a text of 1001 characters"),
        ("MAX_FAULTS", 5, json_graph(nodes=[{}] * 30), "and .* more"),
    ],
)
def test_enormous_documents_are_refused_by_name(
    limit: str, value: int, content: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_document, limit, value)
    with pytest.raises(GraphFormatError, match=message):
        parse_graph(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json_graph().replace(b'"slug":', b'"slug": "x", "slug":'), "key 'slug' stands twice in one object"),
        (json_graph(vendor=["\ud800"]), r"vendor\[0\]: half of a surrogate pair"),
        (json_graph(vendor={"\udfff": 1}), "vendor: a key is half of a surrogate pair"),
        (gzip.compress(json_graph()) + b"more", "4 bytes follow the gzip data"),
        (json_graph(vendor=[{"a": {"b": json.loads("[" * 40 + "]" * 40)}}]), r"vendor\[0\].a.b.*: nested deeper than"),
    ],
)
def test_documents_that_readers_disagree_on_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(GraphFormatError, match=message):
        parse_graph(content)


def test_a_pair_of_surrogates_is_one_character() -> None:
    graph = parse_graph(json_graph(vendor=["\U0001f642"]))
    assert graph.extra["document"]["vendor"] == ["\U0001f642"]


def test_long_chains_within_a_layer_are_read_in_time() -> None:
    """Looking for cycles must not take time that grows with the square of a path's length."""
    document = to_json(random_graph(0, density=0.0))
    template = next(row for row in document["nodes"] if row["feature_type"] == "cross layer transcoder")
    ids = [f"1_{i}_0" for i in range(1000, 6000)]
    document["nodes"] = [{**template, "node_id": i, "layer": "1", "ctx_idx": 0} for i in ids]
    document["links"] = [{"source": a, "target": b, "weight": 1} for a, b in itertools.pairwise(ids)]
    assert len(parse_graph(json.dumps(document).encode()).edges) == 4999
    document["links"].append({"source": ids[-1], "target": ids[0], "weight": 1})
    with pytest.raises(GraphFormatError, match="a cycle runs through node"):
        parse_graph(json.dumps(document).encode())
