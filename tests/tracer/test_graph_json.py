"""Graph files: round trips that lose nothing, published and golden files, and hostile ones."""

from __future__ import annotations

import copy
import dataclasses
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tracer.tiny_pair import TinyShape, make_pair, random_tokens
from tracescribe.tracer import graph_document
from tracescribe.tracer.attribution import attribute_tokens
from tracescribe.tracer.errors import GraphFormatError, OutputError, TranscoderMismatchError
from tracescribe.tracer.graph import AttributionGraph, NodeKind
from tracescribe.tracer.graph_document import GraphFaultsError
from tracescribe.tracer.graph_json import cantor_number, check_belongs, parse_graph, read_graph, to_json, write_graph
from tracescribe.tracer.models import LanguageModel, load_model
from tracescribe.tracer.prune import PruneSettings, node_influence, prune
from tracescribe.tracer.transcoders import TranscoderSet, load_transcoders

Document = dict[str, Any]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[LanguageModel, TranscoderSet]:
    return make_pair(tmp_path_factory.mktemp("pair"), TinyShape(seed=9))


@pytest.fixture(scope="module")
def graph(pair: tuple[LanguageModel, TranscoderSet]) -> AttributionGraph:
    """A pruned graph of a random model."""
    return prune(attribute_tokens(*pair, random_tokens(7, TinyShape())), PruneSettings(0.7, 0.9))


def encode(document: Document) -> bytes:
    return json.dumps(document).encode()


def test_a_written_graph_reads_back_the_same(graph: AttributionGraph, tmp_path: Path) -> None:
    for name in ("graph.json", "graph.json.gz"):
        write_graph(tmp_path / name, graph, slug="tiny")
        read = read_graph(tmp_path / name)
        for field in ("prompt", "tokens", "token_ids", "n_layers", "node_ids", "labels", "scores", "provenance"):
            assert getattr(read, field) == getattr(graph, field), field
        for column in dataclasses.fields(graph.nodes):
            found, expected = getattr(read.nodes, column.name), getattr(graph.nodes, column.name).copy()
            if column.name == "influence":  # files hold none for logits
                expected[graph.of_kind(NodeKind.LOGIT)] = np.nan
            assert np.array_equal(found, expected, equal_nan=True), column.name
        for name in ("target", "source", "weight"):
            assert np.array_equal(getattr(read.edges, name), getattr(graph.edges, name)), name
        assert to_json(read) == to_json(graph, slug="tiny")


def test_the_same_graph_gives_the_same_bytes(graph: AttributionGraph, tmp_path: Path) -> None:
    for name in ("a.json.gz", "b.json.gz"):
        write_graph(tmp_path / name, graph)
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()


def test_an_unpruned_graph_round_trips_too(pair: tuple[LanguageModel, TranscoderSet]) -> None:
    full = attribute_tokens(*pair, random_tokens(5, TinyShape()))
    read = parse_graph(encode(to_json(full)))
    assert read.node_ids == full.node_ids
    assert np.array_equal(read.dense(), full.dense())


def test_the_document_follows_the_schema(graph: AttributionGraph) -> None:
    document = to_json(graph, slug="tiny", settings=PruneSettings(0.7, 0.9))
    assert list(document) == ["metadata", "qParams", "nodes", "links"]
    metadata = document["metadata"]
    assert (metadata["slug"], metadata["scan"], metadata["schema_version"]) == ("tiny", "model", 1)
    assert metadata["node_threshold"] == 0.7
    assert metadata["prompt_tokens"] == list(graph.tokens)
    assert metadata["pruning_settings"] == {"node_threshold": 0.7, "edge_threshold": 0.9}
    by_type = {row["feature_type"]: row for row in document["nodes"]}
    assert set(by_type) == {"cross layer transcoder", "mlp reconstruction error", "embedding", "logit"}
    for row in document["nodes"]:
        layer, position = row["layer"], row["ctx_idx"]
        if row["feature_type"] == "cross layer transcoder":
            index = int(row["node_id"].split("_")[1])
            assert row["node_id"] == f"{layer}_{index}_{position}"
            assert row["feature"] == cantor_number(int(layer), index)
            assert row["jsNodeId"] == f"{layer}_{index}-0"
        elif row["feature_type"] == "mlp reconstruction error":
            assert row["node_id"] == f"{layer}_-1_{position}"
        elif row["feature_type"] == "logit":
            assert (layer, row["influence"]) == (str(graph.n_layers + 1), None)
        assert (row["activation"] is None) == (row["feature_type"] != "cross layer transcoder")
    assert sum(row["is_target_logit"] for row in document["nodes"]) == 1


