"""Statistics of the benchmark: against simulation, exact counts, SciPy, and their laws."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, ttest_rel

from tests.evals.test_summary import MEAN, POOLED, case
from tracescribe.evals.scorers.calibration import binned
from tracescribe.evals.scorers.metric import Metric, Tally
from tracescribe.evals.scores import METRICS, Scores, ScoreValue
from tracescribe.evals.statistics.averages import Difference, average, compare, compare_all, corrected
from tracescribe.evals.statistics.corrections import holm
from tracescribe.evals.statistics.power import detectable_difference
from tracescribe.evals.statistics.resampling import bootstrap_weights, flip_p_value, jackknifed, sums_of, value_of
from tracescribe.tracer.errors import SettingError
from tracescribe.tracer.statistics import DEFAULT_RESAMPLES

ECE = next(metric for metric in METRICS if metric.name == "calibration.ece")


def of_mean(values: np.ndarray, family: str = "f") -> list[Scores]:
    return [case(number, MEAN, float(value), family=family) for number, value in enumerate(values)]


def tallies(values: np.ndarray) -> np.ndarray:
    return sums_of([Tally(float(value)) for value in values], MEAN)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """95 % intervals of 40 skewed cases: 300 suites drawn; percentile intervals are known to fall a little short."""
    values = np.random.default_rng(1).beta(2.0, 1.0, size=(300, 40))
    weights = bootstrap_weights((1,) * 40, DEFAULT_RESAMPLES)
    draws = [value_of(weights @ tallies(one), MEAN) for one in values]
    low, high = np.quantile(np.array(draws), (0.025, 0.975), axis=1)
    first = average(of_mean(values[0]), MEAN)
    assert first is not None and (first.low, first.high) == pytest.approx((low[0], high[0]))
    assert 0.90 <= np.mean((low <= 2.0 / 3.0) & (high >= 2.0 / 3.0)) <= 0.98


def test_differences_are_called_different_by_chance_as_often_as_said() -> None:
    """Two agents that are alike: of 400 suites about one in twenty has a p value below .05."""
    rng = np.random.default_rng(2)
    both = rng.normal(size=(400, 2, 10))
    below = [flip_p_value(tallies(a), tallies(b), MEAN) <= 0.05 for a, b in both]
    assert 0.02 <= np.mean(below) <= 0.08


def test_sign_flips_of_few_cases_are_counted_out() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.8, 1.0, size=(2, 7))
    d = a - b
    sums = [abs(np.dot(signs, d)) for signs in itertools.product((1, -1), repeat=7)]
    exact = np.mean(np.array(sums) >= abs(d.sum()) - 1e-12)
    assert flip_p_value(tallies(a), tallies(b), MEAN) == pytest.approx(exact)
    assert flip_p_value(tallies(a), tallies(a), MEAN) == 1.0
    # six cases that all agree: two of 64 flips are as extreme
    ones = tallies(np.ones(6))
    assert flip_p_value(ones, tallies(np.zeros(6)), MEAN) == pytest.approx(2 / 64)


def test_sign_flips_of_many_cases_agree_with_the_t_test() -> None:
    rng = np.random.default_rng(4)
    a = rng.normal(size=40)
    b = a + rng.normal(-0.3, 1.0, size=40)
    assert flip_p_value(tallies(a), tallies(b), MEAN) == pytest.approx(float(ttest_rel(a, b).pvalue), abs=0.01)


def test_pooled_counts_are_flipped_as_counts() -> None:
    """Agents swap whole cases: the large case decides, as it decides the pooled average."""
    first = sums_of([Tally(9, 10), Tally(1, 1), Tally(1, 1)], POOLED)
    second = sums_of([Tally(1, 10), Tally(1, 1), Tally(0, 1)], POOLED)
    seen = []
    for signs in itertools.product((1, -1), repeat=3):
        keep = np.array(signs)[:, None] > 0
        a, b = np.where(keep, first, second).sum(0), np.where(keep, second, first).sum(0)
        seen.append(abs(a[0] / a[1] - b[0] / b[1]))
    expected = np.mean(np.array(seen) >= seen[0] - 1e-12)
    assert flip_p_value(first, second, POOLED) == pytest.approx(expected)


def test_what_cases_contribute_to_a_mean_is_their_own_difference() -> None:
    a, b = np.random.default_rng(5).normal(size=(2, 9))
    assert jackknifed(tallies(a), tallies(b), MEAN) == pytest.approx(a - b)
    found = compare(of_mean(a), of_mean(b), MEAN)
    assert found is not None and found.effect_size == pytest.approx((a - b).mean() / (a - b).std(ddof=1))


def test_seeds_are_runs_of_one_case() -> None:
    """Every seed more often tells nothing new: neither average nor interval may move, as they would with more cases."""
    values = np.random.default_rng(6).beta(2, 2, size=20)
    once = of_mean(values)
    thrice = [score for score in once for _ in range(3)]
    first, second = average(once, MEAN), average(thrice, MEAN)
    assert first is not None and second is not None
    assert (second.n_cases, second.n_runs) == (20, 60)
    assert [second.value, second.low, second.high] == pytest.approx([first.value, first.low, first.high])


def test_seeds_that_differ_widen_the_interval() -> None:
    """Known variances: that of a case's mean over seeds is that between cases plus that within over the seeds."""
    rng = np.random.default_rng(7)
    level = rng.normal(0.0, 1.0, size=60)
    runs = level[:, None] + rng.normal(0.0, 2.0, size=(60, 4))
    scores = [case(i, MEAN, float(value)) for i, row in enumerate(runs) for value in row]
    found = average(scores, MEAN)
    assert found is not None and found.value == pytest.approx(runs.mean())
    spread = np.sqrt(runs.mean(1).var() / 60 + runs.var(1).mean() / 4 / 60)
    assert found.high - found.low == pytest.approx(2 * 1.96 * spread, rel=0.12)


