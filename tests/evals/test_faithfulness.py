"""Faithfulness and size-controlled effects: by hand on a linear model, by brute force and by a second code on the real one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from scipy.special import expit

from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.claims import FeatureAt
from tracescribe.agents.findings import Supernode
from tracescribe.agents.loop_settings import LoopSettings
from tracescribe.agents.offline import offline_agent
from tracescribe.agents.report import CircuitReport
from tracescribe.agents.testing.experiment_settings import ExperimentSettings
from tracescribe.agents.toolbox import Toolbox, load_toolbox
from tracescribe.evals import stability_scores
from tracescribe.evals.scorers import cost
from tracescribe.evals.scorers.by_intervention import METRICS, score_by_intervention
from tracescribe.evals.scorers.circuit_runs import Answers, CircuitRuns, open_runs
from tracescribe.evals.scorers.faithfulness import (
    GRID,
    faithfulness_curves,
    kept_counts,
    ranked_nodes,
    score_faithfulness,
)
from tracescribe.evals.scorers.sized_controls import (
    MIN_SETS,
    N_SETS,
    random_subsets,
    score_sized,
    sized_controls,
    sized_effects,
)
from tracescribe.tracer.attribution import attribute
from tracescribe.tracer.controls import SHIFTS_MATCHED_ON
from tracescribe.tracer.edits import FeatureShift, Row
from tracescribe.tracer.graph import AttributionGraph, FeatureNode
from tracescribe.tracer.interventions import intervene

PROMPT = "when Peter and Mary went to the market , Peter gave a lamp to"
FALLBACK = "the capital of the state containing Dallas is"


@dataclass(frozen=True, eq=False)
class LinearRuns(CircuitRuns):
    """A model whose logit difference is the sum of its features' activations, each 1 unless edited, times their weights."""

    weights: tuple[float, ...] = ()
    offset: float = 0.0
    slope: float = 1.0

    def run(self, rows: Sequence[Row], read: Sequence[FeatureNode] = ()) -> Answers:
        """What each row leaves."""
        found = []
        for row in rows:
            left = dict.fromkeys(self.features, 1.0)
            for edit in row:
                node = FeatureNode(edit.layer, cast(int, edit.position), edit.feature)
                if isinstance(edit, FeatureShift):
                    left[node] = left.get(node, 0.0) + edit.amount
                else:
                    left[node] = edit.value
            found.append(self.offset + sum(self.weights[node.feature] * value for node, value in left.items()))
        logit = np.array(found)
        return Answers(logit, np.zeros(len(rows)), expit(self.slope * logit), np.zeros((len(rows), 0)))


def linear(
    weights: Sequence[float], circuit: Sequence[int] = (0,), offset: float = 0.0, slope: float = 1.0
) -> LinearRuns:
    """Feature k is of layer k % 2, position k % 3, and has the k-th weight."""
    nodes = tuple(FeatureNode(k % 2, k % 3, k) for k in range(len(weights)))
    clean = SimpleNamespace(activation=lambda node: 1.0)
    toolbox = cast(Any, SimpleNamespace(evidence=None))
    chosen = tuple(nodes[k] for k in circuit)
    return LinearRuns(toolbox, cast(Any, clean), nodes, chosen, 0, 1, {}, {}, tuple(weights), offset, slope)


@pytest.fixture(scope="module")
def toolbox() -> Toolbox:
    return load_toolbox()


@pytest.fixture(scope="module")
def graph(toolbox: Toolbox) -> AttributionGraph:
    assert toolbox.model is not None and toolbox.transcoders is not None
    return attribute(toolbox.model, toolbox.transcoders, PROMPT)


@pytest.fixture(scope="module")
def report(toolbox: Toolbox) -> CircuitReport:
    settings = LoopSettings(experiments=ExperimentSettings(n_controls=50))
    return offline_agent(settings).interpret(InterpretationCase("x", prompt=PROMPT), toolbox, Budget())


@pytest.fixture(scope="module")
def runs(report: CircuitReport, toolbox: Toolbox, graph: AttributionGraph) -> CircuitRuns:
    found = open_runs(report, toolbox, graph)
    assert found is not None
    return found


