"""What a scorer returns: named tallies, and how each is to be read and averaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Bins = tuple[tuple[float, float, float], ...]
"""Of each bin of stated probabilities: their sum, how many came true, how many there were."""


class Tally(NamedTuple):
    """A score as a fraction. A denominator of 0 means that there was nothing to score, which is not a score of 0.

    Attributes:
        bins: for scores that are averaged as `binned`; empty for all others.
    """

    numerator: float
    denominator: float = 1.0
    bins: Bins = ()

    @property
    def value(self) -> float | None:
        """The score, or None where there was nothing to score."""
        return self.numerator / self.denominator if self.denominator else None


NOTHING = Tally(0.0, 0.0)
"""The tally of a score that does not exist for this case."""


@dataclass(frozen=True)
class Metric:
    """One column of a score table.

    Attributes:
        name: `scorer.quantity`; the key in score files.
        title: column head.
        meaning: one line for people: what 1 means.
        average: `mean` over cases of their values; `pooled`: sum of numerators over sum of denominators, for counts
            that are too small within one case; `binned`: bins summed over cases, then their gaps weighed by their size.
        headline: whether short tables show it.
        higher_is_better: False for error rates.
    """

    name: str
    title: str
    meaning: str
    average: Literal["mean", "pooled", "binned"] = "mean"
    headline: bool = False
    higher_is_better: bool = True


def harmonic(precision: float, recall: float) -> float:
    """The harmonic mean of two shares; 0 where both are 0."""
    return 2.0 * precision * recall / (precision + recall) if precision + recall else 0.0
