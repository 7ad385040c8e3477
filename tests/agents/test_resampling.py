"""Intervals drawn all at once agree with the plain bootstrap, one resample at a time."""

from __future__ import annotations

import numpy as np
import pytest

from tracescribe.agents.testing.resampling import auc_interval, balanced_interval, f1_interval, mean_interval
from tracescribe.tracer.statistics import bootstrap_interval, roc_auc

N = 4000


def test_the_mean() -> None:
    values = np.random.default_rng(0).gamma(1.0, size=60)
    fast = mean_interval(values, np.random.default_rng(1), N)
    plain = bootstrap_interval(values, lambda v: float(v.mean()), np.random.default_rng(2), n=N)
    assert fast.low == pytest.approx(plain.low, abs=0.03)
    assert fast.high == pytest.approx(plain.high, abs=0.03)


def test_f1() -> None:
    rng = np.random.default_rng(0)
    true, told = rng.integers(0, 3, 50), rng.integers(0, 3, 50)
    counts = np.stack([np.minimum(true, told), told, true], axis=1).astype(np.float64)

    def f1(index: np.ndarray) -> float:
        both, predicted, actual = counts[index.astype(int)].sum(axis=0)
        return float(2 * both / (predicted + actual))

    fast = f1_interval(counts, np.random.default_rng(1), N)
    plain = bootstrap_interval(np.arange(50.0), f1, np.random.default_rng(2), n=N)
    assert fast.low == pytest.approx(plain.low, abs=0.02)
    assert fast.high == pytest.approx(plain.high, abs=0.02)


def test_auc_with_ties_and_uneven_sentences() -> None:
    rng = np.random.default_rng(0)
    group = np.sort(rng.integers(0, 30, 300))
    group = np.unique(group, return_inverse=True)[1].astype(np.int64)
    truth = rng.random(300) < 0.2
    scores = np.round(rng.random(300) + 0.4 * truth, 1).astype(np.float32)

    def auc(index: np.ndarray) -> float:
        rows = np.concatenate([np.flatnonzero(group == i) for i in index.astype(int)])
        return roc_auc(scores[rows], truth[rows])

    fast = auc_interval(scores, truth, group, np.random.default_rng(1), N)
    plain = bootstrap_interval(np.arange(30.0), auc, np.random.default_rng(2), n=N)
    assert fast.low == pytest.approx(plain.low, abs=0.02)
    assert fast.high == pytest.approx(plain.high, abs=0.02)
    assert fast.low < roc_auc(scores, truth) < fast.high


@pytest.mark.parametrize(("right", "total"), [((17, 30), (20, 50)), ((3, 10), (5, 40))])
def test_a_balanced_accuracy(right: tuple[int, int], total: tuple[int, int]) -> None:
    told = [np.arange(n) < k for k, n in zip(right, total, strict=True)]

    def once(rng: np.random.Generator) -> float:
        return float(np.mean([rng.choice(kind, size=len(kind)).mean() for kind in told]))

    rng = np.random.default_rng(1)
    low, high = np.quantile([once(rng) for _ in range(N)], [0.025, 0.975])
    fast = balanced_interval(right, total, np.random.default_rng(0), N)
    assert (fast.low, fast.high) == pytest.approx((low, high), abs=0.02)
    assert balanced_interval((4, 0), (4, 9), np.random.default_rng(0), N) == pytest.approx((0.5, 0.5))


def test_no_spread_gives_no_width() -> None:
    assert mean_interval(np.full(10, 0.25), np.random.default_rng(0), N) == pytest.approx((0.25, 0.25))
