"""Percentile bootstrap intervals of the statistics that experiments report, all resamples drawn at once.

Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracescribe.tracer.graph import BoolArray, FloatArray, IntArray
from tracescribe.tracer.statistics import DEFAULT_LEVEL, Bounds

Float64Array = NDArray[np.float64]


def _bounds(draws: Float64Array, level: float) -> Bounds:
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return Bounds(float(low), float(high))


def _multiplicities(rng: np.random.Generator, n_units: int, n_resamples: int) -> Float64Array:
    """How often each unit is drawn, `[n_resamples, n_units]`; every row sums to `n_units`."""
    return rng.multinomial(n_units, np.full(n_units, 1.0 / n_units), size=n_resamples).astype(np.float64)


def mean_interval(
    values: Float64Array, rng: np.random.Generator, n_resamples: int, level: float = DEFAULT_LEVEL
) -> Bounds:
    """Interval of a mean; `values` is `[n]`, at least one."""
    draws = _multiplicities(rng, len(values), n_resamples) @ values / len(values)
    return _bounds(draws, level)


def f1_interval(
    counts: Float64Array, rng: np.random.Generator, n_resamples: int, level: float = DEFAULT_LEVEL
) -> Bounds:
    """Interval of an F1 score over resampled sentences.

    Args:
        counts: by sentence: tokens where both hold, where the prediction holds, where the truth holds,
            `[n_sentences, 3]`.
    """
    both, told, true = (_multiplicities(rng, len(counts), n_resamples) @ counts).T
    return _bounds(2.0 * both / np.maximum(told + true, 1.0), level)


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
    return _bounds((shares[0] + shares[1]) / 2.0, level)


def auc_interval(
    scores: FloatArray,
    truth: BoolArray,
    group: IntArray,
    rng: np.random.Generator,
    n_resamples: int,
    level: float = DEFAULT_LEVEL,
) -> Bounds:
    """Interval of an area under the ROC curve over resampled sentences.

    The area is a count of won pairs, and pairs add up over pairs of sentences: one matrix of wins, `[n_sentences,
    n_sentences]`, gives every resample by its multiplicities. A resample without both classes counts as one half.

    Args:
        scores: `[n_tokens]`.
        truth: whether each token is a positive, `[n_tokens]`; both classes occur.
        group: sentence of each token, from 0, `[n_tokens]`.
    """
    n_groups = int(group.max()) + 1
    positive, negative = np.flatnonzero(truth), np.flatnonzero(~truth)
    above = scores[positive][:, None] - scores[negative][None, :]
    wins = (above > 0) + 0.5 * (above == 0)
    of_positive, of_negative = np.eye(n_groups)[group[positive]], np.eye(n_groups)[group[negative]]
    by_sentence = of_positive.T @ wins @ of_negative
    drawn = _multiplicities(rng, n_groups, n_resamples)
    won = ((drawn @ by_sentence) * drawn).sum(axis=1)
    pairs = (drawn @ of_positive.sum(axis=0)) * (drawn @ of_negative.sum(axis=0))
    return _bounds(np.divide(won, pairs, out=np.full(n_resamples, 0.5), where=pairs > 0), level)
