"""How prompt templates are shown."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table

from tracescribe.runs import terminal

if TYPE_CHECKING:
    from tracescribe.prompts import PromptTemplate
    from tracescribe.runs.prompt_checking import PromptCheck, PromptDiff

_DIFF_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def show_prompts(templates: tuple[PromptTemplate, ...], as_json: bool) -> None:
    """Print one line for each version of each template."""
    if as_json:
        kept = {"system", "user"}
        terminal.print_json([template.model_dump(mode="json", exclude=kept) for template in templates])
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("template", no_wrap=True)
    for heading in ("sha256", "inputs", "answer", "change"):
        table.add_column(heading, overflow="fold")
    for template in templates:
        inputs = ", ".join(template.inputs)
        row = (template.reference, template.sha256[:8], inputs, template.output_schema, template.change_note)
        table.add_row(*(terminal.styled(" ".join(cell.split())) for cell in row))
    terminal.stdout().print(table)


def show_prompt(template: PromptTemplate, as_json: bool) -> None:
    """Print one template: what it is, and both of its messages."""
    if as_json:
        terminal.print_json(template.model_dump(mode="json"))
        return
    console = terminal.stdout()
    console.print(terminal.styled(f"{template.reference}  sha256 {template.sha256}", "bold"), soft_wrap=True)
    console.print(terminal.styled(f"answer: {template.output_schema}"))
    for name, about in template.inputs.items():
        console.print(terminal.styled(f"input {name} ({about.kind}): {about.about}"))
    for heading, text in (("system", template.system), ("user", template.user)):
        console.print()
        console.print(terminal.styled(f"--- {heading} ---", "bold"))
        for line in text.splitlines():
            console.print(terminal.styled(line), soft_wrap=True)


def show_diff(diff: PromptDiff, as_json: bool) -> None:
    """Print a unified diff, coloured on a terminal."""
    if as_json:
        terminal.print_json(asdict(diff))
        return
    console = terminal.stdout()
    if not diff.lines:
        console.print(terminal.styled(f"{diff.before} and {diff.after} are the same"), soft_wrap=True)
    for number, line in enumerate(diff.lines):
        # the first two lines name the files; a changed line may itself begin like one of them
        style = "bold" if number < 2 else _DIFF_STYLES.get(line[:1], "")
        console.print(terminal.styled(line, style), soft_wrap=True)


def show_check(check: PromptCheck, as_json: bool) -> None:
    """Print every fault on a line, then how many versions were checked and which are not locked."""
    if as_json:
        terminal.print_json(asdict(check))
        return
    console = terminal.stdout()
    for fault in check.faults:
        console.print(terminal.styled(f"✗ {fault}", "red"), soft_wrap=True)
    if check.added:
        console.print(terminal.styled(f"locked: {', '.join(check.added)}"), soft_wrap=True)
    if check.unreleased:
        console.print(terminal.styled(f"not released yet: {', '.join(check.unreleased)}", "yellow"), soft_wrap=True)
    verdict = f"{len(check.faults)} faults" if check.faults else "no fault"
    console.print(f"{len(check.checked)} versions checked: {verdict}")
