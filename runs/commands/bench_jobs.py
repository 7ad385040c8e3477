"""`tracescribe bench jobs`: what the scheduler of batch jobs costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracescribe.runs.commands.options import Json


def jobs(
    cases: Annotated[int, typer.Option(min=0, help="Cases that do nothing; 0 leaves this part out.")] = 10_000,
    sleeping: Annotated[int, typer.Option(min=0, help="Cases that sleep a second; 0 leaves this part out.")] = 60,
    stored: Annotated[
        int, typer.Option(min=0, help="Cases in the store when jobs are listed and shown; 0 leaves this part out.")
    ] = 100_000,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 2,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Timed looks of each kind; medians are told.")] = 5,
    store: Annotated[
        str | None,
        typer.Option(help="Folder or database URL of an empty store, which keeps what the benchmark writes."),
    ] = None,
    save: Annotated[Path | None, typer.Option("--save", help="Also write the result to this file, as JSON.")] = None,
    as_json: Json = False,
) -> None:
    """What batch jobs cost beside their cases: cases per second, our share at 1-second cases, seconds of a look."""
    from tracescribe.runs import terminal
    from tracescribe.runs.benchmarks import views
    from tracescribe.runs.benchmarks.scheduling import SchedulingBenchSettings, bench_scheduling

    settings = SchedulingBenchSettings(cases, sleeping, stored, workers, repeats, store)
    with terminal.stderr().status("measuring"):
        result = bench_scheduling(settings)
    views.save(result, save)
    views.show_figures(result, as_json)
