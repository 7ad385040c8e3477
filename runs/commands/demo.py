"""`tracescribe demo`: the whole job in under a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracescribe.runs.commands.options import Json, Seed


def demo(
    out: Annotated[Path, typer.Option(help="The report's folder.")] = Path("tracescribe-workspace/demo"),
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Watch a circuit being traced, labelled, grouped, tested, reported and scored; offline, under a minute.

    The prompt is 'the capital of the state containing Dallas is', the model the embedded one.
    """
    from tracescribe.runs.demo import run_demo
    from tracescribe.runs.demo_view import show_demo

    show_demo(run_demo(out, seed), as_json)
