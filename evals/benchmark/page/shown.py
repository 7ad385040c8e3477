"""What the page's template reads: rows and cells, every number a text already."""

from __future__ import annotations

from dataclasses import dataclass

from tracescribe.evals.benchmark.page.board import MetricRow
from tracescribe.evals.benchmark.page.plots import Bar, Scatter


@dataclass(frozen=True)
class Cell:
    """A value in a table.

    Attributes:
        text: the value; `–` where there is none.
        interval: in words; empty where there is none.
        sort: what the column is sorted by; None comes last.
        bar: on its table's scale; None where there is no value.
    """

    text: str
    interval: str = ""
    sort: float | None = None
    bar: Bar | None = None


@dataclass(frozen=True)
class BoardRow:
    """An agent on the board; `mark` is its shape and colour."""

    agent: str
    mark: int
    cells: tuple[Cell, ...]
    scored: int
    failed: int
    missing: int
    seconds: Cell
    tokens: Cell
    usd: Cell


@dataclass(frozen=True)
class TaskGroup:
    """One task: a cell for every agent that has it."""

    family: str
    rows: tuple[tuple[str, int, Cell], ...]


@dataclass(frozen=True)
class MetricTable:
    """Rows of one metric: by task, or by pair of agents.

    Attributes:
        zero: where 0 stands in the bars; None where it is the left end.
        power: the smallest difference that every pair of the table would show with 80 % power; empty where unknown.
    """

    metric: MetricRow
    groups: tuple[TaskGroup, ...] = ()
    pairs: tuple[PairRow, ...] = ()
    zero: float | None = None
    power: str = ""


@dataclass(frozen=True)
class PairRow:
    """One agent against another: the difference, what it means, and its p values.

    Attributes:
        told_apart: whether that holds among all comparisons too, not in this one alone.
    """

    first: str
    second: str
    cell: Cell
    says: str
    told_apart: bool
    p: str
    corrected: str


@dataclass(frozen=True)
class ControlRow:
    """An agent's score beside the same answers held against shuffled gold, and what chance gives."""

    agent: str
    mark: int
    score: Cell
    control: Cell
    chance: str


@dataclass(frozen=True)
class ConfusionTable:
    """Verdicts of one agent by what is true; a cell is (count, shade)."""

    agent: str
    rows: tuple[tuple[str, tuple[tuple[int, int], ...]], ...]


@dataclass(frozen=True)
class SuiteView:
    """One suite on the page.

    Attributes:
        paid: whether any agent used tokens or money.
        harmless: (agent, mark, cells) without circuits whose prompts are about harm; empty where there are none.
    """

    name: str
    circuits: int
    heads: tuple[MetricRow, ...]
    board: tuple[BoardRow, ...]
    paid: bool
    harmless: tuple[tuple[str, int, tuple[Cell, ...]], ...]
    scatters: tuple[Scatter, ...]
    tasks: tuple[MetricTable, ...]
    comparisons: tuple[MetricTable, ...]
    controls: tuple[tuple[MetricRow, tuple[ControlRow, ...]], ...]
    confusions: tuple[ConfusionTable, ...]
    stability: tuple[tuple[MetricRow, tuple[tuple[str, int, Cell], ...]], ...]
