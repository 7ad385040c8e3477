"""`tracescribe bench review`: what the review app costs at the server, and how quick a large graph is in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracescribe.runs.commands.options import Json


def review(
    reports: Annotated[int, typer.Option(min=0, help="Reports in the list; 0 leaves this part out.")] = 10_000,
    acts: Annotated[int, typer.Option(min=0, help="Acts of one review; 0 leaves this part out.")] = 1_000,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Times that each page is asked for.")] = 20,
    browser: Annotated[
        bool, typer.Option("--browser", help="Instead, look at a large graph with a real browser: first paint, frames.")
    ] = False,
    nodes: Annotated[int, typer.Option(min=200, help="Nodes of that graph.")] = 5_000,
    edges: Annotated[int, typer.Option(min=1, help="Edges of that graph.")] = 100_000,
    chromium: Annotated[Path, typer.Option(help="The browser.")] = Path("/usr/bin/chromium"),
    page_ms: Annotated[
        float, typer.Option("--page-ms", help="Limit: 95 of 100 pages of the list come within this.")
    ] = 300.0,
    paint_ms: Annotated[
        float, typer.Option("--paint-ms", help="Limit: the graph is first painted within this.")
    ] = 2000.0,
    frames: Annotated[float, typer.Option("--frames", help="Limit: least frames per second while it moves.")] = 30.0,
    limits: Annotated[
        bool, typer.Option("--limits/--no-limits", help="Whether a limit that is missed makes it end with exit code 1.")
    ] = True,
    save: Annotated[Path | None, typer.Option("--save", help="Also write the result to this file, as JSON.")] = None,
    as_json: Json = False,
) -> None:
    """What the review app costs: lists of many reports and acts of a long review, or a large graph in a browser.

    Ends with exit code 1, and a line for each, if limits are missed; run it where nothing else runs.
    """
    from tracescribe.runs import terminal
    from tracescribe.runs.benchmarks import views
    from tracescribe.runs.benchmarks.review_graph import bench_review_graph
    from tracescribe.runs.benchmarks.reviewing import ReviewBenchSettings, bench_review

    with terminal.stderr().status("measuring"):
        if browser:
            result = bench_review_graph(nodes, edges, paint_ms=paint_ms, frames_per_second=frames, chromium=chromium)
        else:
            result = bench_review(ReviewBenchSettings(reports, repeats, acts, page_ms))
    views.save(result, save)
    views.show_figures(result, as_json)
    if limits and result.missed:
        for line in result.missed:
            terminal.stderr().print(f"missed: {line}", soft_wrap=True)
        raise typer.Exit(1)
