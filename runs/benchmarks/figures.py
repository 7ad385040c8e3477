"""The result of a small benchmark: rows of named figures, with what they were measured on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tracescribe.runs.benchmarks.measuring import Clock

Figure = float | int | str | bool | None


@dataclass(frozen=True)
class FigureBench:
    """Rows of figures.

    Attributes:
        bench: name of the benchmark.
        settings: what was run, as plain JSON values.
        machine: what it ran on.
        clock: the seconds that the figures are made from.
        rows: each with the same keys, in the order in which they are shown; keys end in their unit where they have one.
        notes: what a reader has to know.
        missed: a line for each figure that does not keep its limit.
    """

    bench: str
    settings: dict[str, Any]
    machine: dict[str, Any]
    clock: Clock
    rows: tuple[dict[str, Figure], ...]
    notes: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        return {
            "bench": self.bench,
            "settings": self.settings,
            "machine": self.machine,
            "clock": self.clock,
            "rows": [dict(row) for row in self.rows],
            "notes": list(self.notes),
            "missed": list(self.missed),
        }
