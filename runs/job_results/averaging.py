"""Means with intervals over many cases, where repetitions of one prompt with several seeds are one observation."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tracescribe.runs.job_results.summary import Mean, Spread
from tracescribe.tracer.statistics import DEFAULT_LEVEL, bootstrap_interval

BOOTSTRAP_UP_TO = 4000
"""Prompts up to which intervals are resampled; with more, a mean's bootstrap interval is the normal one, to the digits
that are shown, and takes minutes."""
SEED = 20240117
HISTOGRAM_STEPS = 20


class Values:
    """Values of cases, and which prompt each belongs to; sixteen bytes a case."""

    def __init__(self) -> None:
        self._values = array("d")
        self._subjects = array("l")

    def __len__(self) -> int:
        return len(self._values)

    def add(self, value: float, subject: int) -> None:
        """One case's value; values that are not finite are left out."""
        if math.isfinite(value):
            self._values.append(value)
            self._subjects.append(subject)

    def all(self) -> NDArray[np.float64]:
        """Every value, `[n_cases]`."""
        return np.array(self._values, dtype=np.float64)

    def by_subject(self) -> NDArray[np.float64]:
        """The mean of each prompt, `[n_prompts]`, in order of first appearance."""
        numbers, places = np.unique(np.array(self._subjects, dtype=np.int64), return_inverse=True)
        sums = np.bincount(places, weights=self.all(), minlength=len(numbers))
        return np.asarray(sums / np.bincount(places, minlength=len(numbers)))

    def mean(self) -> Mean | None:
        """Their mean over prompts; None where there is none."""
        return mean_of(self.by_subject()) if len(self) else None


def mean_of(values: NDArray[np.float64]) -> Mean:
    """A mean of independent values, `[n]`, with its 95 % interval.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
    """
    n, value = len(values), float(values.mean())
    if n == 1:
        return Mean(value, value, value, 1)
    if n > BOOTSTRAP_UP_TO:
        reach = NormalDist().inv_cdf(0.5 + DEFAULT_LEVEL / 2) * float(values.std(ddof=1)) / math.sqrt(n)
        return Mean(value, value - reach, value + reach, n)
    low, high = bootstrap_interval(values, lambda drawn: float(drawn.mean()), np.random.default_rng(SEED))
    return Mean(value, low, high, n)


def spread_of(values: Sequence[float] | array[float]) -> Spread | None:
    """How values are spread; None where there are none."""
    if not len(values):
        return None
    held = np.array(values, dtype=np.float64)
    median, p90, p99 = (float(q) for q in np.quantile(held, (0.5, 0.9, 0.99)))
    return Spread(len(held), float(held.sum()), float(held.mean()), median, p90, p99, float(held.max()))


def histogram(values: NDArray[np.float64], first: float, last: float) -> tuple[int, ...]:
    """Counts in equal steps; what lies beyond an end is in the step at that end."""
    counts, _ = np.histogram(np.clip(values, first, last), bins=HISTOGRAM_STEPS, range=(first, last))
    return tuple(int(n) for n in counts)
