"""`explain-edge`: the same split as the tracer's, by ids, features and words, and errors that help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tracescribe.tracer.graph import AttributionGraph, NodeKind

Run = Callable[..., Any]
DALLAS = "the capital of the state containing Dallas is"


@pytest.fixture(scope="module")
def moving_edge(dallas_graph: AttributionGraph) -> tuple[str, str, float]:
    """The strongest edge from a feature at the city to a feature at the last position."""
    table, edges = dallas_graph.nodes, dallas_graph.edges
    features = np.isin(table.kind, [NodeKind.FEATURE])
    moves = features[edges.source] & features[edges.target]
    moves &= (table.position[edges.source] == 7) & (table.position[edges.target] == 8)
    strongest = np.flatnonzero(moves)[np.abs(edges.weight[moves]).argmax()]
    ids = dallas_graph.node_ids
    return ids[edges.source[strongest]], ids[edges.target[strongest]], float(edges.weight[strongest])


def test_the_parts_told_sum_to_the_graphs_edge(run: Run, moving_edge: tuple[str, str, float]) -> None:
    source, target, weight = moving_edge
    done = run("explain-edge", DALLAS, source, target, "--top", "5", "--json")
    assert done.code == 0, done.err
    told = done.json
    assert (told["source"], told["target"]) == (source, target)
    assert told["weight"] == pytest.approx(weight, rel=1e-5)
    assert sum(told["by_hops"]) == pytest.approx(weight, rel=1e-5)
    assert told["by_hops"][0] == 0  # nothing but attention leads to another position
    assert sum(part for _, part in told["by_write"]) == pytest.approx(weight, rel=1e-5)
    assert len(told["paths"]) == len(told["heads"]) == 5
    assert sum(path["weight"] for path in told["paths"]) + told["rest"] == pytest.approx(weight, rel=1e-5)
    assert told["paths"][0]["n_heads"] == len(told["paths"][0]["steps"])


def test_a_table_names_heads_paths_and_positions(run: Run, moving_edge: tuple[str, str, float]) -> None:
    source, target, weight = moving_edge
    done = run("explain-edge", DALLAS, source, target)
    assert done.code == 0, done.err
    assert f"{source} -> {target}: {weight:+.4g}" in done.out
    for part in ("attention head", "7 'Dallas' to 8 'is'", "all others together", "No other path", "stands at"):
        assert part in done.out


def test_features_and_words_name_the_ends_too(run: Run, moving_edge: tuple[str, str, float]) -> None:
    layer, feature, _ = moving_edge[0].split("_")
    by_id = run("explain-edge", DALLAS, moving_edge[0], moving_edge[1], "--json").json
    assert run("explain-edge", DALLAS, f"{layer}/{feature}@Dallas", moving_edge[1], "--json").json == by_id
    first, second, both = (
        run("explain-edge", DALLAS, moving_edge[0], text, "--json").json
        for text in ("Austin", "Sacramento", "Austin - Sacramento")
    )
    assert both["target_label"] == "Austin \u2212 Sacramento"
    assert both["weight"] == pytest.approx(first["weight"] - second["weight"], rel=1e-4)


def test_a_search_cut_short_says_so(run: Run) -> None:
    """The embedding's part in the answer is small and spreads over many paths."""
    token = "E_163_7"
    source = run("explain-edge", DALLAS, token, "Austin", "--work", "0", "--top", "1")
    if source.code:  # the embedded vocabulary was built anew: the message names the id
        token = source.err.split("its embedding is ")[1].split()[0]
        source = run("explain-edge", DALLAS, token, "Austin", "--work", "0", "--top", "1")
    short = run("explain-edge", DALLAS, token, "Austin", "--work", "0", "--top", "1", "--json").json
    whole = run("explain-edge", DALLAS, token, "Austin", "--work", "100000", "--top", "1", "--json").json
    assert whole["proved"]
    assert whole["largest_unlisted"] <= abs(whole["paths"][0]["weight"])
    assert short["largest_unlisted"] >= whole["largest_unlisted"]
    assert ("--work looks further" in source.out.replace("\n", " ")) == (not short["proved"])


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        (("0_9999_7", "Austin"), "that feature is not active there; active near it: 0_"),
        (("9_0_7", "Austin"), "the model has layers 0 to"),
        (("E_1_99", "Austin"), "the prompt has positions 0 to 8"),
        (("nonsense", "Austin"), "'nonsense' is no node id; ids read layer_feature_position"),
        (("0/1@Houston", "Austin"), "the word 'Houston' stands nowhere in the prompt"),
        (("0_-1_7", "Austn"), "'Austn' is not a token of model embedded (near: Austin"),
        (("0_-1_0", "Austin"), "have no errors"),
        (("0_-1_7", "0_-1_8"), "is an error and reads nothing"),
        (("2_-1_8", "0/86@Dallas"), ""),
    ],
)
def test_ends_that_cannot_be(ends: tuple[str, str], told: str, run: Run) -> None:
    done = run("explain-edge", DALLAS, *ends)
    assert done.code == 2
    assert done.out == ""
    error = done.err.splitlines()[-1]
    assert error.startswith("error: ")
    assert told in error
