"""Tables of a benchmark: averages with intervals, and paired comparisons, as data, Markdown and for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracescribe.evals.benchmark.running import BenchResult
from tracescribe.evals.scorers.metric import Metric
from tracescribe.evals.scores import HEADLINES, METRICS
from tracescribe.evals.statistics.averages import Average, Difference, average, by_family, compare

if TYPE_CHECKING:
    from rich.table import Table

NO_SCORE = "–"
"""What a table shows where no case had anything to score."""


@dataclass(frozen=True)
class AgentRow:
    """One agent in a table.

    Attributes:
        averages: by metric name.
        n_scored, n_failed: cases.
        seconds: mean per scored case; None without one.
        verdicts: number of claims by outcome, over all cases.
    """

    agent: str
    averages: dict[str, Average | None]
    n_scored: int
    n_failed: int
    seconds: float | None
    verdicts: dict[str, int]


@dataclass(frozen=True)
class Comparison:
    """One agent against another on the cases that both answered; `differences` by metric name."""

    first: str
    second: str
    differences: dict[str, Difference | None]

    def standing(self, metric: Metric) -> str:
        """Where the first agent stands on average, in words; a difference whose interval holds 0 is said to be unclear."""
        difference = self.differences[metric.name]
        if difference is None:
            return "not comparable"
        if difference.value == 0:
            return "level"
        word = "ahead" if (difference.value > 0) == metric.higher_is_better else "BEHIND"
        return word if difference.low > 0 or difference.high < 0 else f"{word} (unclear)"


@dataclass(frozen=True)
class Leaderboard:
    """A benchmark in tables.

    Attributes:
        rows: agents in the order they were given.
        comparisons: the first agent against every other.
        families: agent -> family -> metric -> average.
    """

    rows: tuple[AgentRow, ...]
    comparisons: tuple[Comparison, ...]
    families: dict[str, dict[str, dict[str, Average | None]]]

    def to_json(self) -> dict[str, object]:
        """The tables as plain JSON values."""
        return {
            "schema_id": "tracescribe-leaderboard/1",
            "metrics": [_metric_json(metric) for metric in METRICS],
            "agents": [_row_json(row) for row in self.rows],
            "comparisons": [_comparison_json(comparison) for comparison in self.comparisons],
            "families": {
                agent: {family: _values(found) for family, found in families.items()}
                for agent, families in self.families.items()
            },
        }

    def to_markdown(self, metrics: Sequence[Metric] = HEADLINES) -> str:
        """The averages as a Markdown table, one row an agent."""
        heads = ["agent", *(metric.title for metric in metrics), "cases", "failed", "s / case"]
        lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
        lines += ["| " + " | ".join(_cells(row, metrics)) + " |" for row in self.rows]
        return "\n".join(lines) + "\n"

    def to_rich(self, metrics: Sequence[Metric] = HEADLINES) -> Table:
        """The averages as a terminal table, one row a metric so that narrow terminals hold it."""
        from rich.table import Table

        table = Table(title="Scores against gold (mean, 95 % bootstrap interval over cases)")
        table.add_column("score")
        for row in self.rows:
            table.add_column(row.agent, justify="right")
        for metric in metrics:
            title = metric.title if metric.higher_is_better else f"{metric.title} (lower is better)"
            table.add_row(title, *(_score(row, metric) for row in self.rows))
        table.add_section()
        table.add_row("cases scored", *(str(row.n_scored) for row in self.rows))
        table.add_row("cases failed", *(str(row.n_failed) for row in self.rows))
        table.add_row("seconds per case", *(_seconds(row) for row in self.rows))
        return table

    def comparison_markdown(self, metrics: Sequence[Metric] = HEADLINES) -> str:
        """Paired differences as a Markdown table, one row a comparison."""
        lines = ["| difference | " + " | ".join(metric.title for metric in metrics) + " |"]
        lines.append("| --- |" + " ---: |" * len(metrics))
        for comparison in self.comparisons:
            cells = [_difference(comparison.differences[metric.name]) for metric in metrics]
            lines.append(f"| {comparison.first} − {comparison.second} | " + " | ".join(cells) + " |")
        return "\n".join(lines) + "\n"


def make_leaderboard(bench: BenchResult) -> Leaderboard:
    """Average and compare the agents of a benchmark; the first agent is compared with each of the others."""
    agents = list(bench.results)
    rows = tuple(_row(bench, agent) for agent in agents)
    comparisons = tuple(_compare(bench, agents[0], other) for other in agents[1:])
    families = {
        agent: {
            family: {metric.name: average(members, metric) for metric in METRICS}
            for family, members in by_family(list(bench.scores(agent).values())).items()
        }
        for agent in agents
    }
    return Leaderboard(rows, comparisons, families)


def _row(bench: BenchResult, agent: str) -> AgentRow:
    scores = list(bench.scores(agent).values())
    scored = [result for result in bench.results[agent] if result.status == "scored"]
    verdicts: dict[str, int] = {}
    for result in scored:
        for outcome, count in result.verdicts.items():
            verdicts[outcome] = verdicts.get(outcome, 0) + count
    return AgentRow(
        agent=agent,
        averages={metric.name: average(scores, metric) for metric in METRICS},
        n_scored=len(scored),
        n_failed=len(bench.failures(agent)),
        seconds=sum(result.seconds for result in scored) / len(scored) if scored else None,
        verdicts=verdicts,
    )


def _compare(bench: BenchResult, first: str, second: str) -> Comparison:
    a, b = bench.scores(first), bench.scores(second)
    return Comparison(first, second, {metric.name: compare(a, b, metric) for metric in METRICS})


def _cells(row: AgentRow, metrics: Sequence[Metric]) -> list[str]:
    scores = [_score(row, metric) for metric in metrics]
    return [row.agent, *scores, str(row.n_scored), str(row.n_failed), _seconds(row)]


def _score(row: AgentRow, metric: Metric) -> str:
    """Average with its interval; the number of cases behind it where that is not all of them."""
    found = row.averages[metric.name]
    if found is None:
        return NO_SCORE
    few = "" if found.n_cases == row.n_scored else f", n={found.n_cases}"
    return f"{found.value:.2f} ({found.low:.2f}–{found.high:.2f}{few})"


def _difference(found: Difference | None) -> str:
    return NO_SCORE if found is None else f"{found.value:+.2f} ({found.low:+.2f} to {found.high:+.2f})"


def _seconds(row: AgentRow) -> str:
    return NO_SCORE if row.seconds is None else f"{row.seconds:.1f}"


def _metric_json(metric: Metric) -> dict[str, object]:
    return {
        "name": metric.name,
        "title": metric.title,
        "meaning": metric.meaning,
        "average": metric.average,
        "headline": metric.headline,
        "higher_is_better": metric.higher_is_better,
    }


def _values(found: dict[str, Average | None]) -> dict[str, object]:
    return {name: None if value is None else vars(value) for name, value in found.items()}


def _row_json(row: AgentRow) -> dict[str, object]:
    return {
        "agent": row.agent,
        "cases_scored": row.n_scored,
        "cases_failed": row.n_failed,
        "seconds_per_case": row.seconds,
        "verdicts": row.verdicts,
        "scores": _values(row.averages),
    }


def _comparison_json(comparison: Comparison) -> dict[str, object]:
    return {
        "first": comparison.first,
        "second": comparison.second,
        "differences": {name: None if value is None else vars(value) for name, value in comparison.differences.items()},
    }
