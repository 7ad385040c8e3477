"""How an intervention's outcome is shown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from tracescribe.runs import terminal
from tracescribe.runs.intervention_outcome import InterventionOutcome, TextShown
from tracescribe.runs.written_edits import EditShown


def show_intervention(outcome: InterventionOutcome, as_json: bool) -> None:
    """Print the edits, and the most probable tokens before and after."""
    if as_json:
        terminal.print_json(outcome.to_json())
        return
    console = terminal.stdout()
    console.print(_changes("edited", outcome.edits))
    tokens = Table(box=None, pad_edge=False, title_justify="left")
    tokens.add_column("next token")
    for heading in ("before", "after", "change", "place"):
        tokens.add_column(heading, justify="right")
    for token in outcome.tokens:
        change = token.after - token.before
        style = "green" if change > 0.01 else "red" if change < -0.01 else ""
        tokens.add_row(
            terminal.styled(token.token.strip()),
            _probability(token.before),
            _probability(token.after),
            terminal.styled(f"{change:+.3f}", style),
            f"{token.rank_before} -> {token.rank_after}" if token.rank_before != token.rank_after else "",
        )
    console.print()
    console.print(tokens)
    if outcome.readings:
        console.print()
        console.print(_changes("measured", outcome.readings))
    before, after = outcome.answer_before.strip(), outcome.answer_after.strip()
    told = f"The answer stays '{before}'." if before == after else f"The answer changes from '{before}' to '{after}'."
    console.print()
    console.print(terminal.styled(told, "bold"))
    for name, text in (("without the edits", outcome.text_before), ("with the edits", outcome.text_after)):
        if text is not None:
            console.print(_text(name, text))


def _changes(heading: str, changes: Sequence[EditShown]) -> Table:
    """A table of numbers before and after."""
    table = Table(box=None, pad_edge=False)
    for name in (heading, "at", "before", ""):
        table.add_column(name)
    for change in changes:
        where = f"{change.position} '{change.token.strip()}'"
        table.add_row(
            terminal.styled(change.feature), terminal.styled(where), f"{change.before:.3g}", f"-> {change.after:.3g}"
        )
    return table


def _text(name: str, text: TextShown) -> Text:
    """One continuation, on its own line."""
    end = "" if text.stopped else " ..."
    return terminal.styled(f"{name}: {text.text.strip()}{end}")


def _probability(value: float) -> str:
    return "< 0.001" if value < 0.0005 else f"{value:.3f}"
