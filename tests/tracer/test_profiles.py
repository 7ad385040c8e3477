"""Profiles: agreement with a dense solution and with linear algebra on real graphs; laws of the similarity."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracescribe.tracer.errors import AttributionError, SettingError
from tracescribe.tracer.graph import AttributionGraph, EdgeTable, NodeKind, NodeTable, standard_node_ids
from tracescribe.tracer.profiles import (
    MIN_PASS_THROUGH,
    cross_similarity,
    destination_profile,
    in_profile,
    out_profile,
    profiles,
    similarity,
)

N_LAYERS, N_POS = 3, 4


def random_graph(seed: int) -> AttributionGraph:
    """A small graph with every kind of node and random signed edges from lower layers and earlier positions."""
    rng = np.random.default_rng(seed)
    rows = [
        (NodeKind.FEATURE, layer, p, 10 * p + i) for layer in range(N_LAYERS) for p in range(1, 4) for i in range(2)
    ]
    rows += [(NodeKind.ERROR, layer, p, -1) for layer in range(N_LAYERS) for p in range(N_POS)]
    rows += [(NodeKind.EMBEDDING, -1, p, 100 + p) for p in range(N_POS)]
    rows += [(NodeKind.LOGIT, N_LAYERS, N_POS - 1, 200 + i) for i in range(2)]
    kind, layer, position, feature = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    target, source = np.meshgrid(np.arange(len(rows)), np.arange(len(rows)), indexing="ij")
    allowed = (layer[target] > layer[source]) & (position[target] >= position[source])
    allowed &= np.isin(kind[target], (NodeKind.FEATURE, NodeKind.LOGIT)) & (kind[source] != NodeKind.LOGIT)
    allowed &= rng.uniform(size=allowed.shape) < 0.7
    edges = EdgeTable(
        target[allowed].astype(np.int64),
        source[allowed].astype(np.int64),
        rng.normal(size=int(allowed.sum())).astype(np.float32),
    )
    activation = np.where(kind == NodeKind.FEATURE, rng.uniform(2.0, 9.0, len(rows)), np.nan).astype(np.float32)
    unknown = np.full(len(rows), np.nan, dtype=np.float32)
    nodes = NodeTable(kind, layer, position, feature, activation, unknown, unknown)
    return AttributionGraph(
        prompt="a b c",
        tokens=("<bos>", "a", "b", "c"),
        token_ids=(1, 2, 3, 4),
        n_layers=N_LAYERS,
        nodes=nodes,
        node_ids=standard_node_ids(nodes, N_LAYERS),
        labels=("",) * len(rows),
        edges=edges,
    )


def dense_effects(graph: AttributionGraph) -> np.ndarray:
    """Total effect of every node on every node by matrix inversion: a second implementation."""
    matrix = graph.dense().astype(np.float64)
    size = np.abs(matrix).sum(1)
    divisor = np.maximum(graph.nodes.activation, MIN_PASS_THROUGH * size)
    divisor = np.where(graph.nodes.kind == NodeKind.FEATURE, divisor, 1.0)
    passed = matrix / divisor[:, None]
    return np.asarray(np.linalg.inv(np.eye(len(passed)) - passed) - np.eye(len(passed)))


@pytest.mark.parametrize("seed", range(4))
def test_profiles_agree_with_matrix_inversion(seed: int) -> None:
    check_against_inversion(random_graph(seed))


def test_profiles_of_a_traced_prompt_agree_with_matrix_inversion(dallas_graph: AttributionGraph) -> None:
    check_against_inversion(dallas_graph)


def check_against_inversion(graph: AttributionGraph) -> None:
    total = dense_effects(graph)
    features, logits = graph.of_kind(NodeKind.FEATURE), graph.of_kind(NodeKind.LOGIT)
    inputs = total[np.ix_(features, graph.of_kind(NodeKind.EMBEDDING))]
    reached = np.abs(inputs).sum(1) > 0
    expected = inputs[reached] / np.abs(inputs[reached]).sum(1, keepdims=True)
    assert in_profile(graph)[reached] == pytest.approx(expected, abs=1e-5)
    assert not in_profile(graph)[~reached].any()
    effects = total[np.ix_(logits, features)].T
    assert out_profile(graph) == pytest.approx(effects, abs=1e-5 * np.abs(effects).max())


def test_dallas_feeds_what_stands_on_dallas(dallas_graph: AttributionGraph) -> None:
    found = profiles(dallas_graph)
    dallas = dallas_graph.tokens.index("Dallas")
    on_dallas = (dallas_graph.nodes.position[found.nodes] == dallas) & (dallas_graph.nodes.layer[found.nodes] == 0)
    strongest = found.nodes[on_dallas][np.argmax(dallas_graph.nodes.activation[found.nodes[on_dallas]])]
    row = int(np.flatnonzero(found.nodes == strongest)[0])
    assert int(np.argmax(np.abs(found.inputs[row]))) == dallas
    assert found.outputs[row, 0] > 0


def test_destinations_are_shares_of_direct_effect() -> None:
    graph = random_graph(0)
    shares = destination_profile(graph).reshape(-1, N_LAYERS + 1, N_POS)
    assert shares.sum((1, 2)) == pytest.approx(np.ones(len(shares)), abs=1e-5)
    features = graph.of_kind(NodeKind.FEATURE)
    for row, node in enumerate(features):
        assert not shares[row, : graph.nodes.layer[node] + 1].any(), "nothing feeds its own layer or one below"
        assert not shares[row, :, : graph.nodes.position[node]].any(), "nothing feeds an earlier position"
    edges = graph.edges
    first = int(features[0])
    to_logits = (edges.source == first) & (graph.nodes.kind[edges.target] == NodeKind.LOGIT)
    expected = np.abs(edges.weight[to_logits]).sum() / np.abs(edges.weight[edges.source == first]).sum()
    assert shares[0, N_LAYERS].sum() == pytest.approx(expected, abs=1e-5)


def test_missing_activations_fall_back_to_input_size() -> None:
    graph = random_graph(1)
    unknown = np.full(graph.n_nodes, np.nan, dtype=np.float32)
    silent = dataclasses.replace(graph, nodes=dataclasses.replace(graph.nodes, activation=unknown))
    size = np.bincount(graph.edges.target, np.abs(graph.edges.weight), graph.n_nodes).astype(np.float32)
    told = dataclasses.replace(graph, nodes=dataclasses.replace(graph.nodes, activation=size))
    assert out_profile(silent) == pytest.approx(out_profile(told), rel=1e-5)


def test_a_feature_at_its_threshold_does_not_blow_up_its_paths() -> None:
    graph = random_graph(2)
    tiny = np.where(graph.nodes.kind == NodeKind.FEATURE, 1e-30, np.nan).astype(np.float32)
    found = out_profile(dataclasses.replace(graph, nodes=dataclasses.replace(graph.nodes, activation=tiny)))
    assert np.isfinite(found).all() and np.abs(found).max() < 1e6


def test_a_cycle_and_bad_weights_are_refused() -> None:
    graph = random_graph(3)
    first, second = graph.of_kind(NodeKind.FEATURE)[:2]
    looped = EdgeTable(
        np.append(graph.edges.target, [first, second]),
        np.append(graph.edges.source, [second, first]),
        np.append(graph.edges.weight, [1.0, 1.0]).astype(np.float32),
    )
    with pytest.raises(AttributionError, match="has a cycle"):
        in_profile(dataclasses.replace(graph, edges=looped))
    weight = graph.edges.weight.copy()
    weight[0] = np.nan
    with pytest.raises(AttributionError, match="1 edge weights that are not finite"):
        out_profile(dataclasses.replace(graph, edges=EdgeTable(graph.edges.target, graph.edges.source, weight)))


def test_a_graph_without_features_has_empty_profiles() -> None:
    graph = random_graph(0)
    bare = graph.subgraph(graph.nodes.kind != NodeKind.FEATURE)
    found = profiles(bare)
    assert found.inputs.shape == (0, N_POS) and found.outputs.shape == (0, 2) and found.nodes.shape == (0,)


vectors = st.lists(
    st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, 3.0]), min_size=3, max_size=3), min_size=2, max_size=6
)


@given(vectors, vectors)
@settings(max_examples=60, deadline=None)
def test_similarity_is_symmetric_bounded_and_scale_free(first: list[list[float]], second: list[list[float]]) -> None:
    n = min(len(first), len(second))
    a, b = np.array(first[:n], dtype=np.float32), np.array(second[:n], dtype=np.float32)
    found = similarity(a, b)
    assert found == pytest.approx(found.T, abs=1e-6) and found.min() >= 0.0 and found.max() <= 1.0 + 1e-6
    assert np.diag(found) == pytest.approx(np.ones(n))
    assert similarity(2.5 * a, 0.1 * b) == pytest.approx(found, abs=1e-5)
    plain = cross_similarity([a, b], [a, b])
    off = ~np.eye(n, dtype=bool)
    assert plain[off] == pytest.approx(found[off], abs=1e-6)


def test_similarity_by_hand() -> None:
    a = np.array([[1, 0], [1, 1], [-1, 0], [0, 0]], dtype=np.float32)
    b = np.array([[1, 0], [1, 0], [1, 0], [1, 0]], dtype=np.float32)
    found = similarity(a, b)
    half = np.sqrt(0.5)
    assert found[0, 1] == pytest.approx(2 / (1 / half + 1)), "harmonic mean of .707 and 1"
    assert found[0, 2] == 0.0, "opposed in one view: not alike, however alike in the other"
    assert found[0, 3] == 1.0, "the first view says nothing of a zero row, so the second decides"
    assert similarity(a)[0, 3] == 0.0, "no view knows the pair"


def test_similarity_refuses_views_that_do_not_match() -> None:
    a, b = np.zeros((2, 3), dtype=np.float32), np.zeros((3, 3), dtype=np.float32)
    with pytest.raises(SettingError, match=r"one height, found \[2, 3\]"):
        similarity(a, b)
    with pytest.raises(SettingError, match="found no views"):
        similarity()
    with pytest.raises(SettingError, match="pair up in number and width"):
        cross_similarity([a], [np.zeros((2, 4), dtype=np.float32)])
