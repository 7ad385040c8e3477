"""`tracescribe bench show`: the leaderboard of a run, or one of its cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracescribe.runs.commands.options import Json


def show(
    folder: Annotated[
        Path | None, typer.Argument(help="The folder of a run. Without it: tracescribe-workspace/bench.")
    ] = None,
    case: Annotated[str | None, typer.Option(help="Show one circuit's cases instead, by its gold id.")] = None,
    agent: Annotated[str | None, typer.Option(help="With --case: only this agent's.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write the leaderboard to this HTML file.")] = None,
    as_json: Json = False,
) -> None:
    """Show the leaderboard of a finished or running benchmark; nothing is run, and no weights are loaded."""
    from tracescribe.runs.bench_view import show_bench, show_case, show_markdown
    from tracescribe.runs.benchmarking import DEFAULT_FOLDER, open_benchmark, write_html
    from tracescribe.tracer.errors import InputError

    if agent is not None and case is None:
        raise InputError("--agent belongs to --case; give the gold id of a circuit too")
    if as_json and markdown:
        raise InputError("--json and --markdown are two forms of one result; give one of them")
    found = open_benchmark(folder or DEFAULT_FOLDER)
    if html is not None:
        write_html(found, html)
    if case is not None:
        show_case(found, case, agent, as_json)
    elif markdown:
        show_markdown(found)
    else:
        show_bench(found, as_json)
