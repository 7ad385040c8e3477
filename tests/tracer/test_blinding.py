"""Blinding: no human hint survives, and nothing that the model says is lost."""

from __future__ import annotations

import copy
import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tracer.graph_examples import published_graph, random_graph
from tracescribe.tracer.blinding import PROVENANCE_KEYS, blind
from tracescribe.tracer.errors import GraphFormatError
from tracescribe.tracer.graph import AttributionGraph, EdgeTable, NodeKind
from tracescribe.tracer.graph_checks import graph_faults
from tracescribe.tracer.graph_json import parse_graph, read_graph, to_json

HINT = "TEXAS-HINT"


def with_hints(graph: AttributionGraph, seed: int) -> AttributionGraph:
    """The graph as a person would have published it: labelled, grouped, pinned, and in an order that tells."""
    document = to_json(graph)
    for row in document["nodes"]:
        row["clerp"] = HINT if row["feature_type"] == "cross layer transcoder" else row["clerp"]
        row["remoteClerp"] = HINT
        row["jsNodeId"] = HINT
    document["qParams"]["supernodes"] = [[HINT, document["nodes"][0]["node_id"]]]
    document["qParams"]["pinnedIds"] = [HINT]
    document["metadata"]["info"] = {"description": HINT}
    document["metadata"]["slug"] = HINT
    document["metadata"]["tracescribe"]["provenance"]["note"] = HINT
    document["note"] = HINT
    rng = np.random.default_rng(seed)
    for key in ("nodes", "links"):
        document[key] = [document[key][i] for i in rng.permutation(len(document[key]))]
    return parse_graph(json.dumps(document).encode())


def test_no_hint_survives_anywhere(dallas_graph: AttributionGraph) -> None:
    hinted = with_hints(dallas_graph, 0)
    assert HINT in json.dumps(to_json(hinted))
    assert HINT not in json.dumps(to_json(blind(hinted)))


def test_the_order_of_nodes_and_links_tells_nothing(dallas_graph: AttributionGraph) -> None:
    first, second = (blind(with_hints(dallas_graph, seed)) for seed in (1, 2))
    assert to_json(first) == to_json(second)
    table = first.nodes
    keys = list(zip(table.kind, table.layer, table.position, table.feature, strict=True))
    assert keys == sorted(keys)


def test_what_the_model_says_stays(dallas_graph: AttributionGraph) -> None:
    blinded = blind(with_hints(dallas_graph, 3))
    index = [dallas_graph.index(i) for i in blinded.node_ids]
    assert blinded.n_nodes == dallas_graph.n_nodes
    assert np.array_equal(blinded.dense(), dallas_graph.dense()[np.ix_(index, index)])
    for name in ("activation", "influence", "bias"):
        column, expected = getattr(blinded.nodes, name), getattr(dallas_graph.nodes, name)[index]
        if name == "influence":  # files hold none for logits
            expected[blinded.of_kind(NodeKind.LOGIT)] = np.nan
        assert np.array_equal(column, expected, equal_nan=True)
    assert blinded.tokens == dallas_graph.tokens and blinded.prompt == dallas_graph.prompt
    told = dallas_graph.provenance
    assert blinded.provenance == {key: told[key] for key in told if key in PROVENANCE_KEYS}
    assert {"model", "model_sha256", "transcoders_sha256", "settings"} <= blinded.provenance.keys()
    logits = blinded.of_kind(NodeKind.LOGIT)
    assert [blinded.labels[i] for i in logits] == [dallas_graph.labels[index[i]] for i in logits]


def test_a_label_that_a_person_gave_an_output_goes_too(dallas_graph: AttributionGraph) -> None:
    labels = tuple(HINT for _ in dallas_graph.labels)
    blinded = blind(dataclasses.replace(dallas_graph, labels=labels))
    assert HINT not in " ".join(blinded.labels)
    for index in blinded.of_kind(NodeKind.EMBEDDING):
        assert blinded.labels[index] == f'Emb: "{blinded.token_text(int(index))}"'


def test_blinding_leaves_the_graph_given_alone(dallas_graph: AttributionGraph) -> None:
    hinted = with_hints(dallas_graph, 4)
    before, edges = (
        to_json(hinted),
        EdgeTable(hinted.edges.target.copy(), hinted.edges.source.copy(), hinted.edges.weight),
    )
    blind(hinted)
    assert to_json(hinted) == before
    assert np.array_equal(hinted.edges.target, edges.target)