def with_circuit(report: CircuitReport, *groups: Sequence[FeatureNode]) -> CircuitReport:
    """The report with other supernodes, and no ranking of its own."""
    supernodes = tuple(
        Supernode(supernode_id=f"s{n}", label="x", role="other", members=tuple(FeatureAt.of(f) for f in group))
        for n, group in enumerate(groups, start=1)
    )
    return report.model_copy(update={"supernodes": supernodes, "importance": ()})


# -- faithfulness, by hand ---------------------------------------------------------------------------------------------


def test_cpr_and_cmd_of_a_linear_model_are_what_a_sheet_of_paper_gives() -> None:
    """Ten features of weights 1 to 10: 55 in all. k = .1, .2, .5, 1 keep 1, 2, 5 and 10; smaller k keep none."""
    runs = linear(range(1, 11))
    best = sorted(runs.features, key=lambda node: -node.feature)
    curves = faithfulness_curves(runs, [best])
    assert curves is not None
    assert curves[0].kept == (0, 0, 0, 0, 0, 0, 1, 2, 5, 10)
    np.testing.assert_allclose(curves[0].f, [0, 0, 0, 0, 0, 0, 10 / 55, 19 / 55, 40 / 55, 1])
    by_hand = (0.05 * 10 + 0.1 * (10 + 19) + 0.3 * (19 + 40) + 0.5 * (40 + 55)) / 2 / 55
    assert curves[0].cpr == pytest.approx(by_hand)
    assert curves[0].cmd == pytest.approx(0.999 - by_hand)  # f never passes 1 here


def test_cmd_counts_what_lies_above_one_and_cpr_rewards_it() -> None:
    """One feature works against the answer: without it f is 1.2."""
    runs = linear([-2, 12])
    curves = faithfulness_curves(runs, [[runs.features[1], runs.features[0]]])
    assert curves is not None
    np.testing.assert_allclose(curves[0].f[-2:], [1.2, 1.0])
    assert curves[0].cpr == pytest.approx(0.3 * 0.6 + 0.5 * 1.1)
    assert curves[0].cmd == pytest.approx((0.2 - 0.001) * 1 + 0.3 * (1 + 0.2) / 2 + 0.5 * 0.1)


def test_the_full_circuit_is_one_and_the_empty_one_zero_whatever_the_model_says_without_features() -> None:
    for offset in (-3.0, 0.0, 7.5):
        curves = faithfulness_curves(linear(range(1, 21), offset=offset), [linear(range(1, 21)).features])
        assert curves is not None and curves[0].f[-1] == pytest.approx(1.0) and curves[0].f[0] == 0.0


def test_no_order_of_features_beats_the_order_of_their_weights() -> None:
    runs = linear([1, 2, 3, 4, 7])
    orders = list(itertools.permutations(runs.features))
    curves = faithfulness_curves(runs, orders)
    assert curves is not None
    best = max(zip(orders, curves, strict=True), key=lambda pair: pair[1].cpr)[1].cpr
    falling = tuple(sorted(runs.features, key=lambda node: -node.feature))
    assert curves[orders.index(falling)].cpr == pytest.approx(best)


def test_where_features_carry_next_to_nothing_there_is_no_share_of_it() -> None:
    assert faithfulness_curves(linear([0, 0, 0], offset=9.0), [linear([0, 0, 0]).features]) is None


def test_the_grid_keeps_no_more_than_there_are_and_says_which_k_exist() -> None:
    assert kept_counts(4) == (0, 0, 0, 0, 0, 0, 0, 0, 2, 4)
    assert kept_counts(5000) == tuple(int(5000 * k) for k in GRID)
    assert kept_counts(0) == (0,) * 10


# -- faithfulness, on the model ----------------------------------------------------------------------------------------


def test_f_agrees_with_edits_made_one_by_one_by_hand(runs: CircuitRuns, toolbox: Toolbox) -> None:
    from tracescribe.tracer.edits import ablation

    assert toolbox.model is not None and toolbox.transcoders is not None
    ranking = runs.features[::-1]
    curves = faithfulness_curves(runs, [ranking])
    assert curves is not None

    def difference(kept: Sequence[FeatureNode]) -> float:
        off = [node for node in runs.features if node not in kept]
        rows = [ablation(off)] if off else []
        if not rows:
            final = runs.clean.logits[-1].double()
        else:
            assert toolbox.model is not None and toolbox.transcoders is not None
            final = intervene(toolbox.model, toolbox.transcoders, runs.clean.tokens, rows).logits[0, -1].double()
        return float(final[runs.target] - final[runs.foil])

    whole, empty = difference(ranking), difference(())
    by_hand = [(difference(ranking[: int(k * len(ranking))]) - empty) / (whole - empty) for k in GRID]
    np.testing.assert_allclose(curves[0].f, by_hand, atol=1e-5)


