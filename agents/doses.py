"""Doses of steering: at which multipliers an effect is measured besides the claimed one, and whether it grows with them.

A push that is large enough breaks any model, and broken models move every token. What belongs to the supernode grows
with the dose: so a steering claim is measured on the whole way from no change to its multiplier, and the rule asks for
a rank correlation between dose and effect.

Source: the idea of a grid of multipliers from ADAG (steering at -4 to 4); the dose-response test is Spearman's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from tracescribe.agents.findings import DosePoint

DOSE_STEPS = 6
"""Steps from no change (a multiplier of 1) to the claim's multiplier: with both ends seven points, the fewest on which a
rank correlation well short of perfect can be told from chance."""
MIN_DOSE_TREND = 0.714
"""Critical value of Spearman's rank correlation for seven points, one-sided at 5 %. An effect that saturates, and then
wavers a little, still passes; one that only the last dose shows, with the opposite before, does not."""


def doses_for(multiplier: float) -> tuple[float, ...]:
    """Multipliers from no change towards the claimed one, which is measured anyway and left out here."""
    return tuple(1.0 + (multiplier - 1.0) * step / DOSE_STEPS for step in range(DOSE_STEPS))


def dose_trend(doses: Sequence[DosePoint], effect: float) -> float:
    """Rank correlation of dose and effect, -1 to 1; positive where the effect grows in the claimed direction.

    Args:
        doses: points short of the claimed multiplier; a dose is its distance from 1, no change.
        effect: at the claimed multiplier, the largest dose of all.
    """
    ordered = sorted(doses, key=lambda point: abs(point.multiplier - 1.0))
    return rank_correlation(range(len(ordered) + 1), [*(point.effect for point in ordered), effect])


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's rank correlation, ties sharing their mean rank; 0 where one of the two never changes.

    Source: Spearman 1904, Am. J. Psychol. 15, 72-101.
    """
    a, b = _centred_ranks(first), _centred_ranks(second)
    spread = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / spread if spread > 0.0 else 0.0


def _centred_ranks(values: ArrayLike) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    array = np.asarray(values, dtype=np.float64).reshape(-1)
    below = (array[:, None] > array[None, :]).sum(axis=1)
    same = (array[:, None] == array[None, :]).sum(axis=1)
    ranks = below + (same + 1) / 2.0
    return np.asarray(ranks - ranks.mean(), dtype=np.float64)
