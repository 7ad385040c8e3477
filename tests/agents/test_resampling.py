"""Intervals drawn all at once agree with the plain bootstrap, one resample at a time."""

from __future__ import annotations

import numpy as np
import pytest

from tracescribe.agents.labelling.two_way import two_way_area, two_way_interval
from tracescribe.agents.testing.resampling import balanced_interval, f1_interval, mean_interval, stratified_draws
from tracescribe.tracer.statistics import bootstrap_interval

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

    fast = f1_interval(counts, whole(50))
    plain = bootstrap_interval(np.arange(50.0), f1, np.random.default_rng(2), n=N)
    assert fast.low == pytest.approx(plain.low, abs=0.02)
    assert fast.high == pytest.approx(plain.high, abs=0.02)


def whole(n: int) -> np.ndarray:
    """Resamples of `n` units that were all that there is of their kind."""
    kinds = np.zeros(n, dtype=np.int64)
    return stratified_draws(np.random.default_rng(1), kinds, np.array([n, 0, 0, 0]), N)


def test_both_areas_with_ties_weights_and_uneven_sentences() -> None:
    rng = np.random.default_rng(0)
    group = np.sort(rng.integers(0, 30, 300))
    group = np.unique(group, return_inverse=True)[1].astype(np.int64)
    holds = rng.random(300) < 0.2
    scores = np.maximum(np.round(rng.random(300) + 0.4 * holds, 1) - 0.7, 0).astype(np.float32)
    weight = rng.integers(1, 5, 30).astype(np.float64)

    def worse(index: np.ndarray) -> float:
        rows = np.concatenate([np.flatnonzero(group == i) for i in index.astype(int)])
        return two_way_area(scores[rows], holds[rows], weight[group[rows]]).worse

    fast = two_way_interval(scores, holds, group, weight, whole(30))
    plain = bootstrap_interval(np.arange(30.0), worse, np.random.default_rng(2), n=N)
    assert fast.low == pytest.approx(plain.low, abs=0.02)
    assert fast.high == pytest.approx(plain.high, abs=0.02)
    assert fast.low < two_way_area(scores, holds, weight[group]).worse < fast.high


def test_draws_of_strata_keep_their_side_and_differ_as_a_sample_of_few() -> None:
    """On average each unit counts once; a side's weight stays, and a stratum's share of it varies as in the text."""
    stratum, sizes = np.array([0, 0, 1, 1, 1, 2, 3, 3]), np.array([20, 60, 5, 500])
    drawn = stratified_draws(np.random.default_rng(0), stratum, sizes, 20000)
    assert drawn.mean(axis=0) == pytest.approx(np.ones(8), abs=0.03)
    weight = np.array([10, 10, 20, 20, 20, 5, 250, 250], dtype=np.float64)
    per_side = (drawn * weight)[:, :5].sum(axis=1), (drawn * weight)[:, 5:].sum(axis=1)
    assert np.allclose(per_side[0], 80) and np.allclose(per_side[1], 505)
    share = (drawn * weight)[:, :2].sum(axis=1) / 80
    assert share.std() == pytest.approx(np.sqrt(0.25 * 0.75 / 80), rel=0.05)


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
