"""`tracescribe agents`: who can interpret, the loop that all of them run, and what language models were asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tracescribe.runs.commands.options import Json, Prompt, Seed, finite

agents = typer.Typer(help="Agents: list, draw their loop, read a record of calls.", no_args_is_help=True)


@agents.command("list")
def list_all(as_json: Json = False) -> None:
    """List every agent, and the styles in which a language model can work, with a line on each."""
    from tracescribe.runs.agent_list import list_agents
    from tracescribe.runs.agent_views import show_agents

    show_agents(list_agents(), as_json)


@agents.command("try")
def try_one(
    spec: Annotated[str, typer.Argument(help="The agent, as --agent takes it: exec:./my_agent.py for one.")],
    case: Annotated[str | None, typer.Option(help="A case of the oracle suite; 'gold list' shows them.")] = None,
    prompt: Prompt = None,
    graph: Annotated[Path | None, typer.Option("--graph", "-g", help="A graph file, given without weights.")] = None,
    max_seconds: Annotated[float | None, typer.Option(min=0, callback=finite, help="Budget: most seconds.")] = None,
    agent_env: Annotated[
        list[str] | None,
        typer.Option(help="exec: and python: agents: an environment variable that they may see. May be repeated."),
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Run an agent on one case, and say what it answered and what is wrong with it; exit code 1 where it loses the case."""
    import tempfile

    from tracescribe.runs.agent_trial import TrialRequest, try_agent
    from tracescribe.runs.agent_views import show_trial

    request = TrialRequest(spec, case, prompt, graph, max_seconds, seed, tuple(agent_env or ()))
    with tempfile.TemporaryDirectory() as folder:
        trial = try_agent(request, Path(folder) / "calls.jsonl")
    show_trial(trial, as_json)
    if trial.failure is not None:
        raise typer.Exit(1)


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
