"""The leaderboard of a benchmark's folder, as the page shows it: one suite, one metric in plots, all in the table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.evals.benchmark.page.board import Board, SuiteBoard, read_board
from tracescribe.evals.benchmark.page.plots import Scale
from tracescribe.evals.benchmark.page.shown import Cell, ConfusionTable, MetricTable, PairRow, SuiteView
from tracescribe.evals.benchmark.page.suite_view import cell, suite_view
from tracescribe.evals.benchmark.store import BOARD, MANIFEST
from tracescribe.tracer.errors import InputError, OutputError

if TYPE_CHECKING:
    from tracescribe.evals.benchmark.page.board import AgentRow, MetricRow
    from tracescribe.evals.benchmark.page.plots import Scatter

MAX_BOARD_BYTES = 64 << 20
_KEPT = 4


@dataclass(frozen=True)
class BoardFile:
    """What a folder holds: a board, or why there is none (`running` or `missing`)."""

    board: Board | None
    why: str = ""


@dataclass(frozen=True)
class RankRow:
    """An agent in the plot of one metric; `mark` is its sign and colour."""

    agent: str
    mark: int
    cell: Cell
    control: str


@dataclass(frozen=True)
class TableRow:
    """An agent in the table; `lost` of `cases` have no score, by kind in `why`."""

    agent: str
    mark: int
    cells: tuple[Cell, ...]
    cases: int
    lost: int
    missing: int
    why: str
    seconds: Cell
    usd: Cell


@dataclass(frozen=True)
class Shown:
    """One suite with one metric chosen.

    Attributes:
        zero: where 0 stands in the ranking's bars; None where it is the left end.
        tasks, pairs: of the metric; `family` alone where one is chosen.
    """

    suite: SuiteView
    suites: tuple[str, ...]
    metric: MetricRow
    heads: tuple[MetricRow, ...]
    ranking: tuple[RankRow, ...]
    zero: float | None
    rows: tuple[TableRow, ...]
    paid: bool
    families: tuple[str, ...]
    family: str | None
    tasks: MetricTable | None
    pairs: MetricTable | None
    strongest: tuple[PairRow, ...]
    scatter: Scatter | None
    confusions: tuple[ConfusionTable, ...]


def open_board(folder: Path) -> BoardFile:
    """The board of a benchmark's folder.

    Raises:
        OutputError: it is damaged.
    """
    file = folder / BOARD
    try:
        status = file.stat()
        if status.st_size > MAX_BOARD_BYTES:
            raise OutputError(f"the leaderboard has {status.st_size} bytes; the limit is {MAX_BOARD_BYTES}")
        return BoardFile(_read(file, status.st_mtime_ns, status.st_size))
    except FileNotFoundError:
        return BoardFile(None, "running" if (folder / MANIFEST).is_file() else "missing")
    except OSError as error:
        raise OutputError(
            f"the leaderboard cannot be read: {error.strerror}; check the folder's permissions"
        ) from error


@lru_cache(maxsize=_KEPT)
def _read(file: Path, _changed: int, _size: int) -> Board:
    """Read again only when the file has changed."""
    try:
        document = json.loads(file.read_bytes())
    except ValueError as error:
        raise OutputError("the leaderboard is damaged; make it again with `tracescribe bench run`") from error
    if not isinstance(document, dict):
        raise OutputError("this is no leaderboard; make it again with `tracescribe bench run`")
    return read_board(document)


def shown_board(
    board: Board,
    suite: str | None = None,
    metric: str | None = None,
    family: str | None = None,
    sort: str | None = None,
    reverse: bool = False,
) -> Shown:
    """What the page shows.

    Args:
        suite: by name; None for the first.
        metric: what is plotted; None for the one that the suite is ranked by.
        family: of tasks; None for all.
        sort: a metric's name, `agent`, `seconds` or `lost`; None, and what the suite does not have, for the
            benchmark's order.
        reverse: the other way round.

    Raises:
        InputError: the board has no such suite.
    """
    own = _suite(board, suite)
    names = own.main or tuple(own.agents[0].scores if own.agents else ())
    chosen = _among(metric, names, own.ranked_by or next(iter(names), None))
    view = suite_view(board, own)
    head = board.metric(chosen or "")
    tasks = next((table for table in view.tasks if table.metric.name == chosen), None)
    families = tuple(dict.fromkeys(group.family for table in view.tasks for group in table.groups))
    family = _among(family, families, None)
    if tasks is not None and family is not None:
        groups = tuple(group for group in tasks.groups if group.family == family)
        tasks = MetricTable(tasks.metric, groups=groups, zero=tasks.zero)
    pairs = next((table for table in view.comparisons if table.metric.name == chosen), None)
    ranking, zero = _ranking(own, head, view)
    return Shown(
        suite=view,
        suites=tuple(one.suite for one in board.suites),
        metric=head,
        heads=view.heads,
        ranking=ranking,
        zero=zero,
        rows=_rows(own, view, sort, reverse),
        paid=view.paid,
        families=families,
        family=family,
        tasks=tasks,
        pairs=pairs,
        strongest=tuple(row for row in pairs.pairs if row.told_apart) if pairs else (),
        scatter=next((one for one in view.scatters if one.y_title == head.title), None),
        confusions=view.confusions,
    )


def _suite(board: Board, name: str | None) -> SuiteBoard:
    for one in board.suites:
        if name is None or one.suite == name:
            return one
    raise InputError(f"there is no suite {name!r} on this leaderboard; choose one of its own")


def _among(name: str | None, names: tuple[str, ...], usual: str | None) -> str | None:
    """What was chosen, as far as this suite has it: a choice made for another suite does no harm."""
    return name if name in names else usual


def _ranking(suite: SuiteBoard, metric: MetricRow, view: SuiteView) -> tuple[tuple[RankRow, ...], float | None]:
    """Agents by one metric, the best first, on one scale with what chance gives."""
    found = [(row, row.scores.get(metric.name), (row.control or {}).get(metric.name)) for row in suite.agents]
    ends = [end for _, score, control in found for one in (score, control) if one for end in (one.low, one.high)]
    scale = Scale.of(ends)
    marks = {row.agent: row.mark for row in view.board}
    best_first = -1.0 if metric.higher_is_better else 1.0
    found.sort(key=lambda one: (one[1] is None, best_first * one[1].value if one[1] else 0.0))
    rows = tuple(
        RankRow(
            row.agent,
            marks[row.agent],
            cell(score, scale, chance=None if control is None else control.value),
            "" if control is None else f"{control.value:.3f}",
        )
        for row, score, control in found
    )
    return rows, scale.place(0.0) if scale.first < 0 else None


def _rows(suite: SuiteBoard, view: SuiteView, sort: str | None, reverse: bool) -> tuple[TableRow, ...]:
    agents = {row.agent: row for row in suite.agents}
    rows = [
        TableRow(
            agent=row.agent,
            mark=row.mark,
            cells=row.cells,
            cases=row.scored + row.failed,
            lost=row.failed,
            missing=row.missing,
            why=_why(agents[row.agent]),
            seconds=row.seconds,
            usd=row.usd,
        )
        for row in view.board
    ]
    columns = {head.name: place for place, head in enumerate(view.heads)}
    if sort == "agent":
        rows.sort(key=lambda row: row.agent, reverse=reverse)
    elif sort in ("seconds", "lost") or sort in columns:
        down = sort in columns and view.heads[columns[sort]].higher_is_better

        def value(row: TableRow) -> float | None:
            if sort in columns:
                return row.cells[columns[sort]].sort
            return row.seconds.sort if sort == "seconds" else float(row.lost)

        sign = -1.0 if down != reverse else 1.0
        rows.sort(key=lambda row: (value(row) is None, sign * (value(row) or 0.0)))
    elif reverse:
        rows.reverse()
    return tuple(rows)


def _why(row: AgentRow) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in row.failures.items() if count)