def test_cantor_numbers_tell_layer_and_feature_apart() -> None:
    numbers = {cantor_number(layer, feature) for layer in range(40) for feature in range(40)}
    assert len(numbers) == 1600
    assert (cantor_number(0, 0), cantor_number(1, 0), cantor_number(0, 1)) == (0, 1, 2)
    assert cantor_number(0, 12284) == 75466754  # as a published file numbers it


def golden_cases(shared_folder: Path) -> list[Path]:
    return sorted(path.parent for path in (shared_folder / "tracer").rglob("graph.json.gz"))


def test_a_golden_file_agrees_with_our_own_trace(shared_folder: Path) -> None:
    """The JSON that circuit-tracer wrote and the one written here, field by field."""
    folder = shared_folder / "tracer" / "goldens" / "llama_clt_relu"
    golden = json.loads(gzip.decompress((folder / "graph.json.gz").read_bytes()))
    model, transcoders = load_model(folder / "model"), load_transcoders(folder / "transcoder")
    with np.load(folder / "oracle.npz") as oracle:
        tokens = oracle["tokens"]
    import torch

    full = attribute_tokens(model, transcoders, torch.from_numpy(tokens))
    mine = to_json(prune(full, PruneSettings(0.85, 0.95)))
    assert len(mine["nodes"]) == len(golden["nodes"]) and len(mine["links"]) == len(golden["links"])
    ours = {(row["feature_type"], row["layer"], row["ctx_idx"], row["feature"]): row for row in mine["nodes"]}
    for row in golden["nodes"]:
        found = ours[row["feature_type"], row["layer"], row["ctx_idx"], row["feature"]]
        for key in ("jsNodeId", "is_target_logit", "run_idx", "reverse_ctx_idx"):
            assert found[key] == row[key], key
        for key in ("token_prob", "activation", "influence"):
            assert found[key] == (None if row[key] is None else pytest.approx(row[key], abs=1e-5)), key
        if row["feature_type"] == "logit":
            assert found["clerp"] == row["clerp"]
    weights = sorted(link["weight"] for link in golden["links"])
    assert sorted(link["weight"] for link in mine["links"]) == pytest.approx(weights, abs=1e-4)


def test_ambiguous_links_of_golden_files_are_resolved_right_or_set_aside(shared_folder: Path) -> None:
    """Every edge that reading gives is the oracle's; a link that nothing decides is set aside, not guessed."""
    checked = 0
    for folder in golden_cases(shared_folder):
        graph = read_graph(folder / "graph.json.gz")
        with np.load(folder / "oracle.npz") as oracle:
            adjacency, active = oracle["adjacency"], oracle["active_features"][oracle["selected_features"]]
            n_pos, n_layers = len(oracle["tokens"]), len(oracle["error_vectors"])
            logit_tokens = oracle["logit_tokens"].tolist()
        feature_row = {tuple(row): i for i, row in enumerate(active.tolist())}
        first_error, first_token = len(active), len(active) + n_layers * n_pos

        def place(
            i: int,
            graph: AttributionGraph = graph,
            rows: dict[tuple[int, ...], int] = feature_row,
            starts: tuple[int, int, int] = (first_error, first_token, first_token + n_pos),
            logit_tokens: list[int] = logit_tokens,
            n_pos: int = n_pos,
        ) -> int:
            t = graph.nodes
            layer, position, feature = int(t.layer[i]), int(t.position[i]), int(t.feature[i])
            if t.kind[i] == NodeKind.FEATURE:
                return rows[layer, position, feature]
            if t.kind[i] == NodeKind.ERROR:
                return starts[0] + layer * n_pos + position
            return starts[1] + position if t.kind[i] == NodeKind.EMBEDDING else starts[2] + logit_tokens.index(feature)

        target = [place(int(i)) for i in graph.edges.target]
        source = [place(int(i)) for i in graph.edges.source]
        assert np.allclose(adjacency[target, source], graph.edges.weight, atol=1e-6)
        assert len(set(graph.node_ids)) == graph.n_nodes
        assert len(graph.extra["ambiguous_links"]) <= 1
        again = parse_graph(encode(to_json(graph)))
        assert again.extra["ambiguous_links"] == graph.extra["ambiguous_links"]
        assert np.array_equal(again.dense(), graph.dense())
        checked += 1
    assert checked >= 2


