"""`tracescribe score`: a report against gold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracescribe.runs.commands.options import Json


def score(
    report: Annotated[Path, typer.Argument(help="A report: its folder, or its report.json.")],
    gold: Annotated[
        str | None,
        typer.Argument(
            help="A gold file, or the id of an oracle circuit; without it, the oracle's of the same prompt."
        ),
    ] = None,
    graph: Annotated[
        Path | None, typer.Option(help="The unpruned graph of the report; without it, graph.json beside the report.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Score a report against a circuit whose truth is known. 'tracescribe bench run' scores agents on many circuits."""
    from tracescribe.runs.score_view import show_scores
    from tracescribe.runs.scoring import score_one

    show_scores(score_one(report, gold, graph), as_json)
