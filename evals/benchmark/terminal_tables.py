"""A leaderboard for terminals: no number is ever cut, whatever the width.

One row a metric, one column an agent. Where a terminal is too narrow for all agents, they are shown in blocks below each
other; where it is too narrow for one, intervals stand below their values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracescribe.evals.benchmark.leaderboard import Leaderboard, SuiteBoard
from tracescribe.evals.benchmark.tables import control_cells, controls_of, tail_of, title_of, told

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_BORDER = 3
"""Characters that a column adds to its content: a rule, and a blank on either side."""
_HEAD, _NARROW_HEAD = 24, 8
"""Longer names of agents are broken into lines, however wide the terminal is; and where it is narrow."""
_TAILS = ("cases scored", "cases failed", "seconds per case", "USD")


@dataclass(frozen=True)
class _Column:
    """An agent's column: scores that must not be broken, and texts below them that may be."""

    head: str
    scores: tuple[str, ...]
    texts: tuple[str, ...] = ()
    longest: int = _HEAD

    @property
    def width(self) -> int:
        """Characters that no score is broken in."""
        lines = [line for score in self.scores for line in score.split("\n")]
        return max([len(line) for line in lines] + [min(len(self.head), self.longest), 1])

    @property
    def narrow(self) -> _Column:
        """The same with intervals below their values."""
        return _Column(
            self.head, tuple(score.replace(" (", "\n(", 1) for score in self.scores), self.texts, _NARROW_HEAD
        )


@dataclass(frozen=True)
class _Grid:
    """A table before it is fitted to a terminal."""

    title: str
    corner: str
    rows: tuple[str, ...]
    tails: tuple[str, ...]
    columns: tuple[_Column, ...]

    @property
    def first(self) -> int:
        """Characters of the first column."""
        return max(len(text) for text in (self.corner, *self.rows, *self.tails))


def rich_tables(board: Leaderboard, width: int | None = None) -> list[Table]:
    """Every suite for the terminal.

    Args:
        width: characters of the terminal; None for tables as wide as they need to be.
    """
    return [table for suite in board.suites for grid in _grids(suite) for table in _fitted(grid, width)]


def _grids(suite: SuiteBoard) -> Iterator[_Grid]:
    columns = [
        _Column(row.agent, tuple(told(row.averages.get(m.name), row.n_scored) for m in suite.main), tuple(tail_of(row)))
        for row in suite.rows
    ]
    columns += [
        _Column(f"{row.agent}, gold shuffled", tuple(control_cells(suite, row)), ("",) * len(_TAILS))
        for row in controls_of(suite)
    ]
    title = f"{suite.suite}: {suite.n_circuits} circuits (mean, 95 % interval over circuits)"
    yield _Grid(title, "score", tuple(title_of(metric) for metric in suite.main), _TAILS, tuple(columns))
    metric = suite.ranked_by
    if metric is not None and len(suite.tasks) > 1:
        by_task = (
            _Column(row.agent, tuple(told(found.get(row.agent, {}).get(metric.name)) for found in suite.tasks.values()))
            for row in suite.rows
        )
        yield _Grid(f"{suite.suite}: {metric.title} by task", "task", tuple(suite.tasks), (), tuple(by_task))


def _fitted(grid: _Grid, width: int | None) -> Iterator[Table]:
    columns = grid.columns
    if width is None:
        yield _table(grid, grid.title, columns, grid.first)
        return
    first = grid.first
    room = width - first - _BORDER - 1
    if any(column.width + _BORDER > room for column in columns):
        columns = tuple(column.narrow for column in columns)
        room = max(room, *(column.width + _BORDER for column in columns))
        first = max(_NARROW_HEAD, min(first, width - room - _BORDER - 1))
    blocks: list[list[_Column]] = [[]]
    left = room
    for column in columns:
        if blocks[-1] and column.width + _BORDER > left:
            blocks.append([])
            left = room
        blocks[-1].append(column)
        left -= column.width + _BORDER
    for number, block in enumerate(blocks, start=1):
        yield _table(grid, grid.title if number == 1 else f"{grid.title}, continued", block, first)


def _table(grid: _Grid, title: str, columns: Sequence[_Column], first: int) -> Table:
    from rich.table import Table

    table = Table(title=_text(title))
    # widths are fixed: a table that is left to fit itself shortens numbers
    table.add_column(_text(grid.corner), width=first, overflow="fold")
    for column in columns:
        table.add_column(_text(column.head), width=column.width, justify="right", overflow="fold")
    for number, head in enumerate(grid.rows):
        table.add_row(_text(head), *(_text(column.scores[number]) for column in columns))
    if grid.tails:
        table.add_section()
    for number, head in enumerate(grid.tails):
        table.add_row(head, *(_text(column.texts[number]) for column in columns))
    table.width = first + sum(column.width for column in columns) + _BORDER * (len(columns) + 1) + 1
    return table


def _text(text: str) -> Text:
    from rich.text import Text

    return Text("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text))
