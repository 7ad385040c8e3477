"""Scores of many cases: averages with bootstrap intervals, and agents compared on the cases that both answered.

Resampling is over cases, never over features or claims, because cases are what was drawn independently. Intervals are
percentile bootstrap intervals as in `tracer.statistics`, computed for all resamples at once: a table has thousands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracescribe.evals.scorers.metric import Metric
from tracescribe.evals.scores import METRICS, Scores
from tracescribe.tracer.statistics import DEFAULT_LEVEL, DEFAULT_RESAMPLES

INTERVAL_SEED = 20240117
"""Seed of every interval's resampling: the same scores give the same interval in every table."""
_TAILS = ((1.0 - DEFAULT_LEVEL) / 2.0, (1.0 + DEFAULT_LEVEL) / 2.0)


@dataclass(frozen=True)
class Average:
    """An average over cases.

    Attributes:
        value: the average.
        low, high: its bootstrap interval over cases.
        n_cases: cases with something to score; others are left out, not counted as 0.
    """

    value: float
    low: float
    high: float
    n_cases: int


@dataclass(frozen=True)
class Difference:
    """Average of one agent minus that of another, on the cases that both have a score for.

    Attributes:
        p_value: two-sided, by bootstrap; twice the smaller share of resampled differences on either side of zero.
    """

    value: float
    low: float
    high: float
    p_value: float
    n_cases: int


def average(scores: Sequence[Scores], metric: Metric, resamples: int = DEFAULT_RESAMPLES) -> Average | None:
    """Average of one metric over cases, or None if no case had anything to score."""
    tallies = _tallies(scores, metric)
    if not len(tallies):
        return None
    low, high = np.quantile(_reduce(tallies[_resamples(len(tallies), resamples)], metric), _TAILS)
    return Average(float(_reduce(tallies, metric)), float(low), float(high), len(tallies))


def averages(scores: Sequence[Scores]) -> dict[str, Average | None]:
    """Averages of every metric, by name."""
    return {metric.name: average(scores, metric) for metric in METRICS}


def by_family(scores: Sequence[Scores]) -> dict[str, tuple[Scores, ...]]:
    """Scores by family, families in order of first appearance."""
    found: dict[str, list[Scores]] = {}
    for score in scores:
        found.setdefault(score.family, []).append(score)
    return {family: tuple(members) for family, members in found.items()}


def compare(
    first: Mapping[str, Scores], second: Mapping[str, Scores], metric: Metric, resamples: int = DEFAULT_RESAMPLES
) -> Difference | None:
    """Compare two agents on one metric, paired by case.

    A case enters if both agents have something to score in it.

    Args:
        first, second: scores by gold id.

    Returns:
        The difference, or None if no case has a score of both.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapters 13 and 16.
    """
    shared = [i for i in first if i in second and first[i].values[metric.name].denominator]
    shared = [i for i in shared if second[i].values[metric.name].denominator]
    if not shared:
        return None
    a, b = _tallies([first[i] for i in shared], metric), _tallies([second[i] for i in shared], metric)
    index = _resamples(len(shared), resamples)
    draws = _reduce(a[index], metric) - _reduce(b[index], metric)
    low, high = np.quantile(draws, _TAILS)
    smaller = min(int((draws <= 0.0).sum()), int((draws >= 0.0).sum()))
    p_value = min(1.0, 2 * (1 + smaller) / (1 + resamples))
    return Difference(float(_reduce(a, metric) - _reduce(b, metric)), float(low), float(high), p_value, len(shared))


def _resamples(n_cases: int, resamples: int) -> NDArray[np.int64]:
    """Cases drawn with replacement, `[resamples, n_cases]`; the same for every metric of the same number of cases."""
    return np.random.default_rng(INTERVAL_SEED).integers(n_cases, size=(resamples, n_cases))


def _tallies(scores: Sequence[Scores], metric: Metric) -> NDArray[np.float64]:
    """(numerator, denominator) of the cases with something to score, `[n_cases, 2]`."""
    values = [score.values[metric.name] for score in scores]
    return np.array([[v.numerator, v.denominator] for v in values if v.denominator], dtype=np.float64).reshape(-1, 2)


def _reduce(tallies: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    """The average over cases: `[..., n_cases, 2]` to `[...]`."""
    numerator, denominator = tallies[..., 0], tallies[..., 1]
    if metric.average == "pooled":
        return np.asarray(numerator.sum(-1) / denominator.sum(-1))
    return np.asarray((numerator / denominator).mean(-1))
