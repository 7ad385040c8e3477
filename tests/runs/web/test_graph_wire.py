"""The block of bytes in which a graph goes to its page: nothing is lost or invented, and what is left out is told."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracescribe.runs.benchmarks.large_graph import N_LAYERS, N_TOKENS, large_graph
from tracescribe.runs.web.graph_wire import DrawnGraph, decode, drawn_graph, encode, kept_nodes, slots
from tracescribe.tracer.errors import GraphFormatError, SettingError
from tracescribe.tracer.graph import AttributionGraph, EdgeTable, NodeKind, NodeTable, standard_node_ids
from tracescribe.tracer.graph_checks import graph_faults

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@cache
def made_up() -> AttributionGraph:
    return large_graph(600, 3_000, seed=3)


@st.composite
def graphs(draw: st.DrawFn) -> AttributionGraph:
    """Small graphs with any texts and weights; several features may share a cell."""
    n_pos, n_layers = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    places = draw(
        st.lists(
            st.tuples(st.integers(0, n_layers - 1), st.integers(0, n_pos - 1), st.integers(0, 1 << 30)),
            max_size=12,
            unique=True,
        )
    )
    kinds = [NodeKind.FEATURE] * len(places) + [NodeKind.EMBEDDING] * n_pos + [NodeKind.LOGIT]
    layer = [place[0] for place in places] + [-1] * n_pos + [n_layers]
    position = [place[1] for place in places] + [*range(n_pos)] + [n_pos - 1]
    feature = [place[2] for place in places] + [*range(n_pos)] + [7]
    n = len(kinds)
    number = st.floats(0, 1, width=32, allow_subnormal=False) | st.just(math.nan)
    table = NodeTable(
        kind=np.array(kinds, dtype=np.int64),
        layer=np.array(layer, dtype=np.int64),
        position=np.array(position, dtype=np.int64),
        feature=np.array(feature, dtype=np.int64),
        activation=np.array([draw(number) for _ in range(n)], dtype=np.float32),
        influence=np.array([draw(number) for _ in range(n)], dtype=np.float32),
        bias=np.full(n, np.nan, dtype=np.float32),
    )
    pairs = [(s, t) for s in range(n) for t in range(n) if layer[s] < layer[t]]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=25)) if pairs else []
    weights = [draw(st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=False)) for _ in edges]
    return AttributionGraph(
        prompt="p",
        tokens=tuple(draw(TEXT) for _ in range(n_pos)),
        token_ids=(),
        n_layers=n_layers,
        nodes=table,
        node_ids=standard_node_ids(table, n_layers),
        labels=tuple(draw(TEXT) for _ in range(n)),
        edges=EdgeTable(
            np.array([t for _, t in edges], dtype=np.int64),
            np.array([s for s, _ in edges], dtype=np.int64),
            np.array(weights, dtype=np.float32),
        ),
    )


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_a_graph_comes_back_whole(graph: AttributionGraph) -> None:
    found = decode(encode(drawn_graph(graph)))
    assert found.header["ids"] == list(graph.node_ids)
    assert found.header["n_edges_total"] == len(graph.edges)
    for name in ("kind", "layer", "position", "feature"):
        assert found.arrays[name].tolist() == getattr(graph.nodes, name).tolist()
    for name in ("activation", "influence"):
        np.testing.assert_array_equal(found.arrays[name], getattr(graph.nodes, name))
    came = zip(found.arrays["source"].tolist(), found.arrays["target"].tolist(), found.arrays["weight"], strict=True)
    went = zip(graph.edges.source.tolist(), graph.edges.target.tolist(), graph.edges.weight, strict=True)
    assert sorted(came) == sorted(went)
    assert (np.diff(np.abs(found.arrays["weight"])) <= 0).all(), "the strongest come first"


@settings(max_examples=40, deadline=None)
@given(graphs(), st.integers(0, 8))
def test_the_weakest_edges_are_left_out_and_counted(graph: AttributionGraph, most: int) -> None:
    found = drawn_graph(graph, max_edges=most)
    strongest = sorted(np.abs(graph.edges.weight).tolist(), reverse=True)[:most]
    assert np.abs(found.arrays["weight"]).tolist() == strongest
    assert found.header["n_edges_total"] == len(graph.edges)


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_each_node_has_a_place_of_its_own_in_its_cell(graph: AttributionGraph) -> None:
    table = graph.nodes
    places = [*zip(table.layer.tolist(), table.position.tolist(), slots(table).tolist(), strict=True)]
    assert len(set(places)) == len(places)
    for layer, position, _ in places:
        cell = sorted(slot for a, b, slot in places if (a, b) == (layer, position))
        assert cell == [*range(len(cell))]


def test_the_most_influential_node_and_the_most_probable_output_stand_first() -> None:
    graph = made_up()
    found = drawn_graph(graph).arrays
    outputs = np.flatnonzero(found["kind"] == NodeKind.LOGIT)
    assert (np.diff(found["activation"][outputs][np.argsort(found["slot"][outputs])]) <= 0).all()
    second = int(np.flatnonzero((found["slot"] == 1) & (found["kind"] == NodeKind.FEATURE))[0])
    cell = np.flatnonzero((found["layer"] == found["layer"][second]) & (found["position"] == found["position"][second]))
    assert (np.diff(found["influence"][cell][np.argsort(found["slot"][cell])]) >= 0).all()


def test_of_too_many_nodes_tokens_outputs_and_the_busiest_stay() -> None:
    graph = made_up()
    kept = kept_nodes(graph, 100)
    assert kept.sum() == 100
    ends = np.isin(graph.nodes.kind, (NodeKind.EMBEDDING, NodeKind.LOGIT))
    assert kept[ends].all()
    found = drawn_graph(graph, max_nodes=100)
    assert len(found.header["ids"]) == 100
    assert found.header["n_nodes_total"] == 600
    assert 0 < len(found.arrays["weight"]) < found.header["n_edges_total"] == 3_000
    ids = found.header["ids"]
    ends_of = [(ids[s], ids[t]) for s, t in zip(found.arrays["source"], found.arrays["target"], strict=True)]
    whole = {
        (graph.node_ids[s], graph.node_ids[t]) for s, t in zip(graph.edges.source, graph.edges.target, strict=True)
    }
    assert whole.issuperset(ends_of)


def test_hidden_characters_are_shown_and_long_texts_are_cut() -> None:
    graph = made_up()
    labels = ("\u202eevil", "x" * 5_000, *graph.labels[2:])
    hostile = AttributionGraph(
        prompt=graph.prompt, tokens=graph.tokens, token_ids=graph.token_ids, n_layers=graph.n_layers,
        nodes=graph.nodes, node_ids=graph.node_ids, labels=labels, edges=graph.edges,
    )  # fmt: skip
    found = decode(encode(drawn_graph(hostile))).header["labels"]
    assert found[0] == "⟨U+202E⟩evil"
    assert len(found[1]) == 200
    assert found[1].endswith("…")


@pytest.mark.parametrize("cut", [0, 5, 11, 12, 40, -1, -200])
def test_a_block_that_is_cut_off_is_refused(cut: int) -> None:
    block = encode(drawn_graph(made_up()))
    with pytest.raises(GraphFormatError):
        decode(block[:cut])


def test_another_format_is_refused() -> None:
    block = encode(DrawnGraph({}, {}))
    for wrong in (b"XXXX" + block[4:], block[:4] + b"\x63" + block[5:], block[:12] + b"[1]" + block[15:]):
        with pytest.raises(GraphFormatError):
            decode(wrong)


def test_the_made_up_graph_is_one_that_every_reader_takes() -> None:
    graph = large_graph(2_000, 20_000, seed=1)
    assert graph.n_nodes == 2_000
    assert len(graph.edges) == 20_000
    assert graph_faults(graph) == []
    assert {int(layer) for layer in graph.nodes.layer} == set(range(-1, N_LAYERS + 1))
    assert graph.n_pos == N_TOKENS
    again = large_graph(2_000, 20_000, seed=1)
    np.testing.assert_array_equal(graph.edges.weight, again.edges.weight)
    assert graph.node_ids == again.node_ids
    with pytest.raises(SettingError):
        large_graph(60, 10)
    with pytest.raises(SettingError):
        large_graph(200, 1_000_000)
