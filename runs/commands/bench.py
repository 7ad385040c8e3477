"""`tracescribe bench`: agents compared; the tracer's time, memory and arithmetic; the judge; what batch jobs and reviews cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracescribe.runs.commands.bench_jobs import jobs
from tracescribe.runs.commands.bench_judge import judge
from tracescribe.runs.commands.bench_review import review
from tracescribe.runs.commands.bench_run import run
from tracescribe.runs.commands.bench_show import show
from tracescribe.runs.commands.bench_stability import stability
from tracescribe.runs.commands.options import Json

bench = typer.Typer(
    help="Measure agents, the tracer, the judge, batch jobs, the review app, and how stable agents are.",
    no_args_is_help=True,
)
bench.command("run")(run)
bench.command("show")(show)
bench.command("judge")(judge)
bench.command("stability")(stability)
bench.command("jobs")(jobs)
bench.command("review")(review)

Prototype = Annotated[
    Path | None, typer.Option(help="Python file of a reference to run side by side; its code is run.")
]
ReferenceNodes = Annotated[int, typer.Option(help="Largest graph that the reference is run on.")]
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
    prototype: Prototype = None,
    reference_nodes: ReferenceNodes = 12_000,
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
        result = bench_tracer(settings, terminal.StageBars(bars), keep=lambda so_far: views.save(so_far, save))
    if plot is not None:
        draw_tracer(result, plot)
    views.show_tracer(result, as_json)


@bench.command("prune")
def prune(
    nodes: Annotated[str, typer.Option(help="Sizes of graphs, about, with commas.")] = "5000,20000",
    prototype: Prototype = None,
    reference_nodes: ReferenceNodes = 12_000,
    threads: Threads = 1,
    repeats: Repeats = 3,
    save: Save = None,
    as_json: Json = False,
) -> None:
    """Scores and pruning of graphs of a given size."""
    from tracescribe.runs import terminal
    from tracescribe.runs.benchmarks import views
    from tracescribe.runs.benchmarks.pruning import bench_prune

    with terminal.progress_bars() as bars:
        result = bench_prune(
            _numbers(nodes),
            threads=threads,
            repeats=repeats,
            prototype=prototype,
            reference_nodes=reference_nodes,
            progress=terminal.StageBars(bars),
        )
    views.save(result, save)
    views.show_figures(result, as_json)


@bench.command("interventions")
def interventions(
    rows: Annotated[int, typer.Option(min=1, help="Edits, one feature each.")] = 64,
    threads: Threads = 1,
    repeats: Repeats = 3,
    save: Save = None,
    as_json: Json = False,
) -> None:
    """Edits of single features of the embedded model: batched, one by one, and by whole forward passes."""
    from tracescribe.runs import terminal
    from tracescribe.runs.benchmarks import views
    from tracescribe.runs.benchmarks.intervening import bench_interventions

    with terminal.progress_bars() as bars:
        result = bench_interventions(rows, threads=threads, repeats=repeats, progress=terminal.StageBars(bars))
    views.save(result, save)
    views.show_figures(result, as_json)


@bench.command("evidence")
def evidence(
    sentences: Annotated[int, typer.Option(min=1, help="Sentences of the embedded corpus to scan.")] = 2000,
    threads: Threads = 1,
    repeats: Repeats = 3,
    save: Save = None,
    as_json: Json = False,
) -> None:
    """Tokens per second of a corpus scan, milliseconds per look-up, and whether a killed scan ends the same."""
    from tracescribe.runs import terminal
    from tracescribe.runs.benchmarks import views
    from tracescribe.runs.benchmarks.evidence import bench_evidence

    with terminal.progress_bars() as bars:
        result = bench_evidence(sentences, threads=threads, repeats=repeats, progress=terminal.StageBars(bars))
    views.save(result, save)
    views.show_figures(result, as_json)


@bench.command("long")
def long(
    tokens: Annotated[str, typer.Option(help="Prompt lengths, with commas.")] = "2300",
    kind: Annotated[str, typer.Option(help="clt or plt.")] = "plt",
    budget: Annotated[int, typer.Option(min=1, help="Feature nodes that are kept.")] = 512,
    layers: Annotated[int, typer.Option(min=1, help="Layers of the random model.")] = 4,
    width: Annotated[int, typer.Option(min=1, help="Width of the random model's residual stream.")] = 128,
    limit: Annotated[float, typer.Option(help="Gigabytes that the whole process should stay below.")] = 8.0,
    threads: Threads = 1,
    save: Save = None,
    as_json: Json = False,
) -> None:
    """Time and peak memory of long prompts with a node budget, on a small random model."""
    from tracescribe.runs import terminal
    from tracescribe.runs.benchmarks import views
    from tracescribe.runs.benchmarks.long_prompt import GIGABYTE, bench_long

    with terminal.progress_bars() as bars:
        result = bench_long(
            _numbers(tokens),
            kind=kind,
            budget=budget,
            n_layers=layers,
            d_model=width,
            limit_bytes=limit * GIGABYTE,
            threads=threads,
            progress=terminal.StageBars(bars),
        )
    views.save(result, save)
    views.show_figures(result, as_json)


@bench.command("audit")
def audit(
    entries: Annotated[int, typer.Option("--entries", min=2_000, help="Of the log that is verified.")] = 1_000_000,
    store: Annotated[
        str | None, typer.Option("--store", help="An empty store to fill; without it, SQLite in a temporary folder.")
    ] = None,
    save: Save = None,
    as_json: Json = False,
) -> None:
    """Speed of the audit log: entries appended, and a long log verified, whole and with one entry edited."""
    from tracescribe.runs import terminal
    from tracescribe.runs.benchmarks import views
    from tracescribe.runs.benchmarks.auditing import bench_audit

    with terminal.progress_bars() as bars:
        result = bench_audit(entries, store=store, progress=terminal.StageBars(bars))
    views.save(result, save)
    views.show_figures(result, as_json)
