"""Percentile bootstrap intervals of the statistics that experiments report, all resamples drawn at once.

Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracescribe.tracer.graph import IntArray
from tracescribe.tracer.statistics import DEFAULT_LEVEL, Bounds

Float64Array = NDArray[np.float64]
ROWS_AT_ONCE = 64
"""Resamples drawn together: few enough that they stay in the processor's cache."""


def bounds_of(draws: Float64Array, level: float = DEFAULT_LEVEL) -> Bounds:
    """Percentiles of resampled values, `[n_resamples]`."""
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return Bounds(float(low), float(high))


def _multiplicities(rng: np.random.Generator, n_units: int, n_resamples: int) -> Float64Array:
    """How often each unit is drawn, `[n_resamples, n_units]`; every row sums to `n_units`."""
    counts = np.empty((n_resamples, n_units))
    for start in range(0, n_resamples, ROWS_AT_ONCE):  # units drawn and counted: ten times as fast as multinomial draws
        rows = min(ROWS_AT_ONCE, n_resamples - start)
        drawn = rng.integers(n_units, size=(rows, n_units)) + n_units * np.arange(rows)[:, None]
        counts[start : start + rows] = np.bincount(drawn.ravel(), minlength=rows * n_units).reshape(rows, n_units)
    return counts


def stratified_draws(rng: np.random.Generator, stratum: IntArray, sizes: IntArray, n_resamples: int) -> Float64Array:
    """By how much each unit's weight changes in each resample of a stratified sample, `[n_resamples, n_units]`, 1 on average.

    Units are drawn anew within their stratum, because few were drawn from many. The sizes of two strata of one side are
    drawn anew as well, because the text that they are counted in is a sample of text.

    Args:
        stratum: of each unit, `[n_units]`; 0 and 1 are one side, 2 and 3 the other.
        sizes: of the four strata that the units were drawn from, `[4]`.
    """
    drawn = np.zeros((n_resamples, len(stratum)))
    for first in (0, 2):
        total = int(sizes[first : first + 2].sum())
        of_first = rng.binomial(total, sizes[first] / max(total, 1), size=n_resamples)
        for one, size in ((first, of_first), (first + 1, total - of_first)):
            units = np.flatnonzero(stratum == one)
            if len(units):
                drawn[:, units] = _multiplicities(rng, len(units), n_resamples) * (size / sizes[one])[:, None]
    return drawn


def mean_interval(
    values: Float64Array, rng: np.random.Generator, n_resamples: int, level: float = DEFAULT_LEVEL
) -> Bounds:
    """Interval of a mean; `values` is `[n]`, at least one."""
    draws = _multiplicities(rng, len(values), n_resamples) @ values / len(values)
    return bounds_of(draws, level)


def f1_interval(counts: Float64Array, drawn: Float64Array, level: float = DEFAULT_LEVEL) -> Bounds:
    """Interval of an F1 score over resampled sentences.

    Args:
        counts: by sentence, weighted: tokens where both hold, where the prediction holds, where the truth holds,
            `[n_sentences, 3]`.
        drawn: how often each sentence counts in each resample, `[n_resamples, n_sentences]`.
    """
    both, told, true = (drawn @ counts).T
    total = told + true
    return bounds_of(np.divide(2.0 * both, total, out=np.zeros(len(drawn)), where=total > 0), level)


def balanced_interval(
    right: tuple[int, int],
    total: tuple[int, int],
    rng: np.random.Generator,
    n_resamples: int,
    level: float = DEFAULT_LEVEL,
) -> Bounds:
    """Interval of a balanced accuracy over resampled contexts, positives and negatives resampled apart.

    The right answers among `n` contexts drawn with replacement from `n`, `k` of them right, are binomial: that is the
    bootstrap itself, not an approximation of it.

    Args:
        right, total: of positives and of negatives; at least one context of each.
    """
    shares = [rng.binomial(n, k / n, size=n_resamples) / n for k, n in zip(right, total, strict=True)]
    return bounds_of((shares[0] + shares[1]) / 2.0, level)
