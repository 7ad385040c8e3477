"""`tracescribe bench`: time, memory and arithmetic of the tracer, on random models of any shape."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracescribe.runs.commands.options import Json

bench = typer.Typer(help="Measure the tracer: time, memory, share of the peak.", no_args_is_help=True)

Save = Annotated[Path | None, typer.Option("--save", help="Also write the result to this file, as JSON.")]
Plot = Annotated[Path | None, typer.Option("--plot", help="Draw the figures into this SVG file.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Torch threads.")]
Repeats = Annotated[int, typer.Option("--repeats", min=1, help="Timed calls of each; medians are told.")]


def _numbers(text: str) -> tuple[int, ...]:
    """`11,31` as numbers."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no list of numbers such as 11,31") from None


@bench.command("tracer")
def tracer(
    kind: Annotated[str, typer.Option(help="clt, plt or both.")] = "both",
    lengths: Annotated[str, typer.Option(help="Prompt lengths in tokens, with commas.")] = "11,31,61,127",
    features: Annotated[str, typer.Option(help="Features per layer, with commas.")] = "2000",
    active: Annotated[float, typer.Option(help="Features that fire per layer and position.")] = 16.0,
    family: Annotated[str, typer.Option(help="Family of the random model, such as llama or gemma2.")] = "llama",
    prototype: Annotated[
        Path | None, typer.Option(help="Python file of a reference to run side by side; its code is run.")
    ] = None,
    reference_nodes: Annotated[int, typer.Option(help="Largest graph that the reference is run on.")] = 12_000,
    layers: Annotated[int, typer.Option(min=1, help="Layers of the random model.")] = 8,
    width: Annotated[int, typer.Option(min=1, help="Width of the random model's residual stream.")] = 256,
    memory: Annotated[bool, typer.Option(help="Measure peak memory, each call in a fresh process.")] = True,
    threads: Threads = 1,
    repeats: Repeats = 3,
    save: Save = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Time and peak memory of a trace against prompt length and feature count, beside the machine's peak."""
    from tracescribe.runs import terminal
    from tracescribe.runs.benchmarks import views
    from tracescribe.runs.benchmarks.drawing import draw_tracer
    from tracescribe.runs.benchmarks.tracing import TracerBenchSettings, bench_tracer

    settings = TracerBenchSettings(
        family=family,
        kinds=("clt", "plt") if kind == "both" else (kind,),
        lengths=_numbers(lengths),
        n_features=_numbers(features),
        n_active=active,
        threads=threads,
        repeats=repeats,
        prototype=prototype,
        reference_nodes=reference_nodes,
        memory=memory,
        n_layers=layers,
        d_model=width,
    )
    with terminal.progress_bars() as bars:
        result = bench_tracer(settings, terminal.StageBars(bars))
    views.save(result, save)
    if plot is not None:
        draw_tracer(result, plot)
    views.show_tracer(result, as_json)