def test_published_graphs_round_trip_without_loss(shared_folder: Path) -> None:
    paths = [p for name in ("graphs", "unlabelled") for p in sorted((shared_folder / "gold" / name).iterdir())]
    checked = 0
    for path in paths:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        before = json.loads(content)
        if "nodes" not in before:
            continue
        graph = read_graph(path)
        after = to_json(graph)
        own = after["metadata"].pop("tracescribe")
        assert own["ambiguous_links"] == []
        renamed = {}  # errors take the newer ids
        for row, old in zip(after["nodes"], before["nodes"], strict=True):
            if old["feature_type"] == "mlp reconstruction error":
                renamed[old["node_id"]] = old["node_id"] = row["node_id"]
        for link in before["links"]:
            link["source"] = renamed.get(link["source"], link["source"])
        assert after == before, path.name
        assert node_influence(graph).max() > 0
        checked += 1
    assert checked >= 20


def minimal() -> Document:
    """The smallest file that says everything: one token, a feature, an error, a logit."""

    def node(node_id: str, kind: str, layer: str, **more: Any) -> Document:
        return {"node_id": node_id, "feature_type": kind, "layer": layer, "ctx_idx": 0, **more}

    return {
        "metadata": {"slug": "s", "scan": "m", "prompt": "x", "prompt_tokens": ["x"]},
        "qParams": {},
        "nodes": [
            node("E_7_0", "embedding", "E"),
            node("0_3_0", "cross layer transcoder", "0", activation=1.5, influence=0.4),
            node("0_1_0", "mlp reconstruction error", "1"),
            node("1_5_0", "cross layer transcoder", "1"),
            node("3_9_0", "logit", "3", token_prob=0.5, clerp='Output "y" (p=0.500)'),
        ],
        "links": [
            {"source": "E_7_0", "target": "0_3_0", "weight": 1},
            {"source": "0_3_0", "target": "1_5_0", "weight": -2.5},
            {"source": "0_1_0", "target": "3_9_0", "weight": 0.25},
            {"source": "1_5_0", "target": "3_9_0", "weight": 1e-3},
        ],
    }


def test_a_minimal_file_reads() -> None:
    graph = parse_graph(encode(minimal()))
    assert graph.n_layers == 2
    assert graph.node_ids == ("E_7_0", "0_3_0", "1_-1_0", "1_5_0", "3_9_0")
    assert graph.token_ids == (7,)
    assert graph.nodes.layer.tolist() == [-1, 0, 1, 1, 2]
    assert graph.nodes.activation[[1, 4]].tolist() == [1.5, 0.5]
    assert graph.provenance == {"model": "m"}
    assert graph.extra["links"] != {}, "1e-3 is no float32: the number that was read is kept"
    assert parse_graph(gzip.compress(encode(minimal()))).node_ids == graph.node_ids


