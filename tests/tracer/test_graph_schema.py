"""The shipped JSON Schema, what Neuronpedia takes, and the limits of documents."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.tracer.graph_examples import published_graph, random_graph
from tracescribe.tracer import graph_document
from tracescribe.tracer.errors import GraphFormatError
from tracescribe.tracer.graph import AttributionGraph
from tracescribe.tracer.graph_json import parse_graph, to_json
from tracescribe.tracer.graph_schema import generated_schema, graph_schema

GRAPHS: dict[str, Callable[[], AttributionGraph]] = {
    "traced": lambda: random_graph(0),
    "traced in float64": lambda: random_graph(1, dtype="float64"),
    "published": lambda: published_graph(2),
    "without edges": lambda: random_graph(3, density=0.0),
    "without features": lambda: random_graph(4, n_features=0),
}


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
