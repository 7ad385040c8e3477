"""How the demo is told."""

from __future__ import annotations

from tracescribe.runs import terminal
from tracescribe.runs.demo import DemoOutcome
from tracescribe.runs.report_view import show_counts, show_files, show_story
from tracescribe.runs.score_view import scores_table


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
    console.print(terminal.styled(f"Scores against the known circuit of this prompt ({outcome.gold_id}):", "bold"))
    console.print(scores_table(outcome.scores, headlines_only=True))
    show_files(found)
    console.print(f"Open the page in a browser. It took {sum(found.seconds.values()):.0f} seconds.")
