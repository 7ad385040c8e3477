"""A graph's activations against a clean run: its own weights agree, rounded ones nearly, others do not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tracer.tiny_pair import TinyShape, make_pair, random_tokens
from tracescribe.tracer.activation_check import TOLERANCE, check_activations
from tracescribe.tracer.attribution import attribute_tokens
from tracescribe.tracer.errors import TranscoderMismatchError
from tracescribe.tracer.graph import AttributionGraph, FloatArray, NodeKind
from tracescribe.tracer.graph_json import parse_graph, read_graph, to_json
from tracescribe.tracer.models import LanguageModel, load_model
from tracescribe.tracer.transcoders import TranscoderSet, load_transcoders

Pair = tuple[LanguageModel, TranscoderSet]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"), TinyShape(seed=3))


@pytest.fixture(scope="module")
def graph(pair: Pair) -> AttributionGraph:
    """As a stranger would have it: read from a JSON file that names no weights."""
    document = to_json(attribute_tokens(*pair, random_tokens(6, TinyShape())))
    del document["metadata"]["tracescribe"]
    return parse_graph(json.dumps(document).encode())


def with_activations(graph: AttributionGraph, activation: FloatArray) -> AttributionGraph:
    return dataclasses.replace(graph, nodes=dataclasses.replace(graph.nodes, activation=activation))


def test_a_graph_agrees_with_its_own_weights(pair: Pair, graph: AttributionGraph) -> None:
    assert len(graph.of_kind(NodeKind.FEATURE)) > 10
    assert check_activations(graph, *pair) < 1e-5


def test_a_graph_traced_in_bfloat16_is_within_the_tolerance(pair: Pair, graph: AttributionGraph) -> None:
    rounded = torch.from_numpy(graph.nodes.activation).bfloat16().float().numpy()
    found = check_activations(with_activations(graph, rounded), *pair)
    assert 1e-4 < found < TOLERANCE


def test_one_wrong_activation_is_found_and_named(pair: Pair, graph: AttributionGraph) -> None:
    index = int(graph.of_kind(NodeKind.FEATURE)[3])
    layer = graph.nodes.layer == graph.nodes.layer[index]
    activation = graph.nodes.activation.copy()
    activation[index] += 0.05 * float(np.nanmax(activation[layer & (graph.nodes.kind == NodeKind.FEATURE)]))
    changed = with_activations(graph, activation)
    with pytest.raises(TranscoderMismatchError, match=f"{graph.node_ids[index]} is .* computed .*bfloat16"):
        check_activations(changed, *pair)
    assert 0.02 < check_activations(changed, *pair, tolerance=1.0) < 0.06


def test_other_weights_of_the_same_shape_are_found_out(
    pair: Pair, graph: AttributionGraph, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = make_pair(tmp_path_factory.mktemp("other"), TinyShape(seed=4))
    with pytest.raises(TranscoderMismatchError, match="was not traced from these weights: activations differ"):
        check_activations(graph, other[0], other[1])
    with pytest.raises(TranscoderMismatchError, match="was not traced from these weights"):
        check_activations(graph, pair[0], other[1])


def test_what_the_weights_do_not_have_is_told_before_any_run(pair: Pair, graph: AttributionGraph) -> None:
    n = len(pair[1].n_features)
    feature = graph.nodes.feature.copy()
    feature[graph.of_kind(NodeKind.FEATURE)[0]] = 10**6
    layer = graph.nodes.layer.copy()
    layer[graph.of_kind(NodeKind.FEATURE)[1]] = 99
    table = dataclasses.replace(graph.nodes, feature=feature, layer=layer)
    with pytest.raises(TranscoderMismatchError, match=f"has .* features; .*the transcoders have {n} layers"):
        check_activations(dataclasses.replace(graph, nodes=table), *pair)
    with pytest.raises(TranscoderMismatchError, match="does not tell the ids of all its tokens"):
        check_activations(dataclasses.replace(graph, token_ids=()), *pair)
    with pytest.raises(TranscoderMismatchError, match="token id 99999, but the vocabulary has"):
        check_activations(dataclasses.replace(graph, token_ids=(99999,) * graph.n_pos), *pair)


def test_a_graph_without_activations_has_nothing_to_compare(pair: Pair, graph: AttributionGraph) -> None:
    silent = with_activations(graph, np.full_like(graph.nodes.activation, np.nan))
    assert check_activations(silent, *pair) == 0.0


def test_golden_files_agree_with_the_weights_beside_them(shared_folder: Path) -> None:
    """Graphs that circuit-tracer wrote, and the model and transcoders that it traced."""
    checked = 0
    for path in sorted((shared_folder / "tracer").rglob("graph.json.gz")):
        graph, folder = read_graph(path), path.parent
        weights = load_model(folder / "model"), load_transcoders(folder / "transcoder")
        assert check_activations(graph, *weights) < 1e-4, folder.name
        checked += 1
    assert checked >= 2
