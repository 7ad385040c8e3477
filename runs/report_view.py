"""How a report is told on a terminal: the story with its verdicts, the counts, and where the pages are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from tracescribe.runs import terminal

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport
    from tracescribe.runs.interpreting import Interpretation

_MARKS = {
    "supported": ("✓", "green"),
    "refuted": ("✗", "red"),
    "inconclusive": ("?", "yellow"),
    "untested": ("–", "dim"),
}


def show_interpretation(outcome: Interpretation, as_json: bool) -> None:
    """Print a report's story, counts and files."""
    if as_json:
        terminal.print_json(outcome.to_json())
        return
    show_story(outcome.report)
    show_counts(outcome.report)
    show_files(outcome)


def show_story(report: CircuitReport) -> None:
    """Print the prompt, the answer, and each sentence with the verdicts of the claims that it rests on."""
    console = terminal.stdout()
    console.print()
    answers = ", ".join(f"'{target.token.strip()}' (p {target.probability:.2f})" for target in report.targets[:3])
    console.print(terminal.styled(f"{report.prompt} -> {answers}", "bold"))
    if not report.tested:
        console.print(terminal.styled("Hypotheses only: nothing was tested.", "bold yellow"))
    if report.cut_short:
        console.print(terminal.styled(f"Cut short: {report.cut_short}", "bold yellow"))
    outcomes = {verdict.claim_id: verdict.outcome for verdict in report.verdicts}
    story = Table.grid(padding=(0, 1))
    story.add_column(no_wrap=True)
    story.add_column(overflow="fold")
    for sentence in report.summary:
        marks = Text()
        for claim in sentence.claims:
            mark, style = _MARKS[outcomes[claim]]
            marks.append(mark, style=style)
        line = terminal.styled(sentence.text)
        line.append(f" [{', '.join(sentence.claims)}]", style="dim")
        story.add_row(marks, line)
    console.print(story)


def show_counts(report: CircuitReport) -> None:
    """Print how many claims had which verdict, and what went wrong on the way."""
    console = terminal.stdout()
    console.print()
    line = Text(f"{len(report.claims)} claims: ")
    told = [(outcome, count) for outcome, count in report.verdict_counts().items() if count]
    for number, (outcome, count) in enumerate(told):
        mark, style = _MARKS[outcome]
        line.append(", " if number else "")
        line.append(f"{mark} {count} {outcome}", style=style)
    console.print(line)
    for failure in report.failures:
        console.print(terminal.styled(f"step {failure.step} failed: {failure.error}", "yellow"))


def show_files(outcome: Interpretation) -> None:
    """Print where the report lies."""
    console = terminal.stdout()
    console.print()
    console.print(terminal.styled(f"report: {outcome.files.html}"), soft_wrap=True)
    console.print(terminal.styled(f"        {outcome.files.json}"), soft_wrap=True)
