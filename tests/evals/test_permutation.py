"""The permutation control: gold as the answer is perfect, and at chance once gold is shuffled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tracescribe.evals.controls import FEWEST_CASES, control_rows
from tracescribe.evals.gold import GoldCircuit, GoldSet
from tracescribe.evals.permutation import chance_of, each_permuted, permuted_scores, shuffled_gold
from tracescribe.evals.prediction import Prediction, prediction_of_gold
from tracescribe.evals.scorers.selection import candidates_of
from tracescribe.evals.scores import METRICS, score_prediction
from tracescribe.tracer.attribution import attribute
from tracescribe.tracer.errors import SettingError
from tracescribe.tracer.graph import AttributionGraph
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.transcoders import TranscoderSet

Predict = Callable[..., Prediction]
N_CASES = 30
ERROR_RATES = {metric.name for metric in METRICS if not metric.higher_is_better}
TELL_LITTLE = {"causal.decidable", "edges.sign_accuracy"}
"""Shares that say of how much gold can tell, or look at signs that are nearly all alike."""
KNOWN_CHANCE = {"selection.auc": 0.5, "grouping.ari": 0.0}


def shape(gold: GoldCircuit) -> list[object]:
    """What shuffling must not change."""
    members = [set(s.members) for s in gold.supernodes]
    overlaps = [[len(a & b) for b in members] for a in members]
    names = sorted(s.accepted_labels for s in gold.supernodes)
    edges = sorted(e.source for e in gold.edges), sorted(e.destination for e in gold.edges)
    signs = sorted(e.sign for e in gold.edges)
    return [
        len(set(gold.selected)),
        gold.undecided,
        overlaps,
        names,
        len({e.supernode for e in gold.effects}),
        edges,
        signs,
    ]


def test_shuffled_gold_has_the_same_shape(small_gold: GoldCircuit, small_graph: AttributionGraph) -> None:
    candidates = set(candidates_of(small_gold, small_graph))
    seen = set()
    for seed in range(20):
        shuffled = shuffled_gold(small_gold, small_graph, np.random.default_rng(seed))
        assert shape(shuffled) == shape(small_gold)
        assert set(shuffled.selected) <= candidates
        assert {m for s in shuffled.supernodes for m in s.members} <= set(shuffled.selected)
        assert shuffled == shuffled_gold(small_gold, small_graph, np.random.default_rng(seed))
        seen.add(shuffled.model_dump_json())
    assert len(seen) > 10


def test_names_come_from_other_circuits_where_there_are_any(
    small_gold: GoldCircuit, small_graph: AttributionGraph
) -> None:
    own = [s.accepted_labels for s in small_gold.supernodes]
    shuffled = shuffled_gold(
        small_gold, small_graph, np.random.default_rng(0), [("red", "rouge"), ("blue",), own[0], ()]
    )
    assert {s.accepted_labels for s in shuffled.supernodes} <= {("red", "rouge"), ("blue",)}


def test_nodes_that_are_no_features_stay_among_themselves(
    small_gold: GoldCircuit, small_graph: AttributionGraph
) -> None:
    """Published groups hold embeddings and logits too."""
    first, second, third = small_gold.supernodes
    mixed = small_gold.model_copy(
        update={"supernodes": (first.model_copy(update={"members": ("0_1_1", "E_7_1", "4_9_3")}), second, third)}
    )
    shuffled = shuffled_gold(mixed, small_graph, np.random.default_rng(3))
    assert {"E_7_1", "4_9_3"} <= set(shuffled.supernodes[0].members)
    assert "grouping.ari" not in chance_of(prediction_of_gold(mixed), mixed, small_graph)


def test_chance_by_counting_is_the_mean_over_shufflings(
    small_gold: GoldCircuit, small_graph: AttributionGraph, predict: Predict
) -> None:
    scorers = ("selection", "grouping")
    wide = small_gold.model_copy(
        update={
            "selected": ("0_1_1", "0_2_1"),
            "undecided": (),
            "can_score": scorers,
            "supernodes": small_gold.supernodes[:2],
        }
    )
    prediction = predict(("a", "input", ("0_1_1", "1_3_2", "1_4_2")), ("b", "input", ("0_2_1",)))
    n = 60
    for answer in (prediction, replace(prediction, importance={}), Prediction((), {})):
        chance = chance_of(answer, wide, small_graph)
        every = each_permuted(answer, wide, small_graph, rng=np.random.default_rng(1), n=n)
        assert len(chance) == 6
        for name, expected in chance.items():
            values = [scores.value(name) for scores in every]
            found = np.array([value for value in values if value is not None])
            assert len(found) == n
            assert found.mean() == pytest.approx(expected, abs=4 * found.std() / np.sqrt(n) + 1e-9), name


def test_permuted_scores_repeat_and_tell_chance(small_gold: GoldCircuit, small_graph: AttributionGraph) -> None:
    prediction = prediction_of_gold(small_gold)
    first = permuted_scores(prediction, small_gold, small_graph, seed=5, n=3)
    assert first == permuted_scores(prediction, small_gold, small_graph, seed=5, n=3)
    assert first != permuted_scores(prediction, small_gold, small_graph, seed=6, n=3)
    assert first.chance["selection.auc"].value == 0.5
    assert set(first.chance) == set(first.values) == {metric.name for metric in METRICS}
    with pytest.raises(SettingError, match="number of shufflings must be at least 1, found 0"):
        permuted_scores(prediction, small_gold, small_graph, seed=5, n=0)


def test_right_answers_fall_to_chance_on_shuffled_gold(
    oracle_gold: GoldSet, embedded_model: LanguageModel, embedded_transcoders: TranscoderSet
) -> None:
    """Real cases: gold as the answer scores 1; the same answer against shuffled gold scores what chance gives."""
    step = max(1, len(oracle_gold.circuits) // N_CASES)
    chosen = oracle_gold.circuits[::step][:N_CASES]
    own, control = [], []
    for number, gold in enumerate(chosen):
        graph = attribute(embedded_model, embedded_transcoders, gold.prompt)
        prediction = prediction_of_gold(gold)
        others = [s.accepted_labels for c in chosen if c.family != gold.family for s in c.supernodes]
        own.append(score_prediction(prediction, gold, graph))
        control.append(permuted_scores(prediction, gold, graph, seed=number, n=4, other_names=others))
    rows = {row.metric.name: row for row in control_rows(own, control)}
    assert [name for name, row in rows.items() if row.at_chance is False] == []
    for name, row in rows.items():
        assert row.own is not None and row.above is not None
        assert row.own.value == pytest.approx(0.0 if name in ERROR_RATES else 1.0, abs=0.05), name
        # a graph of the embedded model has a handful of features: where chance gives nearly all, nothing can be told
        if row.chance < 0.85 and row.shuffled.n_cases >= FEWEST_CASES and name not in ERROR_RATES | TELL_LITTLE:
            assert row.above.low > 0.0, (name, row.shuffled)
    for name, known in KNOWN_CHANCE.items():
        assert name not in rows or rows[name].chance == known
    for name in ("overall", "labels.exact", "edges.f1"):
        assert rows[name].at_chance is True and rows[name].shuffled.value < 0.6, name


def test_a_score_that_gold_does_not_decide_is_found_out(small_gold: GoldCircuit, small_graph: AttributionGraph) -> None:
    """A metric that stays where it is when gold is shuffled, though chance is known to be lower, is not at chance."""
    prediction = prediction_of_gold(small_gold)
    own = [
        score_prediction(prediction, small_gold, small_graph).model_copy(update={"gold_id": f"c{i}"})
        for i in range(FEWEST_CASES)
    ]
    control = [
        permuted_scores(prediction, small_gold, small_graph, seed=i, n=2).model_copy(update={"gold_id": f"c{i}"})
        for i in range(FEWEST_CASES)
    ]
    stuck = [
        c.model_copy(update={"values": c.values | {"selection.auc": o.values["selection.auc"]}})
        for o, c in zip(own, control, strict=True)
    ]
    auc = [metric for metric in METRICS if metric.name == "selection.auc"]
    assert control_rows(own, control, auc)[0].at_chance is True
    assert control_rows(own, stuck, auc)[0].at_chance is False
    assert control_rows(own[:3], control[:3], auc)[0].at_chance is None
