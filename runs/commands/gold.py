"""`tracescribe gold`: circuits whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracescribe.runs.commands.options import Json, Seed

gold = typer.Typer(help="Gold circuits, whose truth is known: list, show, build the oracle's.", no_args_is_help=True)

GoldFile = Annotated[
    Path | None, typer.Option("--file", help="A gold file; without it, the oracle gold of the embedded model.")
]


@gold.command("list")
def list_circuits(file: GoldFile = None, as_json: Json = False) -> None:
    """List gold circuits: prompt, answer, concepts, and what each can score."""
    from tracescribe.runs.gold_files import open_gold
    from tracescribe.runs.gold_view import show_gold_list

    show_gold_list(open_gold(file), as_json)


@gold.command("show")
def show(
    gold_id: Annotated[str, typer.Argument(help="A circuit's id, as 'gold list' shows it.")],
    file: GoldFile = None,
    as_json: Json = False,
) -> None:
    """Show one gold circuit: supernodes, edges, and what was observed when its concepts were changed."""
    from tracescribe.runs.gold_files import open_gold
    from tracescribe.runs.gold_view import show_gold

    show_gold(open_gold(file).circuit(gold_id), as_json)


@gold.command("build")
def build(
    out: Annotated[
        Path | None, typer.Option(help="The gold file; without it, the oracle gold that ships is renewed.")
    ] = None,
    seed: Seed = 7,
    as_json: Json = False,
) -> None:
    """Build the oracle gold of the embedded model: known by construction, every effect observed by intervention."""
    from tracescribe.runs.gold_files import build_gold
    from tracescribe.runs.gold_view import show_gold_build

    show_gold_build(*build_gold(out, seed), as_json)
