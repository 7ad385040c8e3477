"""A leaderboard for people: Markdown, cells, and what the tables say in words; see `terminal_tables` for terminals."""

from __future__ import annotations

from collections.abc import Sequence

from tracescribe.evals.benchmark.board_scores import RANKED_BY
from tracescribe.evals.benchmark.leaderboard import OVERALL, AgentRow, Leaderboard, SuiteBoard
from tracescribe.evals.scorers.metric import Metric
from tracescribe.evals.statistics.averages import Average, Difference

NO_SCORE = "–"
"""What a table shows where no case had anything to score."""


def markdown(board: Leaderboard) -> str:
    """Every suite as Markdown: the table, the comparisons, the tasks, and what they say."""
    lines: list[str] = []
    for suite in board.suites:
        lines += [f"## {_cell(suite.suite)}: {suite.n_circuits} circuits", "", *_main_lines(suite), ""]
        if suite.comparisons:
            lines += [*_comparison_lines(suite), ""]
        if len(suite.tasks) > 1:
            lines += [*_task_lines(suite), ""]
        if suite.without_sensitive is not None:
            lines += [*_without_lines(suite), ""]
        lines += [*(f"- {_cell(line)}" for line in sentences(suite)), ""]
    return "\n".join(lines)


def _main_lines(suite: SuiteBoard) -> list[str]:
    heads = ["agent", *(title_of(metric) for metric in suite.main), "cases", "failed", "s / case", "USD"]
    rows = [
        [_cell(row.agent), *(told(row.averages.get(m.name), row.n_scored) for m in suite.main), *tail_of(row)]
        for row in suite.rows
    ]
    rows += [
        [f"{_cell(row.agent)}, gold shuffled", *control_cells(suite, row), *[""] * 4] for row in controls_of(suite)
    ]
    return _table(heads, rows)


def controls_of(suite: SuiteBoard) -> tuple[AgentRow, ...]:
    return tuple(row for row in suite.rows if row.control)


def control_cells(suite: SuiteBoard, row: AgentRow) -> list[str]:
    """What the same answers score against shuffled gold, and what chance gives."""
    found = {one.metric.name: one for one in row.control}
    held = [found.get(metric.name) for metric in suite.main]
    return [NO_SCORE if one is None else f"{one.shuffled.value:.2f} (chance {one.chance:.2f})" for one in held]


def _comparison_lines(suite: SuiteBoard) -> list[str]:
    heads = ["difference", *(title_of(metric) for metric in suite.main)]
    rows = [
        [f"{_cell(one.first)} − {_cell(one.second)}", *(difference(one.differences.get(m.name)) for m in suite.main)]
        for one in suite.comparisons
    ]
    return _table(heads, rows)


def _task_lines(suite: SuiteBoard) -> list[str]:
    overall = [] if suite.ranked_by is None else [suite.ranked_by]
    agents = [row.agent for row in suite.rows]
    heads = [f"{overall[0].title if overall else 'score'} by task", *map(_cell, agents)]
    rows = [
        [_cell(family), *(told(found.get(agent, {}).get(m.name)) for agent in agents for m in overall)]
        for family, found in suite.tasks.items()
    ]
    return _table(heads, rows)


def _without_lines(suite: SuiteBoard) -> list[str]:
    assert suite.without_sensitive is not None
    heads = ["without sensitive prompts", *(title_of(metric) for metric in suite.main)]
    rows = [
        [_cell(row.agent), *(told(suite.without_sensitive[row.agent].get(m.name)) for m in suite.main)]
        for row in suite.rows
    ]
    return _table(heads, rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _cell(text: str) -> str:
    """Untrusted text in a cell: nothing in it ends the cell or the line, or is a tag."""
    flat = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))
    return flat.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'")


def title_of(metric: Metric) -> str:
    return metric.title if metric.higher_is_better else f"{metric.title} (lower is better)"


def tail_of(row: AgentRow) -> list[str]:
    seconds = NO_SCORE if row.cost.seconds is None else f"{row.cost.seconds:.1f}"
    usd = NO_SCORE if row.cost.usd is None else f"{row.cost.usd:.2f}"
    return [str(row.n_scored), _failed(row), seconds, usd]


def _failed(row: AgentRow) -> str:
    missing = f" (+{row.missing} not run)" if row.missing else ""
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(row.failures.items()))
    return (f"{row.n_failed}: {kinds}" if kinds else str(row.n_failed)) + missing


def told(found: Average | None, n_scored: int | None = None) -> str:
    """An average with its interval; the number of cases behind it where that is not all of them."""
    if found is None:
        return NO_SCORE
    if found.n_cases == 1:
        return f"{found.value:.2f} (n=1)"  # one circuit has no interval
    few = "" if n_scored is None or found.n_runs == n_scored else f", n={found.n_cases}"
    return f"{found.value:.2f} ({found.low:.2f}–{found.high:.2f}{few})"


def difference(found: Difference | None) -> str:
    """A difference with its interval and its p value."""
    if found is None:
        return NO_SCORE
    p = "" if found.p_holm is None else f", p {found.p_holm:.3f}" if found.p_holm >= 0.001 else ", p < 0.001"
    return f"{found.value:+.2f} ({found.low:+.2f} to {found.high:+.2f}{p})"


def sentences(suite: SuiteBoard) -> list[str]:
    """What a table says, in words: who is ahead of whom, what the suite can see, whether the control is at chance."""
    lines: list[str] = []
    if suite.ranked_by is not None and suite.ranked_by.name == RANKED_BY.name:
        lines.append(
            f"cases failed: agents are sorted by {RANKED_BY.title}; every other score is of answered cases alone"
        )
    for one in suite.comparisons:
        standing = ", ".join(f"{metric.title} {one.standing(metric)}" for metric in suite.main)
        lines.append(f"{one.first} against {one.second}: {standing}")
    seen = [one.differences.get(OVERALL) for one in suite.comparisons]
    powers = [found.detectable for found in seen if found is not None and found.detectable is not None]
    if powers:
        lines.append(
            f"power: a difference of {max(powers):.2f} in {OVERALL} would be seen four times in five (alpha 0.05)"
        )
    for row in controls_of(suite):
        decided = [one for one in row.control if one.at_chance is not None]
        off = [one.metric.title for one in decided if not one.at_chance]
        if decided:
            verdict = "all at chance" if not off else f"NOT at chance: {', '.join(off)}"
            lines.append(
                f"control: {row.agent}, the agent named first, against shuffled gold: {len(decided)} scores, {verdict}"
            )
    return [f"{suite.suite}: {line}" for line in lines]
