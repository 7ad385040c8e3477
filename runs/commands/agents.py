"""`tracescribe agents`: who can interpret, the loop that all of them run, and what language models were asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tracescribe.runs.commands.options import Json

agents = typer.Typer(help="Agents: list, draw their loop, read a record of calls.", no_args_is_help=True)


@agents.command("list")
def list_all(as_json: Json = False) -> None:
    """List every agent, and the styles in which a language model can work, with a line on each."""
    from tracescribe.runs.agent_list import list_agents
    from tracescribe.runs.agent_views import show_agents

    show_agents(list_agents(), as_json)


@agents.command("graph")
def graph(
    form: Annotated[
        Literal["mermaid", "json"], typer.Option("--format", help="Text that Mermaid draws, or nodes and edges.")
    ] = "mermaid",
    out: Annotated[Path | None, typer.Option(help="Write it to a file.")] = None,
    as_json: Json = False,
) -> None:
    """Draw the loop that every agent runs, as it is compiled; no model is loaded."""
    from tracescribe.runs.agent_list import draw_loop
    from tracescribe.runs.agent_views import show_drawing

    show_drawing(draw_loop("json" if as_json else form, out), out)


@agents.command("ledger")
def ledger(
    file: Annotated[Path, typer.Argument(help="A record of calls: llm_calls.jsonl in a report's folder.")],
    as_json: Json = False,
) -> None:
    """Sum up a record of language-model calls: answered, failed, sent again, tokens, money, seconds."""
    from tracescribe.runs.agent_list import read_ledger
    from tracescribe.runs.agent_views import show_ledger

    show_ledger(read_ledger(file), as_json)
