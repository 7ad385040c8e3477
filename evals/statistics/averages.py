"""Scores of many cases: averages with bootstrap intervals, and agents compared on the cases that both answered.

Resampling is over cases, never over features or claims, because cases are what was drawn independently; of cases that
were run with several seeds also over seeds within a case; where asked, over families of cases. Intervals are percentile
bootstrap intervals as in `tracer.statistics`, computed for all resamples at once: a table has thousands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tracescribe.evals.scorers.metric import Metric, Tally
from tracescribe.evals.scores import METRICS, Scores
from tracescribe.evals.statistics.corrections import holm
from tracescribe.evals.statistics.power import detectable_difference
from tracescribe.evals.statistics.resampling import (
    Floats,
    bootstrap_weights,
    flip_p_value,
    jackknifed,
    sums_of,
    value_of,
)
from tracescribe.tracer.statistics import DEFAULT_LEVEL, DEFAULT_RESAMPLES, benjamini_hochberg

Answers = Mapping[str, Scores] | Sequence[Scores]
"""Scores of one agent; several of one gold circuit are runs with several seeds."""


@dataclass(frozen=True)
class Average:
    """An average over cases.

    Attributes:
        value: the average.
        low, high: its bootstrap interval over cases, and over seeds within a case.
        n_cases: cases with something to score; others are left out, not counted as 0.
        n_runs: answers with something to score: more than cases where seeds were repeated.
    """

    value: float
    low: float
    high: float
    n_cases: int
    n_runs: int = 0


@dataclass(frozen=True)
class Difference:
    """Average of one agent minus that of another, on the cases that both have a score for.

    Attributes:
        low, high: bootstrap interval of the difference, paired by case.
        p_value: two-sided, by sign flips of the pairs; exact with up to 13 cases.
        p_bootstrap: two-sided; twice the smaller share of resampled differences on either side of zero.
        effect_size: difference in standard deviations of the paired differences (Cohen's d for pairs); None where they
            have none.
        detectable: smallest true difference that so many cases with this spread show in four of five suites (power
            80 %, two-sided test at .05); None with one case.
        p_holm, p_fdr: the p value corrected for all comparisons of a table, so that hardly ever any (Holm), or few of
            those called different (Benjamini and Hochberg), are alike in truth; None outside a table.
    """

    value: float
    low: float
    high: float
    p_value: float
    n_cases: int
    p_bootstrap: float = 1.0
    effect_size: float | None = None
    detectable: float | None = None
    p_holm: float | None = None
    p_fdr: float | None = None


Differences = dict[tuple[str, str], dict[str, Difference | None]]
"""By pair of agents (the first minus the second), then by metric."""


def average(
    scores: Answers,
    metric: Metric,
    resamples: int = DEFAULT_RESAMPLES,
    *,
    families: bool = False,
    level: float = DEFAULT_LEVEL,
) -> Average | None:
    """Average of one metric over cases, or None if no case had anything to score.

    Args:
        scores: of one agent. Several of one gold circuit are runs of one case: their mean is the case's score.
        families: resample families of cases in place of cases: wider, and right where cases of a family are alike.
        level: of the interval.
    """
    cases = _cases(scores, metric)
    if not cases:
        return None
    runs = _Runs(list(cases.values()), metric)
    weights = bootstrap_weights(runs.sizes, resamples, _clusters(list(cases), scores) if families else None)
    low, high = np.quantile(runs.resampled(weights), _tails(level))
    return Average(float(value_of(runs.by_case.sum(0), metric)), float(low), float(high), len(cases), sum(runs.sizes))


def averages(scores: Answers) -> dict[str, Average | None]:
    """Averages of every metric, by name."""
    return {metric.name: average(scores, metric) for metric in METRICS}


def by_family(scores: Sequence[Scores]) -> dict[str, tuple[Scores, ...]]:
    """Scores by family, families in order of first appearance."""
    found: dict[str, list[Scores]] = {}
    for score in scores:
        found.setdefault(score.family, []).append(score)
    return {family: tuple(members) for family, members in found.items()}


def compare(
    first: Answers,
    second: Answers,
    metric: Metric,
    resamples: int = DEFAULT_RESAMPLES,
    *,
    families: bool = False,
    level: float = DEFAULT_LEVEL,
) -> Difference | None:
    """Compare two agents on one metric, paired by case.

    A case enters if both agents have something to score in it.

    Args:
        first, second: scores of each agent; several of one gold circuit are runs with several seeds.
        families: resample families of cases in place of cases.
        level: of the interval.

    Returns:
        The difference, or None if no case has a score of both.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapters 13 and 16.
    """
    one, other = _cases(first, metric), _cases(second, metric)
    shared = [gold_id for gold_id in one if gold_id in other]
    if not shared:
        return None
    a, b = (_Runs([cases[gold_id] for gold_id in shared], metric) for cases in (one, other))
    clusters = _clusters(shared, first) if families else None
    draws = a.resampled(bootstrap_weights(a.sizes, resamples, clusters))
    draws = draws - b.resampled(bootstrap_weights(b.sizes, resamples, clusters, stream=1))
    low, high = np.quantile(draws, _tails(level))
    smaller = min(int((draws <= 0.0).sum()), int((draws >= 0.0).sum()))
    value = float(value_of(a.by_case.sum(0), metric) - value_of(b.by_case.sum(0), metric))
    spread = float(np.std(jackknifed(a.by_case, b.by_case, metric), ddof=1)) if len(shared) > 1 else 0.0
    return Difference(
        value=value,
        low=float(low),
        high=float(high),
        p_value=flip_p_value(a.by_case, b.by_case, metric),
        n_cases=len(shared),
        p_bootstrap=min(1.0, 2 * (1 + smaller) / (1 + resamples)),
        effect_size=value / spread if spread > 1e-12 else None,
        detectable=detectable_difference(spread, len(shared)),
    )


def compare_all(
    agents: Mapping[str, Answers],
    metrics: Sequence[Metric],
    pairs: Iterable[tuple[str, str]] | None = None,
    *,
    families: bool = False,
) -> Differences:
    """Compare pairs of agents on several metrics, p values corrected for all comparisons of this table.

    Args:
        agents: scores by agent.
        metrics: what the table shows: every further one makes the others' corrected p values larger.
        pairs: names of agents; all pairs unless told otherwise, in the order given.
        families: resample families of cases in place of cases.
    """
    names = list(agents)
    chosen = pairs if pairs is not None else [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    found: Differences = {
        (a, b): {metric.name: compare(agents[a], agents[b], metric, families=families) for metric in metrics}
        for a, b in chosen
    }
    told = [one for differences in found.values() for one in differences.values() if one is not None]
    fixed = iter(corrected(told))
    return {
        pair: {name: None if one is None else next(fixed) for name, one in differences.items()}
        for pair, differences in found.items()
    }


def corrected(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """The same differences with p values corrected for each other."""
    p = [one.p_value for one in differences]
    both = zip(differences, holm(p), benjamini_hochberg(p), strict=True)
    return tuple(replace(one, p_holm=float(family), p_fdr=float(rate)) for one, family, rate in both)


class _Runs:
    """Runs of cases as sums: `of_runs` `[n_runs, k]`, and `by_case` `[n_cases, k]` their means over each case's runs."""

    def __init__(self, cases: Sequence[Sequence[Tally]], metric: Metric) -> None:
        self.metric = metric
        self.sizes = tuple(len(runs) for runs in cases)
        self.of_runs: Floats = sums_of([tally for runs in cases for tally in runs], metric)
        starts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.int64)
        self.by_case: Floats = np.add.reduceat(self.of_runs, starts, axis=0) / np.array(self.sizes)[:, None]

    def resampled(self, weights: Floats) -> Floats:
        """The average in every resample."""
        return value_of(weights @ self.of_runs, self.metric)


def _cases(scores: Answers, metric: Metric) -> dict[str, list[Tally]]:
    """Tallies by gold id, of the runs with something to score."""
    found: dict[str, list[Tally]] = {}
    for score in _listed(scores):
        value = score.values.get(metric.name)
        if value is not None and value.denominator:
            found.setdefault(score.gold_id, []).append(value.tally)
    return found


def _clusters(gold_ids: Sequence[str], scores: Answers) -> tuple[int, ...]:
    """Number of each case's family, from 0 without gaps."""
    family = {score.gold_id: score.family for score in _listed(scores)}
    numbers: dict[str, int] = {}
    return tuple(numbers.setdefault(family[gold_id], len(numbers)) for gold_id in gold_ids)


def _listed(scores: Answers) -> Iterable[Scores]:
    return scores.values() if isinstance(scores, Mapping) else scores


def _tails(level: float) -> tuple[float, float]:
    return (1.0 - level) / 2.0, (1.0 + level) / 2.0
