"""How prompt templates are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from tracescribe.runs import terminal

if TYPE_CHECKING:
    from tracescribe.prompts import PromptTemplate


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
