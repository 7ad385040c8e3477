"""Doses of steering: at which multipliers an effect is measured besides the claimed one, and whether it grows with them.

A push that is large enough breaks any model, and broken models move every token. What belongs to the supernode grows
with the dose until it is spent: so a steering claim is measured on the whole way from no change to its multiplier, and
the rule asks for a rank correlation between dose and effect.

Source: the idea of a grid of multipliers from ADAG (steering at -4 to 4); the correlation is Goodman and Kruskal's gamma
(1954, J. Am. Stat. Assoc. 49, 732-764).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from tracescribe.agents.findings import DosePoint

DOSE_STEPS = 6
"""Steps from no change (a multiplier of 1) to the claim's multiplier: seven points with both ends, 21 pairs."""
MIN_DOSE_TREND = 0.5
"""Least rank correlation of dose and effect: 75 % of the pairs of doses that differ at all differ in the claimed way. A
single dose out of line still passes; an effect that comes, and goes again with more, does not."""
DOSE_TOLERANCE = 0.2
"""Effects that differ by less than this share of their whole range count as equal. Most effects saturate: a probability
that is next to nothing hardly falls further, and how it wavers then (on the embedded model by up to an eighth of the
range) says nothing. An effect that falls back by a fifth is no longer a plateau."""


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
    return rank_correlation([*(point.effect for point in ordered), effect])


def rank_correlation(effects: Sequence[float]) -> float:
    """Gamma of effects with their order: (rising pairs - falling pairs) / (both); 0 where all effects are equal."""
    tolerance = DOSE_TOLERANCE * (max(effects, default=0.0) - min(effects, default=0.0))
    steps = [later - earlier for earlier, later in combinations(effects, 2)]
    rising, falling = sum(step > tolerance for step in steps), sum(step < -tolerance for step in steps)
    return (rising - falling) / (rising + falling) if rising or falling else 0.0