def test_a_case_that_ran_more_often_weighs_no_more() -> None:
    scores = [case(1, MEAN, 1.0), *(case(2, MEAN, 0.0) for _ in range(9)), case(2, MEAN, 0.0, 0.0)]
    found = average(scores, MEAN)
    assert found is not None and (found.value, found.n_cases, found.n_runs) == (0.5, 2, 10)


def test_families_are_drawn_as_one() -> None:
    """Cases of a family that are copies of each other are one case: the interval is that of the families."""
    values = np.random.default_rng(8).uniform(size=8)
    copies = [case(10 * f + i, MEAN, float(v), family=f"f{f}") for f, v in enumerate(values) for i in range(5)]
    plain, families = average(copies, MEAN), average(copies, MEAN, families=True)
    alone = average(of_mean(values), MEAN)
    assert plain is not None and families is not None and alone is not None
    assert [families.low, families.high] == pytest.approx([alone.low, alone.high])
    assert families.high - families.low > 1.8 * (plain.high - plain.low)


def test_weights_of_resamples_add_up() -> None:
    for sizes, clusters in (((1, 1, 1), None), ((2, 3, 1), None), ((2, 3, 1), (0, 0, 1))):
        weights = bootstrap_weights(sizes, 50, clusters)
        assert weights.shape == (50, sum(sizes))
        if clusters is None:
            assert weights.sum(1) == pytest.approx(np.full(50, len(sizes)))
    with pytest.raises(SettingError, match="at least 1, found 0"):
        bootstrap_weights((1,), 0)


def test_calibration_errors_are_binned_over_all_cases() -> None:
    """One claim of .9 a case, true in nine of ten: case by case badly calibrated, together perfectly."""
    cases = []
    for number in range(10):
        bins = binned([(0.9, number > 0)])
        tally = Tally(sum(abs(told - came) for told, came, _ in bins), 1, bins)
        values = {m.name: ScoreValue.of(Tally(0.0, 0.0)) for m in METRICS} | {ECE.name: ScoreValue.of(tally)}
        cases.append(Scores(gold_id=f"c{number}", family="f", values=values))
    found = average(cases, ECE)
    assert found is not None and found.value == pytest.approx(0.0, abs=1e-12)
    first = average(cases[:1], ECE)
    assert first is not None and first.value == pytest.approx(0.9)
    same = compare(cases, cases, ECE)
    assert same is not None and (same.value, same.p_value) == (0.0, 1.0)


