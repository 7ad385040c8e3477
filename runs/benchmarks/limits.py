"""Bounds that the figures of a benchmark have to keep, and a line for each that is not kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tracescribe.runs.benchmarks.figures import Figure


@dataclass(frozen=True)
class Limit:
    """What the figures of some rows have to be.

    Attributes:
        figure: key of the figure in the row; a row without it, or where it is None, is not asked.
        unit: of the figure, for people.
        below: what it has to stay below; None where there is no such bound.
        least: what it has to be at least; None where there is no such bound.
    """

    figure: str
    unit: str
    below: float | None = None
    least: float | None = None

    @property
    def told(self) -> str:
        """The bound in words."""
        parts = [
            *([] if self.below is None else [f"below {self.below:g} {self.unit}"]),
            *([] if self.least is None else [f"at least {self.least:g} {self.unit}"]),
        ]
        return ", ".join(parts)

    def missed(self, row: dict[str, Figure], name: str) -> str | None:
        """A line that says how a row misses it; None where it keeps it, or has no such figure.

        Args:
            row: of figures.
            name: key of what the row is about.
        """
        value = row.get(self.figure)
        if not isinstance(value, int | float):
            return None
        kept = (self.below is None or value < self.below) and (self.least is None or value >= self.least)
        return None if kept else f"{row[name]}: {self.figure} is {value:g}, not {self.told}"


def missed_limits(rows: Iterable[tuple[dict[str, Figure], Limit | None]], name: str) -> tuple[str, ...]:
    """A line for each row that misses its limit, in the order of the rows.

    Args:
        rows: each with its limit, if it has one.
        name: key of what a row is about.
    """
    found = (None if limit is None else limit.missed(row, name) for row, limit in rows)
    return tuple(line for line in found if line is not None)
