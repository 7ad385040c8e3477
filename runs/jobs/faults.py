"""What is wrong with a job's file: each fault with its place, what was found, and what was expected."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from tracescribe.tracer.errors import InputError

MAX_TOLD = 5
"""Faults that the message of an error lists; the rest are counted."""
MAX_SHOWN = 80
"""Characters of a value that a message repeats."""


@dataclass(frozen=True)
class Place:
    """Where a value stands.

    Attributes:
        file: its name, or the option that gave the value.
        line, column: from 1; 0 where it is no text with lines.
    """

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        place: of the value, or of the key where the key itself is wrong.
        field: path of the field, such as `budget.case.usd`; empty for the whole document.
        problem: what was found and what was expected, in words.
        hint: what to do; empty where the problem says it.
    """

    place: Place
    field: str
    problem: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.place}: {self.field}" if self.field else str(self.place)
        return f"{where}: {self.problem}" + (f"; {self.hint}" if self.hint else "")

    def to_json(self) -> dict[str, Any]:
        """The fault as plain JSON values."""
        found = asdict(self)
        return {**found.pop("place"), **found}


class SpecificationError(InputError):
    """A job's file that cannot be used.

    Attributes:
        faults: all that were found; the message lists the first few.
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        more = len(self.faults) - MAX_TOLD
        told = "; ".join(map(str, self.faults[:MAX_TOLD]))
        super().__init__(told + (f"; and {more} more: 'tracescribe jobs validate' tells all" if more > 0 else ""))


def shown(value: object) -> str:
    """A value as messages repeat it: what kind it is, and its beginning."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"number {_cut(repr(value))}"
    if isinstance(value, str):
        return f"text {_cut(repr(value))}"
    return f"a {'list' if isinstance(value, list | tuple) else 'mapping'} of {len(value)}"  # type: ignore[arg-type]


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."
