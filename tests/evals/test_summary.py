"""Averages and paired comparisons over cases."""

from __future__ import annotations

import numpy as np
import pytest

from tracescribe.evals.scorers.metric import Metric, Tally
from tracescribe.evals.scores import METRICS, Scores, ScoreValue
from tracescribe.evals.statistics.averages import average, by_family, compare
from tracescribe.tracer.statistics import bootstrap_interval

MEAN = next(metric for metric in METRICS if metric.name == "selection.f1")
POOLED = next(metric for metric in METRICS if metric.name == "causal.precision")


def case(number: int, metric: Metric, numerator: float, denominator: float = 1.0, family: str = "f") -> Scores:
    values = {m.name: ScoreValue.of(Tally(0.0, 0.0)) for m in METRICS}
    values[metric.name] = ScoreValue.of(Tally(numerator, denominator))
    return Scores(gold_id=f"case-{number}", family=family, values=values)


def keyed(scores: list[Scores]) -> dict[str, Scores]:
    return {score.gold_id: score for score in scores}


def test_a_case_without_a_score_is_left_out_not_zero() -> None:
    found = average([case(1, MEAN, 0.8), case(2, MEAN, 0.0, 0.0), case(3, MEAN, 0.4)], MEAN)
    assert found is not None
    assert found.value == pytest.approx(0.6)
    assert found.n_cases == 2
    assert average([case(1, MEAN, 0.0, 0.0)], MEAN) is None


def test_pooled_averages_weigh_cases_by_what_they_hold() -> None:
    cases = [case(1, POOLED, 9, 10), case(2, POOLED, 0, 1)]
    found = average(cases, POOLED)
    assert found is not None
    assert found.value == pytest.approx(9 / 11)


def test_intervals_hold_the_average_and_repeat() -> None:
    rng = np.random.default_rng(3)
    cases = [case(i, MEAN, float(value)) for i, value in enumerate(rng.uniform(size=40))]
    first, second = average(cases, MEAN), average(cases, MEAN)
    assert first == second
    assert first is not None
    assert first.low < first.value < first.high
    assert first.high - first.low == pytest.approx(2 * 1.96 * np.sqrt(1 / 12 / 40), rel=0.3)


def test_intervals_agree_with_those_of_verdicts() -> None:
    """A second implementation: `tracer.statistics`, which verdicts use, on the same cases."""
    values = np.random.default_rng(5).beta(2, 1, size=50)
    found = average([case(i, MEAN, float(value)) for i, value in enumerate(values)], MEAN)
    other = bootstrap_interval(values, lambda v: float(v.mean()), np.random.default_rng(6))
    assert found is not None
    assert (found.low, found.high) == pytest.approx(tuple(other), abs=0.01)


def test_comparison_is_paired() -> None:
    """A small constant lead on cases that differ widely: paired it is certain, unpaired it would drown."""
    rng = np.random.default_rng(4)
    base = rng.uniform(0.0, 0.9, size=30)
    first = keyed([case(i, MEAN, float(b) + 0.05) for i, b in enumerate(base)])
    second = keyed([case(i, MEAN, float(b)) for i, b in enumerate(base)])
    found = compare(first, second, MEAN)
    assert found is not None
    assert found.value == pytest.approx(0.05)
    assert found.low > 0.049 and found.p_value < 0.01
    back = compare(second, first, MEAN)
    assert back is not None and back.value == pytest.approx(-0.05)


def test_comparison_uses_cases_that_both_answered() -> None:
    first = keyed([case(1, MEAN, 1.0), case(2, MEAN, 1.0), case(3, MEAN, 0.0, 0.0)])
    second = keyed([case(2, MEAN, 0.0), case(3, MEAN, 0.5)])
    found = compare(first, second, MEAN)
    assert found is not None and (found.value, found.n_cases) == (1.0, 1)
    assert compare(first, {}, MEAN) is None


def test_no_difference_is_no_difference() -> None:
    same = keyed([case(i, MEAN, i / 10) for i in range(10)])
    found = compare(same, same, MEAN)
    assert found is not None and (found.value, found.p_value) == (0.0, 1.0)


def test_families_keep_their_order() -> None:
    cases = [case(1, MEAN, 1.0, family="b"), case(2, MEAN, 1.0, family="a"), case(3, MEAN, 1.0, family="b")]
    assert {family: len(members) for family, members in by_family(cases).items()} == {"b": 2, "a": 1}
    assert list(by_family(cases)) == ["b", "a"]
