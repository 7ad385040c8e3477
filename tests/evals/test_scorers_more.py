"""Scorers by hand and by law: names of groups and nodes, signs, calibration, distractors, the overall score, files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.evals.test_scorers import CANDIDATES, edge, label_claim, necessity, scored, swap
from tracescribe.evals.gold import GoldCircuit, GoldEdge
from tracescribe.evals.gold.parts import GoldTrap
from tracescribe.evals.matching import match_supernodes
from tracescribe.evals.prediction import JudgedClaim, PredictedEdge, PredictedSupernode, Prediction, prediction_of_gold
from tracescribe.evals.predictions_file import prediction_from_json, predictions_as_json, predictions_from_json
from tracescribe.evals.scorers.causal import claim_truth, confusion
from tracescribe.evals.scorers.edges import METRICS as EDGE_METRICS
from tracescribe.evals.scorers.words import word_f1
from tracescribe.evals.scores import METRICS, main_scores, score_prediction
from tracescribe.tracer.errors import GoldFormatError
from tracescribe.tracer.graph import AttributionGraph

Predict = Callable[..., Prediction]
FIXED = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
EXACT = (
    ("Texas", "intermediate", ("0_1_1", "0_2_1")),
    ("capital", "relation", ("1_3_2",)),
    ("x", "output", ("2_5_3",)),
)


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("say Austin", "Austin", 2 / 3),
        ("a a b", "a b b", 2 / 3),
        ("Texas!", "texas", 1.0),
        ("", "", 1.0),
        ("", "x", 0.0),
        ("…", "", 1.0),
        ("été", "ÉTÉ", 1.0),
    ],
)
def test_words_are_shared_as_often_as_they_stand(first: str, second: str, shared: float) -> None:
    assert word_f1(first, second) == word_f1(second, first) == pytest.approx(shared)


def test_r_precision_by_hand(small_gold: GoldCircuit, small_graph: AttributionGraph, predict: Predict) -> None:
    # four matter; the first four of the ranking are 1_4_2 (wrong), 0_1_1, then the unranked by id: 0_2_1, 1_3_2
    prediction = replace(predict(("a", "input", ("1_4_2", "0_1_1"))), importance={"1_4_2": 2.0, "0_1_1": 1.0})
    assert scored(prediction, small_gold, small_graph)["selection.rprec"] == pytest.approx(3 / 4)
    # without a ranking it is the precision of the set
    assert scored(replace(prediction, importance={}), small_gold, small_graph)["selection.rprec"] == pytest.approx(
        1 / 2
    )


def test_a_set_without_a_ranking_ranks_by_itself(
    small_gold: GoldCircuit, small_graph: AttributionGraph, predict: Predict
) -> None:
    """Then the area is the mean of sensitivity and specificity: three of four found, the only other one not taken."""
    prediction = replace(predict(("a", "input", ("0_1_1", "0_2_1", "1_3_2"))), importance={})
    assert scored(prediction, small_gold, small_graph)["selection.auc"] == pytest.approx((3 / 4 + 1) / 2)


def test_overlapping_groups_by_hand(small_gold: GoldCircuit, small_graph: AttributionGraph, predict: Predict) -> None:
    # gold: {0_1_1 0_2_1} {1_3_2} {2_5_3}; predicted: {0_1_1 0_2_1} and {0_1_1 1_3_2}
    prediction = predict(("a", "input", ("0_1_1", "0_2_1")), ("b", "input", ("0_1_1", "1_3_2")))
    found = scored(prediction, small_gold, small_graph)
    assert found["grouping.pair_precision"] == pytest.approx(1 / 2)
    assert found["grouping.pair_recall"] == 1.0
    assert found["grouping.b3_precision"] == pytest.approx((2 / 3 + 1 + 1 / 2 + 1) / 4)
    assert found["grouping.b3_recall"] == 1.0


def test_names_of_the_best_overlapping_groups(
    small_gold: GoldCircuit, small_graph: AttributionGraph, predict: Predict
) -> None:
    # Texas: two groups with one of two members each, the better named counts; capital: in no group; say Austin: 2 of 3 words
    prediction = predict(
        ("Ohio", "input", ("0_1_1",)), ("Texas", "input", ("0_2_1",)), ("say the Austin", "output", ("2_5_3", "1_4_2"))
    )
    assert scored(prediction, small_gold, small_graph)["grouping.name"] == pytest.approx((1 + 0 + 4 / 5) / 3)


def test_concepts_without_members_count_where_people_drew_them(
    small_gold: GoldCircuit, small_graph: AttributionGraph
) -> None:
    empty = small_gold.supernodes[1].model_copy(update={"members": ()})
    changed = small_gold.model_copy(update={"supernodes": (small_gold.supernodes[0], empty, small_gold.supernodes[2])})
    assert scored(prediction_of_gold(changed), changed, small_graph)["grouping.name"] == 1.0
    human = changed.model_copy(update={"source": changed.source.model_copy(update={"kind": "human"})})
    assert scored(prediction_of_gold(human), human, small_graph)["grouping.name"] == pytest.approx(2 / 3)


def test_node_labels_by_hand(small_gold: GoldCircuit, small_graph: AttributionGraph) -> None:
    gold = small_gold.model_copy(
        update={
            "can_score": ("node_labels",),
            "node_labels": {"0_1_1": ("Texas", "Lone Star"), "1_3_2": ("capital",), "2_5_3": ("say Austin",)},
        }
    )
    told = Prediction((), {}, node_labels={"0_1_1": " lone star ", "2_5_3": "Austin", "1_3_2": "  ", "x": "y"})
    found = scored(told, gold, small_graph)
    assert found["node_labels.word_f1_all"] == pytest.approx((1 + 2 / 3) / 3)
    assert found["node_labels.word_f1_given"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["node_labels.exact"] == pytest.approx(1 / 3)
    assert found["node_labels.cover"] == pytest.approx(2 / 3)
    nothing = scored(Prediction((), {}), gold, small_graph)
    assert [nothing[f"node_labels.{n}"] for n in ("word_f1_all", "word_f1_given", "exact", "cover")] == [0.0] * 4
    assert scored(prediction_of_gold(gold), gold, small_graph)["node_labels.word_f1_all"] == 1.0


def test_signs_of_edges_by_hand(small_gold: GoldCircuit, small_graph: AttributionGraph, predict: Predict) -> None:
    # asked: embedding -> g1, g1 -> g3, g3 -> logit
    edges = (PredictedEdge("s1", "s3", 1), PredictedEdge("s3", "4_9_3", -1), PredictedEdge("s1", "4_9_3", 1))
    found = scored(predict(*EXACT, edges=edges), small_gold, small_graph)
    assert found["edges.f1"] == pytest.approx(2 * 1 / (3 + 3))
    assert found["edges.ends_f1"] == pytest.approx(2 * 2 / (3 + 3))
    assert found["edges.sign_accuracy"] == pytest.approx(1 / 2)
    none = scored(predict(*EXACT, edges=edges[2:]), small_gold, small_graph)
    assert none["edges.sign_accuracy"] is None


def test_edges_that_gold_cannot_tell_count_neither_way(
    small_gold: GoldCircuit, small_graph: AttributionGraph, predict: Predict
) -> None:
    unsure = GoldEdge(source="g1", destination="g2", status="undecided")
    gold = small_gold.model_copy(update={"edges": (*small_gold.edges, unsure)})
    plain = predict(*EXACT, edges=(PredictedEdge("s1", "s3", 1),))
    more = predict(
        *EXACT,
        edges=(
            *plain.edges,
            PredictedEdge("s1", "s2", 1),  # undecided
            PredictedEdge("s1", "s2", -1),  # undecided, whatever its sign
            PredictedEdge("s2", "s3", -1),  # hidden from graphs, whatever its sign
        ),
    )
    first, second = scored(plain, gold, small_graph), scored(more, gold, small_graph)
    assert all(first[metric.name] == second[metric.name] for metric in EDGE_METRICS)
    matching = match_supernodes(plain, gold)
    assert claim_truth(edge("s1", "s2"), gold, matching) is None
    assert claim_truth(edge("s1", "s2", -1), gold, matching) is None
    assert claim_truth(edge("s1", "s3"), gold, matching) is True, "a sure path is enough"
    assert claim_truth(edge("s1", "s3", -1), gold, matching) is None, "by way of the unsure edge it may be"
    assert claim_truth(edge("s3", "s1"), gold, matching) is False


def test_causal_f1_and_confusion_by_hand(
    small_gold: GoldCircuit, small_graph: AttributionGraph, predict: Predict
) -> None:
    judged = (
        JudgedClaim(necessity("s1"), "supported"),
        JudgedClaim(necessity("s2"), "supported"),
        JudgedClaim(swap("s1", "Provo"), "refuted"),
        JudgedClaim(swap("s1", "Sacramento"), "inconclusive"),
        JudgedClaim(necessity("s3"), "untested"),
        JudgedClaim(label_claim(), "supported"),
    )
    prediction = predict(*EXACT, claims=judged)
    found = scored(prediction, small_gold, small_graph)
    # precision 1/2 (one of two supported), recall 1/2 (of a necessity and a swap)
    assert found["causal.f1"] == pytest.approx(1 / 2)
    assert confusion(prediction, small_gold) == {
        "supported": {"true": 1, "false": 1, "unknown": 0},
        "refuted": {"true": 0, "false": 1, "unknown": 0},
        "inconclusive": {"true": 1, "false": 0, "unknown": 0},
        "untested": {"true": 0, "false": 0, "unknown": 1},
    }
    assert confusion(prediction, small_gold.model_copy(update={"can_score": ("selection",)})) == {}
    without = small_gold.model_copy(update={"effects": ()})
    assert scored(prediction, without, small_graph)["causal.f1"] is None


def test_calibration_by_hand(small_gold: GoldCircuit, small_graph: AttributionGraph, predict: Predict) -> None:
    claims = (
        JudgedClaim(necessity("s1"), "supported", 0.99),  # true
        JudgedClaim(necessity("s2"), "supported", 0.99),  # false
        JudgedClaim(swap("s1", "Sacramento"), "supported", 0.92),  # true
        JudgedClaim(necessity("s3"), "supported", 0.5),  # gold cannot tell
        JudgedClaim(swap("s1", "Provo"), "refuted"),  # states no probability
    )
    found = scored(predict(*EXACT, claims=claims), small_gold, small_graph)
    assert found["calibration.brier"] == pytest.approx((0.01**2 + 0.99**2 + 0.08**2) / 3)
    assert found["calibration.ece"] == pytest.approx((abs(1.98 - 1) + abs(0.92 - 1)) / 3)
    silent = scored(predict(*EXACT, claims=claims[4:]), small_gold, small_graph)
    assert silent["calibration.brier"] is None and silent["calibration.ece"] is None


TRAP = GoldTrap(label="say Houston", accepted_labels=("say Houston", "Houston"), members=("1_4_2",), reason="memorised")


@pytest.mark.parametrize(
    ("supernode", "outcome", "trapped"),
    [
        (("Houston", "output", ("2_6_3",)), "supported", True),  # a claim about a group that is named as the trap
        (("Houston", "output", ("1_4_2",)), "refuted", False),  # a name alone claims nothing
        (("noise", "other", ("1_4_2",)), "supported", True),  # a claim about its features
        (("noise", "other", ("1_4_2",)), "inconclusive", False),
        (("noise", "other", ("1_4_2", "0_2_1")), "supported", False),  # half of them is no majority
        (("Houston", "output", ("0_1_1", "0_2_1")), "supported", False),  # the right features under a wrong name
    ],
)
def test_who_is_trapped(
    small_gold: GoldCircuit,
    small_graph: AttributionGraph,
    predict: Predict,
    supernode: Any,
    outcome: Any,
    trapped: bool,
) -> None:
    gold = small_gold.model_copy(update={"traps": (TRAP,)})
    prediction = predict(supernode, claims=(JudgedClaim(necessity("s1"), outcome),))
    assert scored(prediction, gold, small_graph)["causal.trapped"] == float(trapped)
    assert scored(prediction_of_gold(gold), gold, small_graph)["causal.trapped"] == 0.0


def test_a_right_name_is_no_trap(small_gold: GoldCircuit, small_graph: AttributionGraph) -> None:
    """The wrong answer may be called like a concept that is right elsewhere in the circuit."""
    gold = small_gold.model_copy(update={"traps": (TRAP.model_copy(update={"accepted_labels": ("say Texas",)}),)})
    assert scored(prediction_of_gold(gold), gold, small_graph)["causal.trapped"] == 0.0


def test_overall_is_the_mean_of_one_score_each(
    small_gold: GoldCircuit, small_graph: AttributionGraph, predict: Predict
) -> None:
    prediction = predict(*EXACT[:2], edges=(PredictedEdge("s1", "s3", 1),))
    scores = score_prediction(prediction, small_gold, small_graph)
    assert scores.overall_parts == main_scores(small_gold)
    parts = [scores.value(name) or 0.0 for name in scores.overall_parts]
    assert scores.value("overall") == pytest.approx(sum(parts) / 5)
    assert main_scores(small_gold)[1] == "grouping.b3_f1"
    oracle = small_gold.model_copy(update={"source": small_gold.source.model_copy(update={"kind": "oracle"})})
    assert main_scores(oracle)[1] == "grouping.placed_b3_f1"
    # a score that this gold cannot give is no part, whoever is scored: everything matters, so that nothing can be ranked
    every = small_gold.model_copy(update={"selected": CANDIDATES, "can_score": ("selection", "labels")})
    for answer in (prediction, Prediction((), {}), prediction_of_gold(every)):
        assert score_prediction(answer, every, small_graph).overall_parts == ("labels.exact",)


@FIXED
@given(data=st.data())
def test_a_right_addition_helps_and_a_wrong_one_does_not(
    small_gold: GoldCircuit, small_graph: AttributionGraph, predict: Predict, data: st.DataObject
) -> None:
    """One more node of a concept in the group that holds nothing else never hurts; a node of no concept never helps."""
    held = [data.draw(st.sets(st.sampled_from(members), max_size=len(members))) for _, _, members in EXACT]
    missing = [(n, m) for n, (_, _, members) in enumerate(EXACT) for m in members if m not in held[n]]

    def found(groups: list[set[str]]) -> dict[str, float | None]:
        told = [(label, role, tuple(sorted(g))) for (label, role, _), g in zip(EXACT, groups, strict=True) if g]
        nodes = {node: 1.0 for _, _, members in told for node in members}
        return scored(replace(predict(*told), importance=nodes), small_gold, small_graph)

    before = found(held)
    if missing:
        place, node = data.draw(st.sampled_from(missing))
        better = found([g | {node} if n == place else g for n, g in enumerate(held)])
        for name in (
            *("overall", "selection.recall", "selection.f1", "selection.auc", "selection.average_precision"),
            *("grouping.placed_b3_f1", "grouping.b3_f1", "grouping.pair_f1", "grouping.supernode_f1", "grouping.cover"),
            *("grouping.name", "labels.exact", "labels.matched"),
        ):
            assert (better[name] or 0.0) >= (before[name] or 0.0) - 1e-12, name
        assert (better["selection.f1"] or 0.0) > (before["selection.f1"] or 0.0)
    if not any(held):
        return  # who ranks nothing has an R-precision of 0, and who ranks anything gets that of all ties: a known quirk
    worse = found([g | {"1_4_2"} if n == 0 else g for n, g in enumerate(held)])
    for metric in METRICS:
        if metric.higher_is_better and not metric.name.startswith(("causal.", "labels.role")):
            assert (worse[metric.name] or 0.0) <= (before[metric.name] or 0.0) + 1e-12, metric.name


@FIXED
@given(order=st.permutations(range(3)), ids=st.permutations(["s1", "s2", "s3"]))
def test_ids_and_order_of_supernodes_mean_nothing(
    small_gold: GoldCircuit, small_graph: AttributionGraph, order: list[int], ids: list[str]
) -> None:
    whole = prediction_of_gold(small_gold)
    name: dict[str, str] = dict(zip(["s1", "s2", "s3"], ids, strict=True))
    turned = replace(
        whole,
        supernodes=tuple(
            PredictedSupernode(name[s.supernode_id], s.label, s.role, s.members[::-1])
            for s in (whole.supernodes[i] for i in order)
        ),
        edges=tuple(
            PredictedEdge(name.get(e.source, e.source), name.get(e.destination, e.destination), e.sign)
            for e in whole.edges
        ),
        claims=(),
    )
    first, second = scored(replace(whole, claims=()), small_gold, small_graph), scored(turned, small_gold, small_graph)
    assert first == {k: v if v is None else pytest.approx(v) for k, v in second.items()}


def test_predictions_survive_a_file(small_gold: GoldCircuit, small_graph: AttributionGraph, predict: Predict) -> None:
    prediction = replace(predict(*EXACT), node_labels={"0_1_1": "Texas"})
    rejected = replace(prediction.supernodes[2], rejected=True)
    told = replace(prediction, supernodes=(*prediction.supernodes[:2], rejected))
    document = json.loads(json.dumps(predictions_as_json({"b": prediction, "a": told, "c": Prediction((), {})})))
    assert list(document) == ["a", "b", "c"]
    assert document["a"]["selected"] == ["0_1_1", "0_2_1", "1_3_2"] and len(document["a"]["groups"]) == 2
    back = predictions_from_json(document)
    gold = small_gold.model_copy(update={"can_score": ("selection", "grouping")})
    for gold_id, of in (("a", told), ("b", prediction), ("c", Prediction((), {}))):
        assert scored(back[gold_id], gold, small_graph) == scored(of, gold, small_graph)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([], "prediction of c1: expected an object, found list"),
        ({"selected": "0_1_1"}, "selected: expected a list of node ids, found str"),
        ({"selected": [1, "a"]}, r"selected\[0\]: expected a node id, found int"),
        ({"scores": {"a": float("nan")}}, r"scores\['a'\]: expected a finite number, found nan"),
        ({"scores": {"a": 10**400}}, "expected a finite number"),
        ({"scores": {"a": True}}, "expected a finite number, found True"),
        ({"groups": [{"label": 3, "members": []}]}, r"groups\[0\]\.label: expected text, found int"),
        ({"groups": [[]]}, r"groups\[0\]: expected an object with label and members, found list"),
        ({"labels": {"a": 1}}, r"labels\['a'\]: expected text, found int"),
        ({"groups": {}, "labels": []}, "groups: expected a list, found dict; labels: expected an object"),
        ({"select": []}, r"'select' is no part of a prediction \(they are selected, scores, groups, labels\)"),
        ({"selected": list(range(9))}, r"\(and 4 more\); correct the predictions file"),
    ],
)
def test_faults_of_predictions_are_told(document: object, told: str) -> None:
    with pytest.raises(GoldFormatError, match=told):
        prediction_from_json(document, "c1")
    with pytest.raises(GoldFormatError, match="predictions file: expected an object"):
        predictions_from_json([document])
