"""What the page shows of one suite: every number as text, every bar in pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tracescribe.evals.benchmark.page.board import AgentRow, Board, ControlValue, Gap, MetricRow, SuiteBoard, Value
from tracescribe.evals.benchmark.page.plots import N_MARKS, Point, Scale, Scatter, scatter
from tracescribe.evals.benchmark.page.shown import (
    BoardRow,
    Cell,
    ConfusionTable,
    ControlRow,
    MetricTable,
    PairRow,
    SuiteView,
    TaskGroup,
)

NOTHING = "–"
"""What stands where there was nothing to score."""
ALPHA = 0.05
"""Largest p value, corrected where it is, of agents that are told apart."""
NOT_TOLD_APART = "not told apart"
SHADES = 5
"""Steps by which cells of a table of counts are shaded."""
OUTCOMES = ("supported", "refuted", "inconclusive", "untested")
TRUTHS = ("true", "false", "unknown")


def suite_view(board: Board, suite: SuiteBoard) -> SuiteView:
    """Everything of one suite that comes from the leaderboard."""
    heads = tuple(board.metric(name) for name in suite.main)
    everyone = {agent: place % N_MARKS for place, agent in enumerate(board.agents)}
    marks = {row.agent: everyone[row.agent] for row in suite.agents}
    return SuiteView(
        name=suite.suite,
        circuits=suite.circuits,
        heads=heads,
        board=tuple(_board_row(row, suite, marks[row.agent]) for row in suite.agents),
        paid=any(row.cost.tokens or row.cost.usd for row in suite.agents),
        harmless=tuple(
            (agent, marks[agent], tuple(cell(found.get(name)) for name in suite.main))
            for agent, found in (suite.without_sensitive or {}).items()
            if agent in marks
        ),
        scatters=_scatters(suite, board, marks),
        tasks=tuple(table for metric in heads if (table := _tasks(suite, metric, marks)).groups),
        comparisons=tuple(table for metric in heads if (table := _pairs(suite, metric)).pairs),
        controls=tuple((metric, rows) for metric in heads if (rows := _controls(suite, metric, marks))),
        confusions=tuple(_confusion(row) for row in suite.agents if any(map(any, _counts(row)))),
        stability=_stability(board, suite, marks),
    )


def cell(found: Value | None, scale: Scale | None = None, chance: float | None = None) -> Cell:
    """An average with its interval."""
    if found is None:
        return Cell(NOTHING)
    bar = scale.bar(found.value, found.low, found.high, chance) if scale is not None else None
    told = "n = 1" if found.n_cases == 1 else _interval(found.low, found.high)  # one circuit has no interval
    return Cell(f"{found.value:.3f}", told, found.value, bar)


def _interval(low: float, high: float) -> str:
    """With a dash, or in words where a sign could be taken for one."""
    return f"{low:.2f}–{high:.2f}" if low >= 0 else f"{low:.2f} to {high:.2f}"


def _board_row(row: AgentRow, suite: SuiteBoard, mark: int) -> BoardRow:
    return BoardRow(
        agent=row.agent,
        mark=mark,
        cells=tuple(cell(row.scores.get(name)) for name in suite.main),
        scored=row.cases_scored,
        failed=row.cases_failed,
        missing=row.cases_missing,
        seconds=_amount(row.cost.seconds, ".2f"),
        tokens=_amount(row.cost.tokens, ",.0f"),
        usd=_amount(row.cost.usd, ".4f"),
    )


def _amount(value: float | None, form: str) -> Cell:
    return Cell(NOTHING) if value is None else Cell(format(value, form), sort=value)


def _scatters(suite: SuiteBoard, board: Board, marks: Mapping[str, int]) -> tuple[Scatter, ...]:
    if not suite.main:
        return ()
    metric = board.metric(suite.ranked_by or suite.main[0])
    costs: tuple[tuple[str, dict[str, float | None]], ...] = (
        ("seconds a case", {row.agent: row.cost.seconds for row in suite.agents}),
        ("US$ in all", {row.agent: row.cost.usd for row in suite.agents}),
    )
    found: list[Scatter] = []
    for title, cost_of in costs:
        points: list[Point] = []
        for row in suite.agents:
            cost, score = cost_of[row.agent], row.scores.get(metric.name)
            if cost is not None and score is not None:
                points.append(Point(row.agent, cost, score.value, score.low, score.high, marks[row.agent]))
        drawn = scatter(points, title, metric.title)
        if drawn is not None:
            found.append(drawn)
    return tuple(found)


def _scale_of(values: Iterable[Value | None], always: Sequence[float] = (0.0, 1.0)) -> Scale:
    return Scale.of([end for value in values if value is not None for end in (value.low, value.high)], always)


def _tasks(suite: SuiteBoard, metric: MetricRow, marks: Mapping[str, int]) -> MetricTable:
    found = {
        family: {agent: by_metric.get(metric.name) for agent, by_metric in agents.items()}
        for family, agents in suite.tasks.items()
    }
    scale = _scale_of(value for agents in found.values() for value in agents.values())
    groups = [
        TaskGroup(
            family,
            tuple((agent, marks[agent], cell(agents.get(agent), scale)) for agent in marks if agent in agents),
        )
        for family, agents in found.items()
        if any(value is not None for value in agents.values())
    ]
    return MetricTable(metric, groups=tuple(groups), zero=scale.place(0.0) if scale.first < 0 else None)


def _pairs(suite: SuiteBoard, metric: MetricRow) -> MetricTable:
    gaps = [(one, one.differences.get(metric.name)) for one in suite.comparisons]
    held = [end for _, gap in gaps if gap is not None for end in (gap.low, gap.high, gap.value)]
    widest = max((abs(end) for end in held), default=1.0) or 1.0
    scale = Scale.of([], (-widest, widest))
    rows = tuple(
        PairRow(
            one.first,
            one.second,
            Cell(f"{gap.value:+.3f}", f"{gap.low:+.3f} to {gap.high:+.3f}", gap.value, scale.bar(*_ends(gap))),
            _says(gap, metric),
            _is_told_apart(gap),
            _p(gap.p_value),
            _p(gap.p_holm),
        )
        for one, gap in gaps
        if gap is not None
    )
    least = [gap.detectable for _, gap in gaps if gap is not None and gap.detectable is not None]
    power = f"{max(least):.3f}" if least else ""
    return MetricTable(metric, pairs=rows, zero=scale.place(0.0), power=power)


def _ends(gap: Gap) -> tuple[float, float, float]:
    return gap.value, gap.low, gap.high


def _says(gap: Gap, metric: MetricRow) -> str:
    if gap.low <= 0 <= gap.high or (gap.p_value is not None and gap.p_value >= ALPHA):
        return NOT_TOLD_APART
    ahead = "first ahead" if (gap.value > 0) == metric.higher_is_better else "second ahead"
    return ahead if _is_told_apart(gap) else f"{ahead} alone, not among all comparisons"


def _is_told_apart(gap: Gap) -> bool:
    """Whether the interval and the p value, corrected where it is, both say so."""
    p = gap.p_value if gap.p_holm is None else gap.p_holm
    return not gap.low <= 0 <= gap.high and (p is None or p < ALPHA)


def _p(value: float | None) -> str:
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _controls(suite: SuiteBoard, metric: MetricRow, marks: Mapping[str, int]) -> tuple[ControlRow, ...]:
    found = [(row, row.scores.get(metric.name), (row.control or {}).get(metric.name)) for row in suite.agents]
    scale = _scale_of(value for _, score, control in found for value in (score, control))
    return tuple(
        ControlRow(
            row.agent,
            marks[row.agent],
            cell(score, scale, chance=None if control is None else control.value),
            cell(control, scale),
            _chance(control),
        )
        for row, score, control in found
        if control is not None
    )


def _chance(control: ControlValue) -> str:
    if control.chance is None:
        return NOTHING
    told = "" if control.at_chance is None else " (reached)" if control.at_chance else " (not reached)"
    return f"{control.chance:.3f}{told}"


def _counts(row: AgentRow) -> list[list[int]]:
    return [[row.confusion.get(outcome, {}).get(truth, 0) for truth in TRUTHS] for outcome in OUTCOMES]


def _confusion(row: AgentRow) -> ConfusionTable:
    counts = _counts(row)
    most = max(max(line) for line in counts) or 1
    return ConfusionTable(
        row.agent,
        tuple(
            (outcome, tuple((count, -(-count * SHADES // most)) for count in line))
            for outcome, line in zip(OUTCOMES, counts, strict=True)
        ),
    )


def _stability(
    board: Board, suite: SuiteBoard, marks: Mapping[str, int]
) -> tuple[tuple[MetricRow, tuple[tuple[str, int, Cell], ...]], ...]:
    names = dict.fromkeys(name for row in suite.agents for name in row.stability)
    tables = []
    for name in names:
        values = [(row.agent, row.stability.get(name)) for row in suite.agents]
        scale = _scale_of(value for _, value in values)
        rows = tuple((agent, marks[agent], cell(value, scale)) for agent, value in values if value is not None)
        if rows:
            tables.append((board.metric(name), rows))
    return tuple(tables)
