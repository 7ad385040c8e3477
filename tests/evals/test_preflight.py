"""Gold held against its graphs before the first case: stale ids, other tokens, graphs that cannot be read."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from tests.evals.bench_fakes import small_suite
from tracescribe.evals.benchmark.preflight import hold_against_graphs
from tracescribe.evals.benchmark.suites import Suite, SuitePart
from tracescribe.evals.gold import GoldCircuit, GoldSource, check_circuit, stale_ids
from tracescribe.evals.permutation import permuted_scores
from tracescribe.evals.prediction import feature_node_ids, prediction_of_gold
from tracescribe.evals.scores import score_prediction
from tracescribe.tracer.errors import GoldFormatError, GraphFormatError, InputError
from tracescribe.tracer.graph import AttributionGraph

PUBLISHED = GoldSource(kind="human", origin="made for the tests", licence="Apache-2.0")


def stale(gold: GoldCircuit, *, published: bool = True) -> GoldCircuit:
    """The circuit with one selected node, one member and one labelled node that its graph lacks."""
    first, *others = gold.supernodes
    changed = {
        "source": PUBLISHED if published else gold.source,
        "selected": (*gold.selected, "9_9_9"),
        "supernodes": (first.model_copy(update={"members": (*first.members, "9_9_9", "8_8_8")}), *others),
        "node_labels": {"7_7_7": ("gone",)},
        "can_score": ("selection", "grouping"),
    }
    return gold.model_copy(update=changed)


@pytest.fixture
def suite(tmp_path: Path, small_gold: GoldCircuit, small_graph: AttributionGraph) -> Suite:
    return small_suite(tmp_path, small_gold, small_graph, ("plain", "fine", "other"))


def with_circuits(suite: Suite, *circuits: GoldCircuit) -> Suite:
    (part,) = suite.parts
    return Suite(suite.name, (SuitePart(circuits, part.folder),))


def test_published_circuits_that_a_graph_has_outgrown_are_run_and_told(suite: Suite) -> None:
    plain, fine, other = suite.circuits
    held = hold_against_graphs([with_circuits(suite, stale(plain), fine, other)])
    assert [c.gold_id for s in held.suites for c in s.circuits] == ["plain-01", "fine-01", "other-01"]
    assert held.left_out == ()
    (told,) = held.stale
    assert told.startswith("plain-01: its graph lacks 3 of the nodes that it names (9_9_9, 8_8_8, 7_7_7);")


def test_published_circuits_that_do_not_fit_are_left_out_and_others_stay(suite: Suite) -> None:
    plain, fine, other = suite.circuits
    (folder,) = (part.folder for part in suite.parts)
    assert folder is not None and other.graph is not None
    (folder / other.graph.path).write_text("{", encoding="utf-8")
    elsewhere = plain.model_copy(update={"source": PUBLISHED, "tokens": ("<bos>", "x")})
    broken = other.model_copy(update={"source": PUBLISHED})
    held = hold_against_graphs([with_circuits(suite, elsewhere, fine, broken)])
    assert [c.gold_id for s in held.suites for c in s.circuits] == ["fine-01"]
    assert [told.partition(":")[0] for told in held.left_out] == ["plain-01", "other-01"]
    with pytest.raises(InputError, match="no circuit fits its graph, so that nothing can be run; plain-01"):
        hold_against_graphs([with_circuits(suite, elsewhere)])


def test_gold_of_our_own_stops_the_run_before_its_first_case(suite: Suite) -> None:
    plain, fine, other = suite.circuits
    with pytest.raises(GoldFormatError, match="gold circuit other-01: .* is not "):
        hold_against_graphs([with_circuits(suite, plain, fine, stale(other, published=False))])
    (folder,) = (part.folder for part in suite.parts)
    assert folder is not None and other.graph is not None
    (folder / other.graph.path).write_text("{", encoding="utf-8")
    with pytest.raises(GraphFormatError):
        hold_against_graphs([suite])


def test_stale_ids_cost_nothing_in_selection_and_stay_members(
    small_gold: GoldCircuit, small_graph: AttributionGraph
) -> None:
    gold, answer = stale(small_gold), prediction_of_gold(small_gold)
    assert stale_ids(gold, small_graph) == ("9_9_9", "8_8_8", "7_7_7")
    check_circuit(gold, small_graph, stale=True)
    with pytest.raises(GoldFormatError, match="is not in the graph"):
        check_circuit(gold, small_graph)
    scores = score_prediction(answer, gold, small_graph)
    assert scores.value("selection.f1") == scores.value("selection.auc") == 1
    # 4 of 6 members were placed, without a fault; the two that are gone are groups of their own
    assert scores.value("grouping.cover") == pytest.approx(4 / 6)
    # of the four members of the first supernode each finds 2, 2, 1, 1; the two others are whole
    assert scores.value("grouping.b3_recall") == pytest.approx((2 / 4 + 2 / 4 + 1 / 4 + 1 / 4 + 1 + 1) / 6)
    assert scores.value("grouping.b3_precision") == 1
    assert permuted_scores(answer, gold, small_graph, seed=1, n=3).value("grouping.cover") is not None


def test_stale_circuits_score_as_the_scorer_beside_published_gold_says(
    small_gold: GoldCircuit, small_graph: AttributionGraph, shared_folder: Path
) -> None:
    file = shared_folder / "gold" / "score_gold.py"
    if not file.is_file():
        pytest.skip(
            f"no shared test data at {file}; set TRACESCRIBE_SHARED to the folder that holds gold/score_gold.py"
        )
    theirs = runpy.run_path(str(file))
    gold = stale(small_gold).model_copy(update={"undecided": ()})
    answer = prediction_of_gold(small_gold)
    answer = replace(answer, supernodes=answer.supernodes[1:], importance={"0_1_1": 2.0, "1_4_2": 1.0})
    features = set(feature_node_ids(small_graph))
    kinds = {i: "cross layer transcoder" if i in features else "embedding" for i in small_graph.node_ids}
    graph = {"nodes": [{"node_id": i, "feature_type": kind} for i, kind in kinds.items()]}
    groups = [{"label": s.label, "members": list(s.members)} for s in gold.supernodes]
    document = {"selected": list(gold.selected), "supernodes": groups}
    ours = score_prediction(answer, gold, small_graph)
    told = theirs["score_selection"](document, graph, answer.as_json())
    for name in ("precision", "recall", "f1", "auc", "rprec"):
        assert ours.value(f"selection.{name}") == pytest.approx(told[name], abs=1e-9), name
    told = theirs["score_grouping"](document, answer.as_json())
    for name in ("ari", "pair_f1", "b3_f1", "name", "cover"):
        assert ours.value(f"grouping.{name}") == pytest.approx(told[name], abs=1e-9), name