def test_fields_that_nobody_knows_come_back() -> None:
    document = minimal()
    document["nodes"][1]["vendor"] = {"a": [1, None]}
    document["links"][1]["vendor"] = "x"
    document["metadata"]["vendor"] = 1
    document["qParams"]["vendor"] = 2
    document["vendor"] = [3]
    after = to_json(parse_graph(encode(document)))
    assert after["nodes"][1]["vendor"] == {"a": [1, None]}
    assert after["links"][1] == document["links"][1]
    assert after["metadata"]["vendor"] == 1 and after["qParams"]["vendor"] == 2 and after["vendor"] == [3]


def test_changes_are_written_and_the_rest_stays() -> None:
    graph = parse_graph(encode(minimal()))
    labels = ("", "a label", *graph.labels[2:])
    changed = dataclasses.replace(graph, labels=labels).with_influence(np.full(5, 0.125, dtype=np.float32))
    rows = to_json(changed)["nodes"]
    assert rows[1] == minimal()["nodes"][1] | {"clerp": "a label", "influence": 0.125}


def colliding(*links: tuple[str, str, float]) -> Document:
    """A feature 0_1_0 and an old-style error of layer 1 with the same id."""
    document = minimal()
    document["nodes"].insert(
        1, {"node_id": "0_1_0", "feature_type": "cross layer transcoder", "layer": "0", "ctx_idx": 0}
    )
    document["links"] = [{"source": s, "target": t, "weight": w} for s, t, w in links]
    return document


@pytest.mark.parametrize(
    ("links", "feature_weight", "error_weight", "n_aside"),
    [
        # an error of layer 1 cannot reach a feature that reads layer 1: this is the feature
        ([("0_1_0", "1_5_0", 2.0)], 2.0, 0.0, 0),
        # two links with the same ends: circuit-tracer lists the feature first
        ([("0_1_0", "3_9_0", 2.0), ("0_1_0", "3_9_0", 3.0)], 2.0, 3.0, 0),
        # before a feature in node order: the feature; after one: the error
        ([("0_1_0", "3_9_0", 2.0), ("0_3_0", "3_9_0", 1.0)], 2.0, 0.0, 0),
        ([("1_5_0", "3_9_0", 1.0), ("0_1_0", "3_9_0", 3.0)], 0.0, 3.0, 0),
        # nothing tells them apart
        ([("0_1_0", "3_9_0", 2.0)], 0.0, 0.0, 1),
        # links in no order: their order tells nothing
        ([("1_5_0", "3_9_0", 1.0), ("0_3_0", "3_9_0", 1.0), ("0_1_0", "3_9_0", 3.0)], 0.0, 0.0, 1),
    ],
)
def test_a_shared_id_is_resolved_or_set_aside(
    links: list[tuple[str, str, float]], feature_weight: float, error_weight: float, n_aside: int
) -> None:
    graph = parse_graph(encode(colliding(*links)))
    dense = graph.dense()
    assert dense[:, graph.index("0_1_0")].sum() == feature_weight
    assert dense[:, graph.index("1_-1_0")].sum() == error_weight
    assert len(graph.extra["ambiguous_links"]) == n_aside
    assert len(graph.edges) == len(links) - n_aside


def node(index: int, **changes: Any) -> Callable[[Document], object]:
    return lambda d: d["nodes"][index].update(changes)


def link(index: int, **changes: Any) -> Callable[[Document], object]:
    return lambda d: d["links"][index].update(changes)