def test_published_graphs_keep_their_outputs_readable(shared_folder: Path) -> None:
    for path in sorted((shared_folder / "gold" / "graphs").glob("*-capital-state-*")):
        graph = read_graph(path)
        blinded = blind(graph)
        outputs = [blinded.labels[i] for i in blinded.of_kind(NodeKind.LOGIT)]
        assert outputs and all(label.startswith('Output "') for label in outputs)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document."""
    yield path
    for key, child in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(child, (*path, key))


def changed_at(document: Any, path: tuple[Any, ...], hint: str) -> Any:
    """The document with a hint at one place: instead of a text or number, or as a new field of an object or list."""
    document = copy.deepcopy(document)
    value = document
    for key in path[:-1]:
        value = value[key]
    child = value[path[-1]] if path else document
    if isinstance(child, dict):
        child["vendor" + hint] = [hint, {hint: hint}]
    elif isinstance(child, list):
        child.append([hint, "0_1_0"] if path[-1:] == ("supernodes",) else hint)
    else:
        value[path[-1]] = hint
    return document


SAID_BY_THE_MODEL = {("metadata", "prompt"), ("metadata", "prompt_tokens")}


@pytest.mark.parametrize("own", [False, True])
def test_no_place_in_a_file_hides_a_hint(own: bool) -> None:
    """One hint at every place that a reader lets it stand at, one at a time; prompt and tokens are the model's."""
    document = to_json(published_graph(0, n_features=3, n_pos=1, n_layers=2))
    document["metadata"]["tracescribe"]["provenance"] |= {
        "settings": {"max_n_logits": 10, "target_tokens": [1]},
        "pruning": {"node_threshold": 0.8},
        "targets": [{"label": "a", "weights": [[1, 1.0]], "probability": 0.5}],
        "transcoders": "some/set",
        "tracer_version": "1.0",
    }
    if not own:
        del document["metadata"]["tracescribe"]
    hint = "Texas hint"
    accepted, changed = 0, list(places(document))
    for path in changed:
        if path[:2] in SAID_BY_THE_MODEL:
            continue
        # ids and links have no spaces
        for written in (hint, hint.replace(" ", "-")):
            if own and path[-1:] in (("model",), ("transcoders",)):
                written = hint  # names of models and sets are names; see the next test
            try:
                hinted = parse_graph(json.dumps(changed_at(document, path, written)).encode())
            except GraphFormatError:
                continue
            accepted += 1
            told = json.dumps(to_json(blind(hinted)))
            if path == ("metadata", "scan") and not own:
                continue
            assert "Texas" not in told, path
    assert accepted > 100


def test_names_of_models_stay_only_where_they_read_like_names() -> None:
    graph = random_graph(0)
    for name, stays in [("org/model-2b@main", True), ("say Texas", False), ("x" * 300, False), (["Texas"], False)]:
        blinded = blind(dataclasses.replace(graph, provenance={"model": name, "transcoders": name}))
        assert blinded.provenance == ({"model": name, "transcoders": name} if stays else {})


def test_errors_with_names_of_their_own_get_plain_ones() -> None:
    graph = random_graph(0)
    errors = graph.of_kind(NodeKind.ERROR).tolist()
    ids = [f"say_Texas_{i}" if i in errors else node_id for i, node_id in enumerate(graph.node_ids)]
    blinded = blind(dataclasses.replace(graph, node_ids=tuple(ids)))
    assert sorted(blinded.node_ids) == sorted(graph.node_ids)
    assert graph_faults(blinded) == []


@pytest.mark.parametrize(
    ("label", "stays"),
    [
        ('Output " Austin" (p=0.452)', True),
        ('output: " Austin" (p=0.45)', True),
        ('Output " Austin" (p=0.99)', False),
        ('say "Austin" (p=0.452)', False),
        (f'Output "{"x" * 101}" (p=0.452)', False),
        ('Output "a" (p=0.4.2)', False),
        ('Output "a" (p=....)', False),
    ],
)
def test_a_label_of_an_output_stays_where_it_fits(label: str, stays: bool) -> None:
    graph = random_graph(0)
    index = int(graph.of_kind(NodeKind.LOGIT)[0])
    labels, activation = list(graph.labels), graph.nodes.activation.copy()
    labels[index], activation[index] = label, 0.452
    blinded = blind(
        dataclasses.replace(graph, labels=tuple(labels), nodes=dataclasses.replace(graph.nodes, activation=activation))
    )
    found = blinded.labels[blinded.index(graph.node_ids[index])]
    assert found == ('Output " Austin" (p=0.452)' if stays else "")


def test_a_graph_is_blinded_without_tensors(dallas_graph: AttributionGraph, tmp_path: Path) -> None:
    """A server blinds what is brought in before it answers, and PyTorch would take it seconds and much memory."""
    (tmp_path / "graph.json").write_text(json.dumps(to_json(dallas_graph)), encoding="utf-8")
    code = (
        "import pathlib, sys\nfrom tracescribe.tracer.blinding import blind\n"
        "from tracescribe.tracer.graph_json import read_graph\n"
        "assert blind(read_graph(pathlib.Path(sys.argv[1]))).provenance['settings']\nprint('torch' in sys.modules)"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "graph.json")]
    shown = subprocess.run(words, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