def test_holm_by_hand_and_fdr_as_scipy_has_it() -> None:
    p = [0.04, 0.01, 0.03, 0.005]
    assert holm(p) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert len(holm([])) == 0
    found = corrected([Difference(0.1, 0.0, 0.2, value, 10) for value in p])
    assert [one.p_fdr for one in found] == pytest.approx(list(false_discovery_control(p)))
    assert [one.p_holm for one in found] == pytest.approx(list(holm(p)))


@settings(max_examples=60, deadline=None)
@given(p=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12))
def test_corrections_only_raise_and_keep_the_order(p: list[float]) -> None:
    found = holm(p)
    assert (found >= np.array(p) - 1e-12).all() and (found <= 1.0).all()
    assert (found <= np.minimum(1.0, np.array(p) * len(p)) + 1e-12).all(), "never worse than Bonferroni"
    order = np.argsort(p, kind="stable")
    assert (np.diff(found[order]) >= 0).all()


def test_a_table_corrects_over_all_its_comparisons() -> None:
    rng = np.random.default_rng(9)
    base = rng.uniform(size=12)
    agents = {name: of_mean(base + shift) for name, shift in (("a", 0.3), ("b", 0.0), ("c", 0.01))}
    found = compare_all(agents, [MEAN, POOLED])
    assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert all(one[POOLED.name] is None for one in found.values()), "nothing was scored of it"
    told = [one[MEAN.name] for one in found.values()]
    expected = holm([one.p_value for one in told if one is not None])
    assert [one.p_holm for one in told if one is not None] == pytest.approx(list(expected))
    some = compare_all(agents, [MEAN], pairs=[("c", "a")])
    assert list(some) == [("c", "a")]
    only = some["c", "a"][MEAN.name]
    assert only is not None and only.value == pytest.approx(-0.29) and only.p_holm == only.p_value


@pytest.mark.parametrize("n", [5, 20, 60])
def test_the_detectable_difference_is_found_in_four_of_five_suites(n: int) -> None:
    """By simulation, with the t test that the formula is of, and with the sign flips that tables show."""
    rng = np.random.default_rng(n)
    shift = detectable_difference(2.0, n)
    assert shift is not None
    d = rng.normal(shift, 2.0, size=(4000, n))
    p = ttest_rel(d, np.zeros_like(d), axis=1).pvalue
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.025)
    if n == 20:
        flips = [flip_p_value(tallies(row), tallies(np.zeros(n)), MEAN) < 0.05 for row in d[:150]]
        assert np.mean(flips) == pytest.approx(0.8, abs=0.1)


def test_what_can_be_detected_shrinks_with_cases_and_grows_with_power() -> None:
    few, many = detectable_difference(1.0, 10), detectable_difference(1.0, 100)
    assert few is not None and many is not None and few > 3 * many
    assert many == pytest.approx((1.96 + 0.8416) / 10, rel=0.02), "the normal approximation, for many cases"
    surer = detectable_difference(1.0, 10, power=0.95)
    assert surer is not None and surer > few
    assert detectable_difference(1.0, 1) is None
    assert detectable_difference(0.0, 5) == 0.0
    with pytest.raises(SettingError, match="0 < alpha < power < 1"):
        detectable_difference(1.0, 10, alpha=0.9, power=0.5)


def test_metrics_beside_ours_are_averaged_too() -> None:
    """Scores by intervention, stability and cost are added to some cases, and absent from others."""
    extra = Metric("cost.seconds", "seconds", "a second", higher_is_better=False)
    with_it = [case(i, MEAN, 0.5).with_values({"cost.seconds": Tally(float(i))}) for i in (1, 2)]
    found = average([*with_it, case(3, MEAN, 0.5)], extra)
    assert found is not None and (found.value, found.n_cases) == (1.5, 2)


def test_a_difference_of_one_case_has_no_spread() -> None:
    found = compare([case(1, MEAN, 1.0)], [case(1, MEAN, 0.0)], MEAN)
    assert found is not None
    assert (found.value, found.p_value, found.effect_size, found.detectable) == (1.0, 1.0, None, None)
    assert replace(found, p_holm=1.0).p_holm == 1.0
