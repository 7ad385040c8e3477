"""One number for 'fires where the predicate holds, and hardly elsewhere': the worse of two areas, both weighted.

* *firing where it holds*: area under the ROC curve of the activation against the predicate. Words in the predicate on which
  the feature never fires bring it down.
* *holding where it fires*: area of the predicate as a detector of firing, the mean of recall and specificity. Places where
  the feature fires and the predicate is silent bring it down.

.5 is guessing in both. Where hardly any token fires or is meant, they are near (1 + precision) / 2 and (1 + recall) / 2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracescribe.agents.testing.resampling import bounds_of
from tracescribe.tracer.graph import BoolArray, FloatArray, IntArray
from tracescribe.tracer.statistics import Bounds

Float64Array = NDArray[np.float64]

NO_AREA = 0.5
"""What is told where there is nothing to tell apart."""
_DIGITS = 9
"""Sums of weights differ in the last digits by the order in which they are added: those are left off."""


class TwoWay(NamedTuple):
    """Both areas, 0 to 1."""

    firing_where_it_holds: float
    holding_where_it_fires: float

    @property
    def worse(self) -> float:
        """What decides."""
        return min(self)


def two_way_area(activation: FloatArray, holds: BoolArray, weight: Float64Array) -> TwoWay:
    """Both areas of one feature and one predicate.

    Args:
        activation: `[n_tokens]`; a feature fires above 0.
        holds: where the predicate holds, `[n_tokens]`.
        weight: how many tokens each one stands for, `[n_tokens]`.
    """
    fires = activation > 0
    told = _mean_of_shares(
        weight[holds & fires].sum(), weight[fires].sum(), weight[~holds & ~fires].sum(), weight[~fires].sum()
    )
    return TwoWay(weighted_auc(activation, holds, weight), round(float(told), _DIGITS))


def weighted_auc(activation: FloatArray, holds: BoolArray, weight: Float64Array) -> float:
    """Chance that the activation is larger where the predicate holds than where it does not, ties counting one half.

    Tokens are drawn by weight. .5 where the predicate holds nowhere or everywhere.
    """
    up, down = weight * holds, weight * ~holds
    pairs = float(up.sum() * down.sum())
    if pairs <= 0.0:
        return NO_AREA
    levels, level = np.unique(activation, return_inverse=True)
    won = np.bincount(level, weights=up, minlength=len(levels))
    lost = np.bincount(level, weights=down, minlength=len(levels))
    return round(float((won * (np.cumsum(lost) - lost / 2.0)).sum()) / pairs, _DIGITS)


def two_way_interval(
    activation: FloatArray,
    holds: BoolArray,
    group: IntArray,
    weight: Float64Array,
    drawn: Float64Array,
) -> Bounds:
    """Percentile bootstrap of the worse area over resampled sentences.

    The first area is a count of won pairs, which add up over pairs of sentences: one matrix of wins gives every resample
    by its multiplicities. The second is made of sums over sentences.

    Args:
        activation, holds: `[n_tokens]`.
        group: sentence of each token, from 0, `[n_tokens]`.
        weight: of each sentence, `[n_sentences]`.
        drawn: how often each sentence counts in each resample, `[n_resamples, n_sentences]`.
    """
    n_sentences, fires = len(weight), activation > 0
    at, off = np.flatnonzero(holds), np.flatnonzero(~holds)
    above = activation[at][:, None] - activation[off][None, :]
    wins = (above > 0) + 0.5 * (above == 0)
    of_at, of_off = np.eye(n_sentences)[group[at]], np.eye(n_sentences)[group[off]]
    by_sentence = of_at.T @ wins @ of_off
    drawn = drawn * weight
    won = ((drawn @ by_sentence) * drawn).sum(axis=1)
    pairs = (drawn @ of_at.sum(axis=0)) * (drawn @ of_off.sum(axis=0))
    first = np.divide(won, pairs, out=np.full(len(drawn), NO_AREA), where=pairs > 0)
    masks = (holds & fires, fires, ~holds & ~fires, ~fires)
    second = _mean_of_shares(*(drawn @ np.bincount(group[m], minlength=n_sentences) for m in masks))
    return bounds_of(np.asarray(np.minimum(first, second), dtype=np.float64).round(_DIGITS))


def _mean_of_shares(hits: ArrayLike, fires: ArrayLike, passes: ArrayLike, silent: ArrayLike) -> Float64Array:
    """Mean of `hits / fires` and `passes / silent`; .5 where either is a share of nothing."""
    found, of, passed, among = (np.asarray(one, dtype=np.float64) for one in (hits, fires, passes, silent))
    known = (of > 0) & (among > 0)
    shares = found / np.where(of > 0, of, 1.0) + passed / np.where(among > 0, among, 1.0)
    return np.where(known, shares / 2.0, NO_AREA)
