"""How scores are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from tracescribe.runs import terminal

if TYPE_CHECKING:
    from tracescribe.evals.scores import Scores
    from tracescribe.runs.scoring import OracleOutcome


def show_scores(scores: Scores, as_json: bool) -> None:
    """Print every score of one report with what it means."""
    if as_json:
        terminal.print_json(scores.model_dump(mode="json"))
        return
    terminal.stdout().print(scores_table(scores))


def scores_table(scores: Scores) -> Table:
    """The scores of one report as a table; a score without anything to score shows a dash."""
    from tracescribe.evals.scores import METRICS

    table = Table(box=None, pad_edge=False)
    table.add_column("score", no_wrap=True)
    table.add_column("value", justify="right")
    table.add_column("what it means", overflow="fold")
    for metric in METRICS:
        value = scores.value(metric.name)
        meaning = metric.meaning if metric.higher_is_better else f"{metric.meaning} (lower is better)"
        table.add_row(metric.title, "–" if value is None else f"{value:.2f}", terminal.styled(meaning))
    return table


def show_leaderboard(outcome: OracleOutcome, as_json: bool) -> None:
    """Print the averages of every agent, and whether the first is ahead of the others."""
    from tracescribe.evals.scores import HEADLINES

    failures = [
        {"agent": agent, "gold_id": result.gold_id, "error": result.error}
        for agent in outcome.bench.results
        for result in outcome.bench.failures(agent)
    ]
    if as_json:
        told = outcome.board.to_json()
        terminal.print_json({**told, "failures": failures, "folder": str(outcome.folder)})
        return
    console = terminal.stdout()
    console.print(outcome.board.to_rich())
    for comparison in outcome.board.comparisons:
        standing = ", ".join(f"{metric.title} {comparison.standing(metric)}" for metric in HEADLINES)
        console.print(terminal.styled(f"{comparison.first} against {comparison.second}: {standing}"))
    for failure in failures:
        console.print(terminal.styled(f"failed: {failure['agent']} on {failure['gold_id']}: {failure['error']}"))
    console.print(terminal.styled(f"results: {outcome.folder}"), soft_wrap=True)
