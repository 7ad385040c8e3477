"""`tracescribe bench stability`: the same case, again and again, with other seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracescribe.runs.commands.options import Json, Seed


def stability(
    cases: Annotated[int, typer.Option("--cases", min=1, help="Prompts of the oracle, of every task in turn.")] = 1,
    passes: Annotated[int, typer.Option("--passes", min=2, help="Times that each agent interprets each prompt.")] = 5,
    agent: Annotated[
        list[str] | None,
        typer.Option("--agent", help="offline, truthful or adversary; again for more. All by default."),
    ] = None,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Also write the result to this JSON file.")] = None,
    as_json: Json = False,
) -> None:
    """How much an interpretation changes with the seed: features selected, and verdicts that flip."""
    from tracescribe.runs.judge_bench import run_stability_command
    from tracescribe.runs.judge_view import show_stability

    names = tuple(agent or ())
    result = run_stability_command(cases=cases, passes=passes, agents=names, seed=seed, out=out)
    show_stability(result, as_json)
