"""Statistics: agreement with other implementations, laws, and every edge case that was decided."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracescribe.tracer.errors import SettingError, WorkError
from tracescribe.tracer.statistics import (
    benjamini_hochberg,
    bootstrap_interval,
    paired_bootstrap,
    rank_p_value,
    roc_auc,
    wilson_interval,
)


def test_rank_p_value_counts_ties_against_the_effect() -> None:
    assert rank_p_value(2.0, [0.0, 1.0, 2.0, 3.0]) == (3, 3 / 5)
    assert rank_p_value(5.0, np.zeros(99)) == (1, 0.01)
    assert rank_p_value(0.0, np.zeros(9)) == (10, 1.0)


def test_rank_p_value_without_controls_knows_nothing() -> None:
    assert rank_p_value(100.0, []) == (1, 1.0)


def test_rank_p_value_is_valid_under_the_null() -> None:
    n = 40000
    rng = np.random.default_rng(0)
    p = np.array([rank_p_value(draw[0], draw[1:]).p_value for draw in rng.normal(size=(n, 20))])
    for alpha in (0.05, 0.1, 0.5):
        assert (p <= alpha).mean() == pytest.approx(alpha, abs=4 * np.sqrt(alpha * (1 - alpha) / n))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_effects_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(WorkError, match="not finite; record a failed measurement as a failure"):
        rank_p_value(1.0, [0.0, bad])
    with pytest.raises(WorkError, match="1 of 1 values are not finite"):
        rank_p_value(bad, [0.0])
    with pytest.raises(WorkError, match="not finite"):
        benjamini_hochberg([0.1, bad])
    with pytest.raises(WorkError, match="not finite"):
        roc_auc([0.1, bad], [True, False])


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_q_values_agree_with_scipy(p_values: list[float]) -> None:
    from scipy.stats import false_discovery_control

    assert benjamini_hochberg(p_values) == pytest.approx(false_discovery_control(p_values), abs=1e-12)


def test_q_values_of_nothing_and_of_nonsense() -> None:
    assert benjamini_hochberg([]).shape == (0,)
    assert benjamini_hochberg([0.03]).tolist() == [0.03]
    with pytest.raises(SettingError, match="between 0 and 1, found"):
        benjamini_hochberg([0.5, 1.5])


def test_bootstrap_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        low, high = bootstrap_interval(rng.normal(3.0, 1.0, 40), lambda x: float(x.mean()), rng, 0.9, 300)
        hits += low <= 3.0 <= high
    assert 0.82 <= hits / 200 <= 0.96


def test_bootstrap_interval_is_reproducible_and_ordered() -> None:
    values = np.arange(10.0)
    first = bootstrap_interval(values, lambda x: float(np.median(x)), np.random.default_rng(5))
    again = bootstrap_interval(values, lambda x: float(np.median(x)), np.random.default_rng(5))
    assert first == again
    assert first.low < 4.5 < first.high


def test_bootstrap_interval_edge_cases() -> None:
    rng = np.random.default_rng(0)
    assert bootstrap_interval([4.0], lambda x: float(x.mean()), rng, n=20) == (4.0, 4.0)
    assert bootstrap_interval([4.0] * 7, lambda x: float(x.mean()), rng, n=20) == (4.0, 4.0)
    with pytest.raises(WorkError, match="no values"):
        bootstrap_interval([], lambda x: 0.0, rng)
    with pytest.raises(WorkError, match="bootstrap statistic"):
        bootstrap_interval([1.0, 2.0], lambda x: float("nan"), rng, n=3)
    with pytest.raises(SettingError, match="between 0 and 1, found 95"):
        bootstrap_interval([1.0], lambda x: 0.0, rng, 95)
    with pytest.raises(SettingError, match="at least 1, found 0"):
        bootstrap_interval([1.0], lambda x: 0.0, rng, n=0)


def test_paired_bootstrap_sees_what_unpaired_spread_would_hide() -> None:
    rng = np.random.default_rng(2)
    difficulty = rng.normal(0.0, 5.0, 60)
    better = paired_bootstrap(difficulty + 0.3 + rng.normal(0, 0.1, 60), difficulty, rng)
    assert better.mean == pytest.approx(0.3, abs=0.05)
    assert better.low > 0.2 and better.p_value < 0.01
    same = paired_bootstrap(difficulty, difficulty, rng, n=50)
    assert same == (0.0, 0.0, 0.0, 1.0)


def test_paired_bootstrap_refuses_other_cases() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(SettingError, match="same cases in the same order, found 2 and 3"):
        paired_bootstrap([1, 2], [1, 2, 3], rng)
    with pytest.raises(WorkError, match="no cases"):
        paired_bootstrap([], [], rng)


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (5, 5), (3, 7), (50, 1000), (999, 1000)])
def test_wilson_interval_agrees_with_scipy(successes: int, n: int) -> None:
    from scipy.stats import binomtest

    theirs = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(successes, n) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_wilson_interval_of_no_trials_is_everything() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(SettingError, match="found 3 of 2"):
        wilson_interval(3, 2)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.0, 0.0, 1.0, 2.5, -1.0, 7.0]), st.booleans()), min_size=2))
@settings(max_examples=150, deadline=None)
def test_roc_area_agrees_with_sklearn(pairs: list[tuple[float, bool]]) -> None:
    from sklearn.metrics import roc_auc_score

    scores, labels = [s for s, _ in pairs], [label for _, label in pairs]
    if len(set(labels)) < 2:
        with pytest.raises(WorkError, match="both are needed"):
            roc_auc(scores, labels)
        return
    assert roc_auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_roc_area_edge_cases() -> None:
    assert roc_auc([0.0, 0.0, 0.0], [True, False, True]) == 0.5
    assert roc_auc([1.0, 2.0], [False, True]) == 1.0
    assert roc_auc([2.0, 1.0], [False, True]) == 0.0
    with pytest.raises(SettingError, match="found 2 scores and 1 labels"):
        roc_auc([1.0, 2.0], [True])
    with pytest.raises(WorkError, match="0 positives and 0 negatives"):
        roc_auc([], [])
