"""CPR over edges: by hand on a graph of four edges, and against a linear solve on random ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tracescribe.agents.claims import FeatureAt
from tracescribe.agents.findings import Supernode, SupernodeEdge
from tracescribe.evals.scorers.edge_faithfulness import METRICS, EdgeRuns, can_propagate, score_edge_faithfulness
from tracescribe.tracer.edges import EdgeTable
from tracescribe.tracer.graph import AttributionGraph, FeatureNode, NodeKind, NodeTable

F, E, R, L = NodeKind.FEATURE, NodeKind.EMBEDDING, NodeKind.ERROR, NodeKind.LOGIT


def make_graph(
    kinds: Sequence[NodeKind], layers: Sequence[int], links: Sequence[tuple[int, int, float]], bias: Sequence[float]
) -> AttributionGraph:
    """A graph whose features' activations are what their edges (source, target, weight) and constants give."""
    n = len(kinds)
    source, target, weight = (np.array(column) for column in zip(*links, strict=True))
    total = np.array(bias) + np.bincount(target, weights=weight, minlength=n)
    nodes = NodeTable(
        kind=np.array(kinds),
        layer=np.array(layers),
        position=np.ones(n, dtype=np.int64),
        feature=np.arange(n),
        activation=np.where([k == F for k in kinds], total, np.where([k == L for k in kinds], 0.9, np.nan)),
        influence=np.full(n, np.nan, dtype=np.float32),
        bias=np.array(bias, dtype=np.float32),
    )
    return AttributionGraph(
        prompt="x",
        tokens=("<bos>", "x"),
        token_ids=(0, 7),
        n_layers=max(layers),
        nodes=nodes,
        node_ids=tuple(f"n{i}" for i in range(n)),
        labels=("",) * n,
        edges=EdgeTable(target, source, weight.astype(np.float32)),
    )


def told(graph: AttributionGraph, groups: Sequence[Sequence[int]], edges: Sequence[tuple[str, str, float]]) -> Any:
    supernodes = [
        Supernode(
            supernode_id=f"s{n}",
            label="x",
            role="other",
            members=tuple(FeatureAt.of(FeatureNode(*_place(graph, i))) for i in group),
        )
        for n, group in enumerate(groups, start=1)
    ]
    links = [SupernodeEdge(source=a, destination=b, weight=w) for a, b, w in edges]
    return cast(Any, SimpleNamespace(supernodes=supernodes, edges=links))


def _place(graph: AttributionGraph, index: int) -> tuple[int, int, int]:
    node = graph.feature_node(index)
    return node.layer, node.position, node.feature


@pytest.fixture
def graph() -> AttributionGraph:
    """n0 (token) feeds features n1 by 2 and n2 by 1; they feed the logit n4 by 3 and 4, an error by .5, a constant 1."""
    links = [(0, 1, 2.0), (0, 2, 1.0), (1, 4, 3.0), (2, 4, 4.0), (3, 4, 0.5)]
    return make_graph((E, F, F, R, L), (-1, 0, 0, 1, 2), links, (0, 0, 0, 0, 1.0))


def test_four_edges_by_hand(graph: AttributionGraph) -> None:
    """Whole 8.5, empty 1.5. k = .5 keeps the two edges of n1: 4.5, so f = 3/7; smaller k keep none."""
    report = told(graph, [[1]], [("n0", "s1", 2.0), ("s1", "n4", 3.0)])
    scores = score_edge_faithfulness(report, graph, np.random.default_rng(0))
    f = 3 / 7
    assert scores["circuit.edge_cpr"].value == pytest.approx(0.3 * f / 2 + 0.5 * (1 + f) / 2)
    assert scores["circuit.edge_cmd"].value == pytest.approx(0.199 + 0.3 * (2 - f) / 2 + 0.5 * (1 - f) / 2)
    other = told(graph, [[2]], [("n0", "s1", -1.0), ("s1", "n4", 4.0)])
    better = score_edge_faithfulness(other, graph, np.random.default_rng(0))["circuit.edge_cpr"].value
    assert better == pytest.approx(0.3 * (4 / 7) / 2 + 0.5 * (1 + 4 / 7) / 2)


