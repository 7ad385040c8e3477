"""`tracescribe score`: a report against gold, or agents against the oracle's cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracescribe.runs.commands.options import Json, Seed


def score(
    report: Annotated[
        Path | None, typer.Argument(help="A report: its folder, or its report.json. Left out with --oracle.")
    ] = None,
    gold: Annotated[
        str | None,
        typer.Argument(
            help="A gold file, or the id of an oracle circuit; without it, the oracle's of the same prompt."
        ),
    ] = None,
    graph: Annotated[
        Path | None, typer.Option(help="The unpruned graph of the report; without it, graph.json beside the report.")
    ] = None,
    oracle: Annotated[
        bool, typer.Option("--oracle", help="Run agents on the oracle's cases and compare them.")
    ] = False,
    agent: Annotated[
        list[str] | None,
        typer.Option(help="With --oracle: an agent to run; the first is compared with the others. May be repeated."),
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="With --oracle: only the cases of a task. May be repeated.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="With --oracle: most cases of each task.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="With --oracle: the folder of the results; finished cases in it are not run again."),
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Score a report against a circuit whose truth is known; with --oracle, score agents on all oracle cases.

    An interrupted run with --oracle goes on where it stopped when it is called again with the same folder.
    """
    from tracescribe.runs.score_view import show_leaderboard, show_scores
    from tracescribe.runs.scoring import OracleRun, check_score_call, run_oracle, score_one

    check_score_call(report, oracle, bool(agent or task or limit or out))
    if report is not None:
        show_scores(score_one(report, gold, graph), as_json)
        return
    show_leaderboard(run_oracle(OracleRun(tuple(agent or ()), tuple(task or ()), limit, out, seed)), as_json)