MALFORMED: dict[str, tuple[Callable[[Document], object], str]] = {
    "no nodes": (lambda d: d.pop("nodes"), "no nodes; expected a Neuronpedia"),
    "nodes is an object": (lambda d: d.update(nodes={}), "nodes: Input should be a valid list"),
    "a node is a number": (lambda d: d["nodes"].append(3), r"nodes\[5\]: Input should be .*, found 3"),
    "no tokens": (lambda d: d["metadata"].update(prompt_tokens=[]), "metadata.prompt_tokens: .* at least 1"),
    "a token is no text": (lambda d: d["metadata"].update(prompt_tokens=[1]), r"metadata.prompt_tokens\[0\]"),
    "no prompt": (lambda d: d["metadata"].pop("prompt"), "metadata.prompt: Field required"),
    "qParams is a list": (lambda d: d.update(qParams=[]), "qParams: Input should be .*, found list of 0"),
    "no id": (lambda d: d["nodes"][1].pop("node_id"), r"nodes\[1\].node_id: Field required"),
    "id with a path": (node(1, node_id="../../etc"), r"nodes\[1\].node_id: String should match"),
    "unknown kind": (
        node(1, feature_type="neuron"),
        r"nodes\[1\].feature_type: Input should be 'cross .*, found 'neuron'",
    ),
    "id of another shape": (node(1, node_id="0_3"), r"nodes\[1\].node_id: '0_3', expected layer_feature_position"),
    "embedding id": (node(0, node_id="7_0"), r"nodes\[0\].node_id: '7_0', expected E_token_position"),
    "layer contradicts id": (node(1, layer="1"), r"nodes\[1\].layer: '1', but node_id '0_3_0' says 0"),
    "position contradicts id": (node(1, node_id="0_3_2"), r"nodes\[1\].ctx_idx: 0, but node_id '0_3_2' says 2"),
    "position outside": (node(1, ctx_idx=4), r"nodes\[1\].ctx_idx: 4, but the prompt has 1 tokens"),
    "negative position": (node(1, ctx_idx=-1), r"nodes\[1\].ctx_idx: Input should be greater"),
    "fractional position": (node(1, ctx_idx=0.5), r"nodes\[1\].ctx_idx: Input should be a valid integer"),
    "position as text": (node(1, ctx_idx="0"), r"nodes\[1\].ctx_idx: Input should be a valid integer"),
    "error without layer": (node(2, layer="x"), r"nodes\[2\].layer: 'x', expected a layer number"),
    "error with an odd layer": (node(2, layer="²"), r"nodes\[2\].layer: '²', expected a layer number"),
    "huge layer": (node(1, node_id="99999_3_0", layer="99999"), r"nodes\[1\].node_id: .* beyond any model"),
    "huge feature": (node(1, node_id=f"0_{10**18 * 9}_0"), r"nodes\[1\].node_id: .* beyond any model"),
    "huge feature field": (node(1, feature=10**30), r"nodes\[1\].feature: .*, found a huge integer"),
    "probability above 1": (node(4, token_prob=1.5), r"nodes\[4\].token_prob: Input should be less"),
    "activation is text": (node(1, activation="big"), r"nodes\[1\].activation: Input should be a valid number"),
    "duplicate id": (lambda d: d["nodes"].append(copy.deepcopy(d["nodes"][1])), "nodes: id '0_3_0' stands 2 times"),
    "link from nowhere": (link(0, source="5_5_0"), r"links\[0\].source: no node '5_5_0'"),
    "link to nowhere": (link(0, target="5_5_0"), r"links\[0\].target: no node '5_5_0'"),
    "no weight": (lambda d: d["links"][1].pop("weight"), r"links\[1\].weight: Field required"),
    "weight is text": (link(1, weight="1"), r"links\[1\].weight: Input should be a valid number"),
    "huge weight": (link(1, weight=1e300), r"links\[1\].weight: Input should be less"),
    "repeated link": (lambda d: d["links"].append(d["links"][1]), r"links\[4\]: repeats links\[1\]"),
    "cycle": (link(0, source="1_5_0"), "links: a cycle runs through node '(0_3_0|1_5_0)'"),
    "self-loop": (link(1, source="1_5_0"), "links: a cycle runs through node '1_5_0'"),
    "deep nesting": (lambda d: d["metadata"].update(x=json.loads("[" * 100 + "]" * 100)), "nested deeper than 32"),
    "own block of another format": (
        lambda d: d["metadata"].update(tracescribe={"format": 2, "n_layers": 2}),
        "metadata.tracescribe.format",
    ),
    "own block denies a layer": (
        lambda d: d["metadata"].update(tracescribe={"format": 1, "n_layers": 1}),
        "metadata.tracescribe.n_layers: 1, but a node stands at layer 1",
    ),
    "own token ids": (
        lambda d: d["metadata"].update(tracescribe={"format": 1, "n_layers": 2, "token_ids": [1, 2]}),
        "metadata.tracescribe.token_ids: 2 entries, but the prompt has 1 tokens",
    ),
}