def test_a_feature_that_is_cut_off_passes_nothing_on_and_none_fires_below_zero(graph: AttributionGraph) -> None:
    runs = EdgeRuns(graph)
    assert runs.logit(np.array([], dtype=np.int64)) == pytest.approx(8.5)
    assert runs.logit(np.array([0])) == pytest.approx(5.5)
    assert runs.logit(runs.candidates) == pytest.approx(1.5)
    held_down = make_graph((E, F, L), (-1, 0, 1), [(0, 1, 5.0), (1, 2, 3.0)], (0, -2.0, 0.0))
    assert EdgeRuns(held_down).logit(np.array([0])) == 0.0


def test_propagation_agrees_with_a_linear_solve() -> None:
    rng = np.random.default_rng(4)
    kinds, layers = (E, E, *[F] * 12, R, L), (-1, -1, *sorted([0, 1, 2] * 4), 1, 3)
    links = [
        (a, b, float(rng.uniform(0.1, 1.0)))
        for b in range(16)
        for a in range(16)
        if kinds[b] in (F, L) and kinds[a] != L and layers[a] < layers[b]
    ]
    graph = make_graph(kinds, layers, links, [float(rng.uniform(0, 0.5)) if k == F else 0.0 for k in kinds])
    runs = EdgeRuns(graph)
    for _ in range(10):
        cut = rng.permutation(runs.candidates)[: len(runs.candidates) // 2]
        weight = graph.edges.weight.astype(np.float64).copy()
        weight[cut] = 0
        whole = np.where(np.isin(graph.nodes.kind, (E, R)), 1.0, np.nan_to_num(graph.nodes.activation))
        per_unit = np.zeros((16, 16))
        per_unit[graph.edges.target, graph.edges.source] = weight / whole[graph.edges.source]
        start = np.isin(graph.nodes.kind, (E, R)) + graph.nodes.bias.astype(np.float64)
        assert runs.logit(cut) == pytest.approx(float(np.linalg.solve(np.eye(16) - per_unit, start)[-1]), rel=1e-5)


def test_telling_the_right_edges_beats_chance_and_the_wrong_ones_does_not() -> None:
    """Ten features feed the logit, one by far the most."""
    links = [(0, i, 1.0) for i in range(1, 11)] + [(i, 11, 20.0 if i == 3 else 0.5) for i in range(1, 11)]
    graph = make_graph((E, *[F] * 10, L), (-1, *[0] * 10, 1), links, (0.0,) * 12)

    def gain(feature: int) -> float:
        report = told(graph, [[feature]], [("n0", "s1", 1.0), ("s1", "n11", 1.0)])
        scores = score_edge_faithfulness(report, graph, np.random.default_rng(1))
        return scores["circuit.edge_cpr_over_random"].value or 0.0

    assert gain(3) > 0.3 > gain(5) + 0.2


def test_what_cannot_be_propagated_is_no_score(graph: AttributionGraph) -> None:
    report = told(graph, [[1]], [("s1", "n4", 3.0)])
    unknown = replace(graph, nodes=replace(graph.nodes, bias=np.full(5, np.nan, dtype=np.float32)))
    pruned = graph.subgraph(np.array([True] * 5), np.array([False, True, True, True, True]))
    for one in (unknown, pruned, replace(graph, provenance={"pruning": {}})):
        assert not can_propagate(one)
        scores = score_edge_faithfulness(report, one, np.random.default_rng(0))
        assert {scores[metric.name].value for metric in METRICS} == {None}
    assert (
        score_edge_faithfulness(told(graph, [[1]], []), graph, np.random.default_rng(0))["circuit.edge_cpr"].value
        is None
    )


def test_the_order_in_which_links_are_told_does_not_matter(graph: AttributionGraph) -> None:
    links = [("n0", "s1", 2.0), ("s1", "n4", 3.0), ("s2", "n4", 4.0)]
    found = [
        score_edge_faithfulness(told(graph, [[1], [2]], order), graph, np.random.default_rng(0))
        for order in (links, links[::-1])
    ]
    assert found[0] == found[1]
