"""Statistics that verdicts and scores share: rank p values, false discovery rate, intervals, ROC area. numpy only.

Edge cases are decided here once: no controls give p = 1, not an error; an interval of one value has no width; an area
or an interval of nothing is refused, because a missing answer must never turn into a number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracescribe.tracer.errors import SettingError, WorkError

Float64Array = NDArray[np.float64]

DEFAULT_LEVEL = 0.95
"""Confidence level of every interval, unless told otherwise: the convention of the field."""
DEFAULT_RESAMPLES = 2000
"""Bootstrap resamples: the 2.5 % tail then rests on 50 of them, enough for two digits."""


class RankTest(NamedTuple):
    """Place of an effect among the effects of its controls.

    Attributes:
        rank: 1 where no control reaches the effect; a tie counts against it.
        p_value: one-sided, never 0.
    """

    rank: int
    p_value: float


class Bounds(NamedTuple):
    """Ends of a confidence interval."""

    low: float
    high: float


class PairedDifference(NamedTuple):
    """Mean of `first - second` over the same cases, its bootstrap interval and two-sided bootstrap p value."""

    mean: float
    low: float
    high: float
    p_value: float


def _finite(values: ArrayLike, what: str) -> Float64Array:
    array = np.asarray(values, dtype=np.float64).reshape(-1)
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise WorkError(
            f"{what}: {bad} of {array.size} values are not finite; record a failed measurement as a failure instead"
        )
    return array


def _check_level(level: float) -> None:
    if not 0.0 < level < 1.0:
        raise SettingError(f"confidence level must lie between 0 and 1, found {level}")


def _check_resamples(n: int) -> None:
    if n < 1:
        raise SettingError(f"number of bootstrap resamples must be at least 1, found {n}")


def rank_p_value(effect: float, controls: ArrayLike) -> RankTest:
    """One-sided Monte Carlo p value of an effect among its controls: `(1 + #{control >= effect}) / (1 + n)`.

    Without controls nothing is known, and p is 1.

    Args:
        effect: of the tested set; larger is more extreme.
        controls: effects of the control sets, `[n]`.

    Raises:
        WorkError: an effect is not finite.

    Source: Davison and Hinkley 1997, "Bootstrap Methods and their Application", section 4.2.
    """
    tested = float(_finite([effect], "rank test")[0])
    others = _finite(controls, "rank test controls")
    reached = int((others >= tested).sum())
    return RankTest(rank=1 + reached, p_value=(1 + reached) / (1 + others.size))


def benjamini_hochberg(p_values: ArrayLike) -> Float64Array:
    """q values: the smallest false discovery rate at which each hypothesis would be rejected, `[n]`, in input order.

    Raises:
        WorkError: a p value is not finite.
        SettingError: a p value lies outside 0 to 1.

    Source: Benjamini and Hochberg 1995, J. R. Stat. Soc. B 57, 289-300.
    """
    p = _finite(p_values, "Benjamini-Hochberg")
    if p.size and (p.min() < 0.0 or p.max() > 1.0):
        raise SettingError(f"p values must lie between 0 and 1, found {p.min():.3g} to {p.max():.3g}")
    order = np.argsort(-p, kind="stable")
    ranks = np.arange(p.size, 0, -1)
    q = np.empty_like(p)
    q[order] = np.minimum.accumulate(np.minimum(p[order] * p.size / ranks, 1.0))
    return q


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[[Float64Array], float],
    rng: np.random.Generator,
    level: float = DEFAULT_LEVEL,
    n: int = DEFAULT_RESAMPLES,
) -> Bounds:
    """Percentile bootstrap interval of a statistic of independent values.

    One value, or equal values, give an interval without width: resampling cannot see a spread that the data lack.

    Args:
        values: `[n_values]`, resampled with replacement. To resample records, pass their indices.
        statistic: takes one resample `[n_values]`.
        rng: source of the resamples.
        level: share of the bootstrap distribution between the bounds.
        n: number of resamples.

    Raises:
        WorkError: no values, values that are not finite, or a statistic that is not.
        SettingError: a level outside 0 to 1, or no resamples.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
    """
    _check_level(level)
    _check_resamples(n)
    data = _finite(values, "bootstrap")
    if not data.size:
        raise WorkError("bootstrap: no values; an interval needs at least one")
    draws = np.fromiter(
        (statistic(data[rng.integers(data.size, size=data.size)]) for _ in range(n)), dtype=np.float64, count=n
    )
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(_finite(draws, "bootstrap statistic"), [tail, 1.0 - tail])
    return Bounds(float(low), float(high))


def paired_bootstrap(
    first: ArrayLike,
    second: ArrayLike,
    rng: np.random.Generator,
    level: float = DEFAULT_LEVEL,
    n: int = DEFAULT_RESAMPLES,
) -> PairedDifference:
    """Compare two methods on the same cases: mean difference, its interval, and a two-sided p value.

    The p value is twice the smaller share of resampled means on either side of zero, counting the data itself once.

    Args:
        first, second: scores `[n_cases]` in the same order of cases.

    Raises:
        SettingError: different lengths, a level outside 0 to 1, or no resamples.
        WorkError: no cases, or scores that are not finite.

    Source: Efron and Tibshirani 1993, chapters 13 and 16.
    """
    _check_level(level)
    _check_resamples(n)
    a, b = _finite(first, "paired bootstrap, first"), _finite(second, "paired bootstrap, second")
    if a.size != b.size:
        raise SettingError(f"paired bootstrap needs the same cases in the same order, found {a.size} and {b.size}")
    if not a.size:
        raise WorkError("paired bootstrap: no cases to compare")
    difference = a - b
    means = np.array([difference[rng.integers(a.size, size=a.size)].mean() for _ in range(n)])
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    smaller = min(int((means <= 0.0).sum()), int((means >= 0.0).sum()))
    return PairedDifference(float(difference.mean()), float(low), float(high), min(1.0, 2 * (1 + smaller) / (1 + n)))


def wilson_interval(successes: int, n: int, level: float = DEFAULT_LEVEL) -> Bounds:
    """Interval of a share, well behaved at 0 and 1 and for small n; of no trials it is all of 0 to 1.

    Raises:
        SettingError: a level outside 0 to 1, or counts that are not `0 <= successes <= n`.

    Source: Wilson 1927, J. Am. Stat. Assoc. 22, 209-212.
    """
    _check_level(level)
    if not 0 <= successes <= n:
        raise SettingError(f"successes must lie between 0 and the number of trials, found {successes} of {n}")
    if n == 0:
        return Bounds(0.0, 1.0)
    z = NormalDist().inv_cdf(0.5 + level / 2.0)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # at the ends the algebra gives exactly 0 and 1, which rounding would miss
    low = 0.0 if successes == 0 else float(max(0.0, centre - half))
    high = 1.0 if successes == n else float(min(1.0, centre + half))
    return Bounds(low, high)


def roc_auc(scores: ArrayLike, labels: Sequence[bool] | NDArray[np.bool_]) -> float:
    """Area under the ROC curve: how often a positive outscores a negative, a tie counting one half.

    Fast where most scores equal the smallest, as feature activations do: only the others are sorted.

    Args:
        scores: `[n]`.
        labels: `[n]`, true for positives.

    Raises:
        SettingError: different lengths.
        WorkError: scores that are not finite, or not both classes present (the area is then undefined).

    Source: Hanley and McNeil 1982, Radiology 143, 29-36 (the area is the Mann-Whitney statistic).
    """
    values, positive = _finite(scores, "ROC area"), np.asarray(labels, dtype=bool).reshape(-1)
    if values.size != positive.size:
        raise SettingError(f"ROC area needs one label per score, found {values.size} scores and {positive.size} labels")
    n_positive = int(positive.sum())
    n_negative = int(positive.size) - n_positive
    if not n_positive or not n_negative:
        raise WorkError(f"ROC area is undefined for {n_positive} positives and {n_negative} negatives; both are needed")
    above = values > values.min()
    top_positive = positive[above]
    floor_positive = n_positive - int(top_positive.sum())
    floor_negative = n_negative - int((~top_positive).sum())
    wins = floor_positive * floor_negative / 2.0 + int(top_positive.sum()) * floor_negative
    if top_positive.any() and not top_positive.all():
        wins += _mann_whitney(values[above], top_positive)
    return float(wins / (n_positive * n_negative))


def _mann_whitney(values: Float64Array, positive: NDArray[np.bool_]) -> float:
    """Number of (positive, negative) pairs that the positive wins, ties counting one half."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2.0
    n_positive = int(positive.sum())
    return float(mean_rank[inverse][positive].sum() - n_positive * (n_positive + 1) / 2.0)