@pytest.mark.parametrize("case", list(MALFORMED))
def test_a_malformed_graph_names_the_place(case: str) -> None:
    spoil, message = MALFORMED[case]
    document = minimal()
    spoil(document)
    with pytest.raises(GraphFormatError, match=message) as caught:
        parse_graph(encode(document), name="g.json")
    assert str(caught.value).startswith("g.json: ")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1500


def test_all_faults_are_counted_and_the_first_are_listed() -> None:
    document = minimal()
    for row in document["nodes"]:
        row["ctx_idx"] = -1
    document["links"] = [{"source": "x"}] * 3
    with pytest.raises(GraphFaultsError, match="and 6 more") as caught:
        parse_graph(encode(document))
    assert str(caught.value).count("ctx_idx") == graph_document.MAX_SHOWN_FAULTS
    assert len(caught.value.faults) == 11


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid JSON"),
        (b"[]", "the document is a list, expected an object"),
        (encode(minimal())[:-30], "not valid JSON .* cut off"),
        (gzip.compress(encode(minimal()))[:-20], "gzip data ends early"),
        (b"\x1f\x8b" + b"junk" * 20, "damaged gzip data"),
        (b"\xff\xfe{}", "not UTF-8 at byte 0"),
        (encode(minimal()).replace(b"-2.5", b"NaN"), "NaN is not a JSON number"),
        (encode(minimal()).replace(b"-2.5", b"-Infinity"), "Infinity is not a JSON number"),
        (encode(minimal()).replace(b"-2.5", b"1e999"), r"links\[1\].weight: Input should be"),
        (encode(minimal()).replace(b"-2.5", b"9" * 5000), "not valid JSON|links"),
        (b"[" * 100_000, "nested deeper|not valid JSON"),
    ],
)
def test_bytes_that_are_no_graph_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(GraphFormatError, match=message):
        parse_graph(content)


def test_a_decompression_bomb_is_refused_before_it_unpacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_document, "MAX_BYTES", 100_000)
    with pytest.raises(GraphFormatError, match="unpacks to more than 100000 bytes"):
        parse_graph(gzip.compress(b" " * 10_000_000))


def test_large_and_missing_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GraphFormatError, match=r"cannot read graph file .*none.json: No such file .*check the path"):
        read_graph(tmp_path / "none.json")
    with pytest.raises(GraphFormatError, match="Is a directory"):
        read_graph(tmp_path)
    monkeypatch.setattr(graph_document, "MAX_BYTES", 10)
    (tmp_path / "large.json").write_bytes(b" " * 11)
    with pytest.raises(GraphFormatError, match="11 bytes, at most 10 are read"):
        read_graph(tmp_path / "large.json")


def test_nothing_half_written_is_left_behind(graph: AttributionGraph, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        write_graph(tmp_path / "file" / "graph.json", graph)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]


def test_a_saved_graph_knows_its_weights(
    pair: tuple[LanguageModel, TranscoderSet],
    graph: AttributionGraph,
    embedded_model: LanguageModel,
    embedded_transcoders: TranscoderSet,
) -> None:
    saved = parse_graph(encode(to_json(graph)))
    check_belongs(saved, *pair)
    with pytest.raises(TranscoderMismatchError, match="model is 'model' with hash .*, given 'embedded'") as caught:
        check_belongs(saved, embedded_model, embedded_transcoders)
    assert "transcoders is" in str(caught.value)
    with pytest.raises(TranscoderMismatchError, match="does not say which model weights it came from"):
        check_belongs(parse_graph(encode(minimal())), *pair)
