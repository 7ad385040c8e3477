"""The graph object: look-ups, subgraphs, ids, and the networkx view."""

from __future__ import annotations

import numpy as np
import pytest

from tracescribe.tracer.errors import UnknownIdError
from tracescribe.tracer.graph import (
    AttributionGraph,
    EdgeTable,
    FeatureNode,
    FeatureRef,
    NodeKind,
    NodeTable,
    standard_node_ids,
)

NAN = float("nan")


def make_graph() -> AttributionGraph:
    """Two tokens, two features, an error and two logits of a model with two layers."""
    nodes = NodeTable(
        kind=np.array([0, 0, 1, 2, 2, 3, 3]),
        layer=np.array([0, 1, 0, -1, -1, 2, 2]),
        position=np.array([1, 1, 1, 0, 1, 1, 1]),
        feature=np.array([7, 3, -1, 0, 5, 8, 9]),
        activation=np.array([0.5, 2.0, NAN, NAN, NAN, 0.3, 0.6], dtype=np.float32),
        influence=np.full(7, NAN, dtype=np.float32),
        bias=np.array([0.1, 0.2, NAN, NAN, NAN, 0.0, 0.0], dtype=np.float32),
    )
    edges = EdgeTable(
        target=np.array([0, 0, 1, 1, 5, 6, 6]),
        source=np.array([3, 4, 0, 2, 1, 0, 1]),
        weight=np.array([0.25, 0.75, -1.0, 3.0, 2.0, -0.5, 1.5], dtype=np.float32),
    )
    return AttributionGraph(
        prompt="w5",
        tokens=("<bos>", "w5"),
        token_ids=(0, 5),
        n_layers=2,
        nodes=nodes,
        node_ids=standard_node_ids(nodes, 2),
        labels=("", "", "", "", "", "", ""),
        edges=edges,
    )


def test_ids_are_unique_and_errors_cannot_collide_with_features() -> None:
    assert make_graph().node_ids == ("0_7_1", "1_3_1", "0_-1_1", "E_0_0", "E_5_1", "3_8_1", "3_9_1")


def test_nodes_are_found_by_id_and_by_feature() -> None:
    graph = make_graph()
    assert [graph.index(i) for i in graph.node_ids] == list(range(7))
    assert graph.node_of_feature == {FeatureNode(0, 1, 7): 0, FeatureNode(1, 1, 3): 1}
    assert graph.feature_node(1).ref == FeatureRef(1, 3)
    assert str(FeatureRef(1, 3)) == "1/3"
    with pytest.raises(UnknownIdError, match="node id '9_9_9' is not in this graph of 7 nodes"):
        graph.index("9_9_9")


def test_the_target_is_the_most_probable_logit() -> None:
    graph = make_graph()
    assert graph.target_logit == 6
    without = graph.subgraph(graph.nodes.kind != NodeKind.LOGIT)
    assert without.target_logit is None


def test_a_subgraph_keeps_edges_among_kept_nodes_only() -> None:
    graph = make_graph()
    kept = np.array([True, True, False, True, False, False, True])
    part = graph.subgraph(kept)
    assert part.node_ids == ("0_7_1", "1_3_1", "E_0_0", "3_9_1")
    assert np.array_equal(part.dense(), graph.dense()[np.ix_(kept, kept)])
    thinned = graph.subgraph(kept, graph.edges.weight > 0)
    assert np.array_equal(thinned.dense(), np.maximum(part.dense(), 0))


def test_the_dense_view_has_targets_as_rows() -> None:
    dense = make_graph().dense()
    assert dense[1, 0] == -1.0 and dense[0, 1] == 0.0
    assert np.count_nonzero(dense) == 7


def test_the_networkx_view_points_from_source_to_target() -> None:
    view = make_graph().to_networkx()
    assert view.number_of_nodes() == 7 and view.number_of_edges() == 7
    assert view.edges["0_7_1", "1_3_1"]["weight"] == -1.0
    assert view.nodes["3_9_1"]["kind"] == "logit"


def test_tokens_of_nodes() -> None:
    graph = make_graph()
    assert [graph.token_text(i) for i in (0, 3, 4)] == ["w5", "<bos>", "w5"]
