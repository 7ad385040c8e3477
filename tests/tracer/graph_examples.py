"""Graphs made of random numbers, without a model: all kinds of nodes, awkward labels, foreign fields."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from tracescribe.tracer.graph import AttributionGraph, EdgeTable, GraphScores, NodeKind, NodeTable, standard_node_ids
from tracescribe.tracer.graph_json import parse_graph, to_json

AWKWARD = (
    "",
    "plain",
    'quote " < & > \\',
    "line\nbreak\r\n\ttab ",
    "\x00\x1b[31m\x7f\x85",
    "π🙂\ufffe\ufdd0\U0002000b",
    " ",
)
"""Texts that formats like to lose."""


def random_graph(
    seed: int, *, n_features: int = 6, n_pos: int = 3, n_layers: int = 3, dtype: str = "float32", density: float = 0.5
) -> AttributionGraph:
    """A graph with features, errors, tokens and outputs, in row order, as a trace gives it.

    Args:
        seed: of every draw.
        n_features: feature nodes.
        n_pos: prompt tokens.
        n_layers: layers.
        dtype: of weights and activations.
        density: share of the possible edges that exist.
    """
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(n_layers * n_pos * 50, n_features, replace=False))
    feature_rows = [(NodeKind.FEATURE, int(c) // (n_pos * 50), int(c) // 50 % n_pos, int(c) % 50) for c in chosen]
    errors = [(NodeKind.ERROR, layer, position, -1) for layer in range(n_layers) for position in range(n_pos)]
    token_ids = [int(t) for t in rng.integers(0, 1000, n_pos)]
    tokens = [(NodeKind.EMBEDDING, -1, p, t) for p, t in enumerate(token_ids)]
    outputs = [(NodeKind.LOGIT, n_layers, n_pos - 1, int(t)) for t in rng.choice(1000, 2, replace=False)]
    kind, layer, position, feature = np.array([*feature_rows, *errors, *tokens, *outputs], dtype=np.int64).T
    n = len(kind)

    def column(where: np.ndarray[Any, Any]) -> Any:
        return np.where(where, rng.random(n), np.nan).astype(dtype)

    table = NodeTable(
        kind, layer, position, feature,
        activation=column((kind == NodeKind.FEATURE) | (kind == NodeKind.LOGIT)),
        influence=column(kind != NodeKind.LOGIT),
        bias=column(kind == NodeKind.FEATURE),
    )  # fmt: skip
    if not density:  # large graphs without a square of booleans
        none = np.zeros(0, dtype=np.int64)
        return _graph(table, token_ids, EdgeTable(none, none, none.astype(dtype)), n_layers, rng)
    possible = (layer[:, None] > layer[None, :]) & (position[:, None] >= position[None, :])
    possible &= np.isin(kind, (NodeKind.FEATURE, NodeKind.LOGIT))[:, None]
    target, source = np.nonzero(possible & (rng.random((n, n)) < density))
    edges = EdgeTable(target, source, rng.standard_normal(len(target)).astype(dtype))
    return _graph(table, token_ids, edges, n_layers, rng)


def _graph(
    table: NodeTable, token_ids: list[int], edges: EdgeTable, n_layers: int, rng: np.random.Generator
) -> AttributionGraph:
    return AttributionGraph(
        prompt="a prompt \ud83d".encode("utf-8", "ignore").decode() + "π\n",
        tokens=tuple(f"token {p}{AWKWARD[p % len(AWKWARD)]}" for p in range(len(token_ids))),
        token_ids=tuple(token_ids),
        n_layers=n_layers,
        nodes=table,
        node_ids=standard_node_ids(table, n_layers),
        labels=tuple(AWKWARD[int(i)] for i in rng.integers(0, len(AWKWARD), len(table))),
        edges=edges,
        scores=GraphScores(0.25, 0.75),
        provenance={"model": "a/model", "settings": {"max_n_logits": 10, "max_feature_nodes": None}, "seed": None},
    )


def published_graph(seed: int, *, n_features: int = 6, n_pos: int = 3, n_layers: int = 3) -> AttributionGraph:
    """A graph that came from somebody's JSON file: old error ids, foreign fields, pins, supernodes, odd numbers."""
    document = to_json(random_graph(seed, n_features=n_features, n_pos=n_pos, n_layers=n_layers))
    del document["metadata"]["tracescribe"]
    renamed = {}
    for row in document["nodes"]:
        if row["feature_type"] == "mlp reconstruction error":
            renamed[row["node_id"]] = row["node_id"] = f"0_{row['layer']}_{row['ctx_idx']}"
        row["vendor"] = {"list": [1, None, "text"], "number": 0.1}
    for i, link in enumerate(document["links"]):
        link["source"] = renamed.get(link["source"], link["source"])
        if i % 2:
            link["weight"] = 0.1 + i  # no float32
        if i % 3 == 0:
            link["vendor"] = i
    rows = document["nodes"]
    error = next(row["node_id"] for row in rows if row["layer"] == "1" and row["feature"] == -1)
    document["qParams"] = {
        "pinnedIds": ",".join(row["node_id"] for row in rows[:3]),
        "supernodes": [["a label", rows[0]["node_id"], rows[1]["node_id"]], ["an error", error]],
        "linkType": "both",
        "clickedId": error,
        "sg_pos": "",
    }
    document["metadata"] |= {
        "info": {
            "description": "text",
            "creator_name": "someone",
            "create_time_ms": 1753466000000,
            "source_urls": ["u"],
        },
        "feature_details": {"neuronpedia_source_set": "set"},
        "vendor": [1.5],
    }
    document = {"vendor": "first", "links": document["links"], **document}
    return parse_graph(json.dumps(document).encode())


def same_graph(first: AttributionGraph, second: AttributionGraph) -> None:
    """Assert that two graphs are the same to the bit, JSON form included."""
    assert second.node_ids == first.node_ids
    assert second.labels == first.labels
    assert (second.prompt, second.tokens, second.token_ids) == (first.prompt, first.tokens, first.token_ids)
    assert (second.n_layers, second.scores) == (first.n_layers, first.scores)
    assert second.provenance == first.provenance
    for name in ("kind", "layer", "position", "feature", "activation", "influence", "bias"):
        found, expected = getattr(second.nodes, name), getattr(first.nodes, name)
        assert found.dtype == expected.dtype, name
        assert np.array_equal(found, expected, equal_nan=expected.dtype.kind == "f"), name
        if expected.dtype.kind == "f":
            assert np.array_equal(np.signbit(found), np.signbit(expected)), name
    for name in ("target", "source", "weight"):
        assert np.array_equal(getattr(second.edges, name), getattr(first.edges, name)), name
    assert second.edges.weight.tobytes() == first.edges.weight.tobytes()
    assert to_json(second) == to_json(first)
