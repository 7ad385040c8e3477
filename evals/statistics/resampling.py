"""Resampling of cases: weights of bootstrap resamples, sign flips of pairs, and scores as functions of sums.

Every average that tables show is a function of sums over runs, so that all resamples of a metric are one product of
matrices. Cases are drawn with replacement, or whole families of cases; of a case that was run with several seeds the
seeds are drawn again within it, as often as it has them.

Source: Davison and Hinkley 1997, "Bootstrap Methods and their Application", sections 2.4 and 3.8 (hierarchical data).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tracescribe.evals.scorers.metric import Metric, Tally
from tracescribe.tracer.errors import SettingError

Floats = NDArray[np.float64]

INTERVAL_SEED = 20240117
"""Seed of every interval's resampling: the same scores give the same interval in every table."""
FLIPS = 10_000
"""Random sign flips: a p value of .05 is then known to .004. Up to 13 pairs all flips are fewer, and are all tried."""


def sums_of(tallies: Sequence[Tally], metric: Metric) -> Floats:
    """What is summed of each tally, `[n, k]`; tallies must have something to score."""
    if metric.average == "binned":
        return np.array([tally.bins for tally in tallies], dtype=np.float64).reshape(len(tallies), -1)
    if metric.average == "pooled":
        return np.array([(tally.numerator, tally.denominator) for tally in tallies], dtype=np.float64)
    return np.array([(tally.numerator / tally.denominator, 1.0) for tally in tallies], dtype=np.float64)


def value_of(sums: Floats, metric: Metric) -> Floats:
    """The average that sums amount to, `[..., k]` to `[...]`."""
    if metric.average == "binned":
        bins = sums.reshape(*sums.shape[:-1], -1, 3)
        return np.asarray(np.abs(bins[..., 0] - bins[..., 1]).sum(-1) / bins[..., 2].sum(-1))
    return np.asarray(sums[..., 0] / sums[..., 1])


@lru_cache(maxsize=32)
def bootstrap_weights(
    sizes: tuple[int, ...], resamples: int, clusters: tuple[int, ...] | None = None, stream: int = 0
) -> Floats:
    """Weight of every run in every resample, `[resamples, n_runs]`; runs of one case stand side by side.

    Args:
        sizes: runs of each case. All runs of a case weigh as much as one case together.
        resamples: how many.
        clusters: number of the family of each case, where families are drawn in place of cases.
        stream: agents that are compared share the cases drawn; each draws seeds from a stream of its own.

    Raises:
        SettingError: no resample was asked for.
    """
    if resamples < 1:
        raise SettingError(f"number of bootstrap resamples must be at least 1, found {resamples}")
    times = _times_drawn(len(sizes), resamples, clusters)
    if set(sizes) == {1}:
        return times.astype(np.float64)
    rng = np.random.default_rng([INTERVAL_SEED, 1 + stream])
    starts = np.concatenate([[0], np.cumsum(sizes)])
    weights = np.zeros((resamples, int(starts[-1])))
    for size in sorted(set(sizes)):
        cases = np.flatnonzero(np.array(sizes) == size)
        counts = rng.multinomial(times[:, cases] * size, np.full(size, 1.0 / size))
        columns = starts[cases][:, None] + np.arange(size)
        weights[:, columns.reshape(-1)] = counts.reshape(resamples, -1) / size
    return weights


def _times_drawn(n_cases: int, resamples: int, clusters: tuple[int, ...] | None) -> NDArray[np.int64]:
    """How often each case is drawn, `[resamples, n_cases]`."""
    rng = np.random.default_rng(INTERVAL_SEED)
    n_units = n_cases if clusters is None else max(clusters) + 1
    drawn = rng.integers(n_units, size=(resamples, n_units))
    place = drawn + n_units * np.arange(resamples)[:, None]
    times = np.bincount(place.reshape(-1), minlength=n_units * resamples).reshape(resamples, n_units)
    return times if clusters is None else times[:, np.array(clusters)]


@lru_cache(maxsize=16)
def sign_flips(n: int) -> tuple[Floats, bool]:
    """Signs of `n` pairs, `[n_flips, n]`, and whether they are all that there are."""
    if 2**n <= FLIPS:
        every = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return 1.0 - 2.0 * every.astype(np.float64), True
    rng = np.random.default_rng(INTERVAL_SEED)
    return rng.choice(np.array([-1.0, 1.0]), size=(FLIPS, n)), False


def flip_p_value(first: Floats, second: Floats, metric: Metric) -> float:
    """Two-sided p value that two agents are alike: each pair of answers could as well have been the other's.

    Args:
        first, second: sums of each case, `[n_cases, k]`.

    Source: Fisher 1935; Edgington and Onghena 2007, "Randomization Tests".
    """
    signs, exact = sign_flips(len(first))
    both, apart = (first + second).sum(0), first - second
    as_first = (both + signs @ apart) / 2.0
    found = np.abs(value_of(as_first, metric) - value_of(both - as_first, metric))
    seen = abs(float(value_of(first.sum(0), metric) - value_of(second.sum(0), metric)))
    reached = int((found >= seen - 1e-12).sum())
    return reached / len(signs) if exact else (1 + reached) / (1 + len(signs))


def jackknifed(first: Floats, second: Floats, metric: Metric) -> Floats:
    """What each case contributes to the difference of two agents, `[n_cases]`: its own difference, where scores are means.

    Source: Efron and Tibshirani 1993, chapter 11 (pseudo-values).
    """
    n = len(first)
    whole = value_of(first.sum(0), metric) - value_of(second.sum(0), metric)
    without = value_of(first.sum(0) - first, metric) - value_of(second.sum(0) - second, metric)
    return np.asarray(n * whole - (n - 1) * without)
