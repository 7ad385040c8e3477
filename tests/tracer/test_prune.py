"""Influence, pruning and scores: agreement with dense matrices, with hand-worked graphs, and typed errors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.tracer.tiny_pair import TinyShape, make_pair, random_tokens
from tracescribe.tracer.attribution import attribute_tokens
from tracescribe.tracer.errors import AttributionError, SettingError
from tracescribe.tracer.graph import AttributionGraph, EdgeTable, NodeKind, NodeTable, standard_node_ids
from tracescribe.tracer.prune import (
    PruneSettings,
    cumulative_influence,
    error_influence_share,
    graph_scores,
    logit_weights,
    measure,
    node_influence,
    propagate,
    prune,
    prune_masks,
    threshold_score,
)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> AttributionGraph:
    shape = TinyShape(seed=8, n_features=(24, 24, 24, 24))
    model, transcoders = make_pair(tmp_path_factory.mktemp("pair"), shape)
    return attribute_tokens(model, transcoders, random_tokens(8, shape))


def dense_influence(adjacency: np.ndarray, weights: np.ndarray, n_layers: int) -> np.ndarray:
    """The definition: a sum of matrix powers, which must end after `n_layers + 2` steps."""
    shares = np.abs(adjacency.astype(np.float64))
    shares /= np.maximum(shares.sum(1, keepdims=True), 1e-10)
    step, total = weights, np.zeros(len(weights))
    for _ in range(n_layers + 2):
        step = step @ shares
        total = total + step
    assert not step.any()
    return np.asarray(total)


def test_influence_is_the_sum_over_all_paths(graph: AttributionGraph) -> None:
    expected = dense_influence(graph.dense(), logit_weights(graph), graph.n_layers)
    assert np.allclose(node_influence(graph), expected, rtol=1e-12, atol=0)
    assert expected[graph.of_kind(NodeKind.FEATURE)].max() > 0


def test_both_ways_to_sum_agree(graph: AttributionGraph) -> None:
    """One pass by layer, and step by step for graphs whose layers tell nothing."""
    start, edges = logit_weights(graph), graph.edges
    assert edges.blocks is not None
    columns = EdgeTable(edges.target, edges.source, edges.weight)
    by_step = propagate(columns, start, np.zeros(graph.n_nodes, dtype=np.int64))
    by_layer = propagate(columns, start, graph.nodes.layer)
    for other in (by_step, by_layer):
        assert np.allclose(other, node_influence(graph), rtol=1e-12, atol=1e-300)


def test_blocks_and_columns_tell_the_same(graph: AttributionGraph) -> None:
    """Scores, influence and pruning of a traced graph, and of the same edges as a file would hold them."""
    edges = graph.edges
    in_columns = dataclasses.replace(graph, edges=EdgeTable(edges.target, edges.source, edges.weight))
    assert edges.blocks is not None and in_columns.edges.blocks is None
    assert len(edges) == sum(int(np.count_nonzero(block.weight)) for block in edges.blocks)
    (scores, influence), (other_scores, other_influence) = measure(graph), measure(in_columns)
    assert scores.replacement == pytest.approx(other_scores.replacement, rel=1e-12)
    assert scores.completeness == pytest.approx(other_scores.completeness, rel=1e-12)
    assert np.allclose(influence, other_influence, rtol=1e-12)
    for settings in (PruneSettings(), PruneSettings(0.5, 0.7)):
        pruned, other = prune(graph, settings), prune(in_columns, settings)
        assert pruned.node_ids == other.node_ids
        for name in ("target", "source", "weight"):
            assert (getattr(pruned.edges, name) == getattr(other.edges, name)).all()
        masks = prune_masks(graph, settings)
        by_mask = graph.subgraph(masks.nodes, masks.edges)
        assert by_mask.node_ids == pruned.node_ids and (by_mask.edges.weight == pruned.edges.weight).all()


def test_the_order_of_edges_does_not_matter(graph: AttributionGraph) -> None:
    order = np.random.default_rng(0).permutation(len(graph.edges))
    edges = graph.edges
    shuffled = dataclasses.replace(
        graph, edges=EdgeTable(edges.target[order], edges.source[order], edges.weight[order])
    )
    assert np.allclose(node_influence(shuffled), node_influence(graph), rtol=1e-12)
    assert (prune_masks(shuffled).edges == prune_masks(graph).edges[order]).all()


def test_cumulative_shares_rise_as_influence_falls(graph: AttributionGraph) -> None:
    influence = node_influence(graph)
    share = cumulative_influence(influence)
    order = np.argsort(-influence, kind="stable")
    assert (np.diff(share[order]) >= 0).all()
    assert share.max() == pytest.approx(1.0)
    first = int(order[0])
    assert share[first] == pytest.approx(influence[first] / influence.sum())
    assert graph.nodes.influence == pytest.approx(share)


@pytest.mark.parametrize(("scores", "share", "expected"), [
    ([4.0, 3.0, 2.0, 1.0], 0.4, 4.0),
    ([4.0, 3.0, 2.0, 1.0], 0.41, 3.0),
    ([1.0, 2.0, 4.0, 3.0], 0.9, 2.0),
    ([4.0, 3.0, 2.0, 1.0], 1.0, 1.0),
    ([0.0, 0.0], 0.5, 0.0),
    ([], 0.5, 0.0),
])  # fmt: skip
def test_threshold_score(scores: list[float], share: float, expected: float) -> None:
    assert threshold_score(np.array(scores), share) == expected


def dense_masks(graph: AttributionGraph, settings: PruneSettings) -> tuple[np.ndarray, np.ndarray]:
    """Pruning by its definition, on N x N matrices that sort all scores."""
    adjacency, kind, weights = graph.dense(), graph.nodes.kind, logit_weights(graph)
    fixed = np.isin(kind, [NodeKind.EMBEDDING, NodeKind.LOGIT])
    influence = dense_influence(adjacency, weights, graph.n_layers)
    nodes = (influence >= threshold_score(influence, settings.node_threshold)) | fixed
    kept = adjacency * nodes[:, None] * nodes
    shares = np.abs(kept.astype(np.float64))
    shares /= np.maximum(shares.sum(1, keepdims=True), 1e-10)
    scores = shares * (dense_influence(kept, weights, graph.n_layers) + weights)[:, None]
    edges = (scores >= threshold_score(scores.flatten(), settings.edge_threshold)) & (scores > 0)
    while True:
        before = nodes.copy()
        nodes &= fixed | edges.any(0)
        nodes &= (kind != NodeKind.FEATURE) | edges.any(1)
        edges &= nodes[:, None] & nodes
        if (nodes == before).all():
            return nodes, edges


@pytest.mark.parametrize(("node_threshold", "edge_threshold"), [(0.8, 0.98), (0.95, 0.6), (0.3, 0.9), (0.5, 0.2)])
def test_pruning_per_edge_equals_pruning_of_the_matrix(
    graph: AttributionGraph, node_threshold: float, edge_threshold: float
) -> None:
    settings = PruneSettings(node_threshold, edge_threshold)
    masks = prune_masks(graph, settings)
    nodes, edges = dense_masks(graph, settings)
    mine = np.zeros_like(edges)
    mine[graph.edges.target, graph.edges.source] = masks.edges
    assert (masks.nodes == nodes).all()
    assert (mine == edges).all()
    assert 0 < masks.nodes.sum() < graph.n_nodes


def test_a_pruned_graph_has_no_loose_ends(graph: AttributionGraph) -> None:
    pruned = prune(graph, PruneSettings(0.6, 0.8))
    kind, edges = pruned.nodes.kind, pruned.edges
    sources, targets = set(edges.source.tolist()), set(edges.target.tolist())
    for index in range(pruned.n_nodes):
        if kind[index] == NodeKind.FEATURE:
            assert index in sources and index in targets
        if kind[index] == NodeKind.ERROR:
            assert index in sources
    for fixed in (NodeKind.EMBEDDING, NodeKind.LOGIT):
        assert len(pruned.of_kind(fixed)) == len(graph.of_kind(fixed))
    assert pruned.scores == graph.scores
    assert pruned.provenance["pruning"] == {"node_threshold": 0.6, "edge_threshold": 0.8}


def test_more_is_kept_at_higher_thresholds(graph: AttributionGraph) -> None:
    sizes = [prune(graph, PruneSettings(share, 0.98)).n_nodes for share in (0.3, 0.6, 0.9)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]


def small(edges: list[tuple[int, int, float]]) -> AttributionGraph:
    """Feature 0 at layer 0, feature 1 at layer 1, error 2 at layer 0, token 3, logit 4; `edges` as target, source, weight."""
    nan = float("nan")
    nodes = NodeTable(
        kind=np.array([0, 0, 1, 2, 3]),
        layer=np.array([0, 1, 0, -1, 2]),
        position=np.zeros(5, dtype=np.int64),
        feature=np.array([0, 1, -1, 6, 9]),
        activation=np.array([1, 1, nan, nan, 0.5], dtype=np.float32),
        influence=np.full(5, nan, dtype=np.float32),
        bias=np.full(5, nan, dtype=np.float32),
    )
    target, source, weight = (np.array(column) for column in zip(*edges, strict=True))
    return AttributionGraph(
        prompt="x", tokens=("x",), token_ids=(6,), n_layers=2, nodes=nodes, node_ids=standard_node_ids(nodes, 2),
        labels=("",) * 5, edges=EdgeTable(target, source, weight.astype(np.float32)),
    )  # fmt: skip


def test_scores_of_a_graph_worked_by_hand() -> None:
    # logit (p = .5) reads feature 1 (weight 3 of 4) and the token (1 of 4); feature 1 reads feature 0 and the error in
    # halves; feature 0 reads the token alone
    graph = small([(4, 1, -3.0), (4, 3, 1.0), (1, 0, 2.0), (1, 2, -2.0), (0, 3, 0.7)])
    assert node_influence(graph) == pytest.approx([0.1875, 0.375, 0.1875, 0.3125, 0.0])
    scores = graph_scores(graph)
    assert scores.replacement == pytest.approx(0.3125 / 0.5)
    flows = np.array([0.1875, 0.375, 0.1875, 0.3125, 0.5])
    assert scores.completeness == pytest.approx(((flows * [1, 0.5, 1, 1, 1]).sum()) / flows.sum())
    assert error_influence_share(graph) == pytest.approx(0.1875 / 1.0625)


def test_a_logit_without_probability_counts_like_any_other() -> None:
    graph = small([(4, 1, 1.0), (1, 3, 1.0)])
    unknown = dataclasses.replace(graph.nodes, activation=np.full(5, np.nan, dtype=np.float32))
    assert node_influence(dataclasses.replace(graph, nodes=unknown))[3] == 1.0


def test_rows_below_the_floor_do_not_count_in_full() -> None:
    """Noise in a row that is all but empty must not look like influence."""
    graph = small([(4, 1, 1.0), (1, 3, 1e-12), (1, 2, 1e-12)])
    for floor in (1e-10, 1e-8):
        influence = propagate(graph.edges, logit_weights(graph), graph.nodes.layer, floor)
        assert influence[2] == influence[3] == pytest.approx(0.5 * 1e-12 / floor)


def test_a_cycle_is_an_error() -> None:
    with pytest.raises(AttributionError, match="still flows after 1000 steps: the graph has a cycle"):
        node_influence(small([(4, 1, 1.0), (1, 0, 1.0), (0, 1, 1.0)]))


def test_a_graph_without_edges_scores_zero_and_keeps_tokens_and_logits() -> None:
    graph = small([(4, 1, 1.0)]).subgraph(np.array([False, False, False, True, True]))
    assert graph_scores(graph).replacement == 0.0
    assert error_influence_share(graph) == 0.0
    assert prune(graph).n_nodes == 2


@pytest.mark.parametrize("values", [(0.0, 0.5), (0.5, 1.01), (-1.0, 0.5), (float("nan"), 0.5)])
def test_thresholds_outside_their_range_are_refused(values: tuple[float, float]) -> None:
    with pytest.raises(SettingError, match="expected above 0, at most 1"):
        PruneSettings(*values)