def test_two_codes_agree_on_what_the_circuit_keeps_and_what_is_left_without_it(
    report: CircuitReport, runs: CircuitRuns, graph: AttributionGraph
) -> None:
    """The report's own measurement was made by other code, before anybody scored it."""
    assert report.circuit is not None
    scores = score_faithfulness(report, graph, runs, np.random.default_rng(0))
    assert scores["circuit.faithfulness"].value == pytest.approx(report.circuit.sufficiency, abs=1e-6)
    assert scores["circuit.complement"].value == pytest.approx(1 - report.circuit.necessity, abs=1e-6)


def test_means_are_those_of_the_corpus(runs: CircuitRuns, toolbox: Toolbox) -> None:
    assert toolbox.evidence is not None
    for node in runs.features:
        total = float(toolbox.evidence.dense(node.ref).astype(np.float64).sum())
        assert runs.mean(node) == pytest.approx(total / int(toolbox.evidence.token_counts.sum()), rel=1e-5)
    (first, *_), (edit, *_) = runs.features, runs.without(runs.features, means=True)
    assert cast(Any, edit).value == runs.mean(first)


def test_every_feature_is_ranked_once_whatever_the_report_leaves_out(
    report: CircuitReport, runs: CircuitRuns, graph: AttributionGraph
) -> None:
    for one in (report, with_circuit(report, runs.features[:1])):
        order = ranked_nodes(one, graph, runs, np.random.default_rng(1))
        assert sorted(order) == sorted(runs.features)
    assert order[0] == runs.features[0]


# -- random sets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [lambda n: (n.layer, n.position), lambda n: (n.layer,), lambda n: ()])
def test_random_sets_have_the_circuits_size_in_every_place_and_are_not_it(key: Any) -> None:
    runs = linear(range(1, 41), circuit=(0, 1, 2, 7, 9))
    drawn = random_subsets(np.random.default_rng(0), runs.circuit, runs.features, 50, key)
    assert len(set(drawn)) == len(drawn) == 50
    for one in drawn:
        assert one != tuple(sorted(runs.circuit)) and len(set(one)) == 5
        assert sorted(map(key, one)) == sorted(map(key, runs.circuit))


def test_all_sets_come_back_where_few_exist() -> None:
    runs = linear(range(1, 6), circuit=(0, 1))
    drawn = random_subsets(np.random.default_rng(0), runs.circuit, runs.features, 50, lambda node: ())
    assert len(set(drawn)) == len(drawn) == math.comb(5, 2) - 1
    whole = linear(range(1, 6), circuit=range(5))
    assert random_subsets(np.random.default_rng(0), whole.circuit, whole.features, 50, lambda node: ()) == []


def test_the_closest_match_with_enough_sets_is_taken() -> None:
    many = linear(range(1, 61), circuit=(0, 1, 2, 3, 4, 5))
    assert sized_controls(many, np.random.default_rng(0)).matched_on[:3] == ("number of features", "layer", "position")
    fewer = linear(range(1, 21), circuit=(0, 1))
    controls = sized_controls(fewer, np.random.default_rng(0))
    assert controls.matched_on == ("number of features", "layer", "active in the prompt") and len(controls.alone) == 60


def test_necessity_and_sufficiency_of_a_linear_model_by_hand() -> None:
    runs = linear([0] * 80 + [3], circuit=(80,), offset=-1.0)
    effects = sized_effects(runs, sized_controls(runs, np.random.default_rng(0)))
    whole, without = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(1))
    assert effects[0].value == pytest.approx(whole - without)
    assert effects[1].value == pytest.approx(1.0)
    np.testing.assert_allclose(effects[0].controls, 0.0, atol=1e-12)
    np.testing.assert_allclose(effects[1].controls, without / whole)
    assert effects[0].p_value == pytest.approx(1 / (1 + len(effects[0].controls)))


