"""Blinding: no human hint survives, and nothing that the model says is lost."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from tracescribe.tracer.blinding import blind
from tracescribe.tracer.graph import AttributionGraph, EdgeTable, NodeKind
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
    assert blinded.provenance == dallas_graph.provenance
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
