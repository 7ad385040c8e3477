"""`tracescribe bench judge`: claims whose truth is known, put before the judge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracescribe.runs.commands.options import Json, Seed


def judge(
    n: Annotated[
        int | None, typer.Option("--n", min=1, help="Least number of false claims; 200, or 60 if --quick.")
    ] = None,
    seed: Seed = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="About 60 false claims: for every change of the code.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Also write the result, every claim, to this JSON file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Plant false and true claims of every kind on the embedded model, and count what the judge makes of them.

    Ends with exit code 1 if a false claim was supported.
    """
    from tracescribe.runs.judge_bench import run_judge_bench_command
    from tracescribe.runs.judge_view import show_judge_bench

    result = run_judge_bench_command(n=n, seed=seed, quick=quick, out=out)
    show_judge_bench(result, as_json)
    if result.wrongly_supported:
        raise typer.Exit(1)
