"""How the doctor's findings are shown."""

from __future__ import annotations

from dataclasses import asdict

from rich.table import Table

from tracescribe.runs import terminal
from tracescribe.runs.doctor import Finding, healthy

_MARK = {"ok": ("✓ ok", "green"), "optional": ("– optional", "yellow"), "broken": ("✗ broken", "bold red")}


def show_findings(findings: tuple[Finding, ...], as_json: bool) -> None:
    """Print the findings as a table, or as JSON with `healthy` on top."""
    if as_json:
        terminal.print_json({"healthy": healthy(findings), "findings": [asdict(finding) for finding in findings]})
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("", "what", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        mark, style = _MARK[finding.status]
        table.add_row(
            terminal.styled(mark, style),
            terminal.styled(finding.name, "bold"),
            terminal.styled(finding.found),
            terminal.styled(finding.cure),
        )
    console = terminal.stdout()
    console.print(table)
    verdict = "Everything that is needed is here." if healthy(findings) else "Something is broken: see above."
    console.print(verdict)