def test_sufficiency_is_not_clipped() -> None:
    """The rest works against the answer: without it the answer is more probable than before."""
    runs = linear([-0.01] * 80 + [3], circuit=(80,))
    assert sized_effects(runs, sized_controls(runs, np.random.default_rng(0)))[1].value > 1.0


def test_a_random_circuit_is_like_random_circuits() -> None:
    """Circuits drawn as the controls are have p values that are not small more often than they should be."""
    rng = np.random.default_rng(3)
    p_values = []
    for _ in range(60):
        runs = linear(range(1, 61), circuit=rng.permutation(60)[:6].tolist(), offset=-1700, slope=0.01)
        p_values.append(sized_effects(runs, sized_controls(runs, rng))[0].p_value)
    assert np.mean(np.array(p_values) <= 0.1) < 0.25 and 0.3 < np.mean(p_values) < 0.7


def test_where_the_circuit_is_all_that_fires_live_features_stand_in(report: CircuitReport, toolbox: Toolbox) -> None:
    assert toolbox.model is not None and toolbox.transcoders is not None
    graph = attribute(toolbox.model, toolbox.transcoders, FALLBACK)
    runs = open_runs(with_circuit(report, list(graph.node_of_feature)), toolbox, graph)
    assert runs is not None and set(runs.circuit) == set(runs.features)
    controls = sized_controls(runs, np.random.default_rng(0))
    assert controls.matched_on == SHIFTS_MATCHED_ON and len(controls.removed) == N_SETS >= MIN_SETS
    for row in controls.removed:
        for edit, node in zip(row, runs.circuit, strict=True):
            assert isinstance(edit, FeatureShift) and edit.amount < 0
            assert (edit.layer, edit.position) == (node.layer, node.position) and edit.ref not in {
                f.ref for f in runs.features
            }
            written = -edit.amount * float(runs.decoder_norms(edit.layer)[edit.feature])
            assert written == pytest.approx(runs.strength(node), rel=1e-4)
    scores = score_sized(runs, np.random.default_rng(0))
    assert scores["circuit.sufficiency"].value == pytest.approx(1.0)
    assert (scores["circuit.sufficiency_p"].value or 1) < 0.05


# -- all of them -------------------------------------------------------------------------------------------------------


def test_every_metric_is_there_and_the_same_seed_gives_the_same(
    report: CircuitReport, toolbox: Toolbox, graph: AttributionGraph
) -> None:
    first = score_by_intervention(report, toolbox, graph, seed=3)
    assert set(first) == {metric.name for metric in METRICS} and len({m.name for m in METRICS}) == len(METRICS)
    assert first == score_by_intervention(report, toolbox, graph, seed=3)
    assert (first["circuit.cpr"].value or 0) > 0


def test_every_score_without_gold_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "faithfulness.md").read_text(encoding="utf-8")
    names = [metric.name for metric in (*METRICS, *cost.METRICS, *stability_scores.METRICS)]
    assert [name for name in names if f"`{name}`" not in page and f"`{name} =" not in page] == []


def test_a_circuit_of_everything_is_all_that_is_needed(
    report: CircuitReport, toolbox: Toolbox, graph: AttributionGraph, runs: CircuitRuns
) -> None:
    scores = score_by_intervention(with_circuit(report, runs.features), toolbox, graph, seed=0)
    assert scores["circuit.faithfulness"].value == pytest.approx(1.0)
    assert scores["circuit.complement"].value == pytest.approx(0.0)
    assert scores["circuit.sufficiency"].value == pytest.approx(1.0)
    assert scores["circuit.size"].value == 1.0


def test_without_a_circuit_or_a_model_there_is_no_score_and_no_zero(
    report: CircuitReport, toolbox: Toolbox, graph: AttributionGraph
) -> None:
    empty = score_by_intervention(with_circuit(report), toolbox, graph, seed=0)
    assert empty["circuit.necessity"].value is None and empty["circuit.sufficiency"].value is None
    assert empty["interchange.answer"].value is None
    alone = score_by_intervention(report, Toolbox(), graph, seed=0)
    assert {tally.value for name, tally in alone.items() if not name.startswith("circuit.edge_")} == {None}
