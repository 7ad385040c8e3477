"""How scores are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from tracescribe.runs import terminal

if TYPE_CHECKING:
    from tracescribe.evals.scores import Scores


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
