"""How an intervention's outcome is shown."""

from __future__ import annotations

from rich.table import Table

from tracescribe.runs import terminal
from tracescribe.runs.intervening import InterventionOutcome


def show_intervention(outcome: InterventionOutcome, as_json: bool) -> None:
    """Print the edits, and the most probable tokens before and after."""
    if as_json:
        terminal.print_json(outcome.to_json())
        return
    console = terminal.stdout()
    edits = Table(box=None, pad_edge=False)
    for heading in ("feature", "at", "activation", ""):
        edits.add_column(heading)
    for edit in outcome.edits:
        where = f"{edit.position} '{edit.token.strip()}'"
        edits.add_row(
            terminal.styled(edit.feature), terminal.styled(where), f"{edit.before:.3g}", f"-> {edit.after:.3g}"
        )
    console.print(edits)
    tokens = Table(box=None, pad_edge=False, title_justify="left")
    tokens.add_column("next token")
    for heading in ("before", "after", "change"):
        tokens.add_column(heading, justify="right")
    for token in outcome.tokens:
        change = token.after - token.before
        style = "green" if change > 0.01 else "red" if change < -0.01 else ""
        tokens.add_row(
            terminal.styled(token.token.strip()),
            _probability(token.before),
            _probability(token.after),
            terminal.styled(f"{change:+.3f}", style),
        )
    console.print()
    console.print(tokens)
    before, after = outcome.answer_before.strip(), outcome.answer_after.strip()
    told = f"The answer stays '{before}'." if before == after else f"The answer changes from '{before}' to '{after}'."
    console.print()
    console.print(terminal.styled(told, "bold"))


def _probability(value: float) -> str:
    return "< 0.001" if value < 0.0005 else f"{value:.3f}"
