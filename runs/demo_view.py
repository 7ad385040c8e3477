"""How the demo is told."""

from __future__ import annotations

from rich.table import Table

from tracescribe.runs import terminal
from tracescribe.runs.demo import DemoOutcome
from tracescribe.runs.report_view import show_counts, show_files, show_story


def show_demo(outcome: DemoOutcome, as_json: bool) -> None:
    """Print the story, the verdict counts, the scores, and where the report is."""
    if as_json:
        terminal.print_json(outcome.to_json())
        return
    found = outcome.interpretation
    show_story(found.report)
    show_counts(found.report)
    console = terminal.stdout()
    console.print()
    heading = f"Scores against the known circuit of this prompt ({outcome.gold_id}); 1 is perfect:"
    console.print(terminal.styled(heading, "bold"))
    console.print(_scores(outcome))
    show_files(found)
    console.print(f"Open the page in a browser. All of this took {sum(found.seconds.values()):.0f} seconds.")


def _scores(outcome: DemoOutcome) -> Table:
    """The report's scores beside those of the baselines."""
    from tracescribe.evals.scores import HEADLINES

    columns = {"this report": outcome.scores, **outcome.baselines}
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for metric in HEADLINES:
        values = [scores.value(metric.name) for scores in columns.values()]
        if all(value is None for value in values):
            continue  # this circuit cannot give the score: one feature in each group leaves no partition to compare
        title = metric.title if metric.higher_is_better else f"{metric.title} (lower is better)"
        table.add_row(title, *("–" if value is None else f"{value:.2f}" for value in values))
    return table
