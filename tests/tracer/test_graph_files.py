"""Formats of graph files: lossless in each, refused by name where damaged or hostile, and one schema for all."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from tests.tracer.graph_examples import AWKWARD, published_graph, random_graph, same_graph
from tracescribe.tracer import graphml
from tracescribe.tracer.errors import GraphFormatError, OutputError
from tracescribe.tracer.graph import AttributionGraph, EdgeTable
from tracescribe.tracer.graph_checks import graph_faults
from tracescribe.tracer.graph_files import FORMATS, file_faults, format_of, read_graph_file, write_graph_file
from tracescribe.tracer.graph_json import parse_graph, read_graph, to_json
from tracescribe.tracer.graph_notes import feature_numbering, graph_notes
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
