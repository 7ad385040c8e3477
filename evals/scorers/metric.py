"""What a scorer returns: named tallies, and how each is to be read and averaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple


class Tally(NamedTuple):
    """A score as a fraction. A denominator of 0 means that there was nothing to score, which is not a score of 0."""

    numerator: float
    denominator: float = 1.0

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
            that are too small within one case.
        headline: whether short tables show it.
        higher_is_better: False for error rates.
    """

    name: str
    title: str
    meaning: str
    average: Literal["mean", "pooled"] = "mean"
    headline: bool = False
    higher_is_better: bool = True
