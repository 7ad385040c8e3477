"""How benchmarks are shown: tables on the terminal, one JSON document, one drawing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rich.table import Table

from tracescribe.runs import terminal
from tracescribe.runs.benchmarks import calls

if TYPE_CHECKING:
    from tracescribe.runs.benchmarks.figures import Figure, FigureBench
    from tracescribe.runs.benchmarks.tracing import TracerBench


class Result(Protocol):
    """What every benchmark returns."""

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        ...


def save(result: Result, path: Path | None) -> None:
    """Write a result as JSON, if a file was asked for."""
    from tracescribe.tracer.provenance import write_json_atomic

    if path is not None:
        write_json_atomic(path, result.to_json())


def megabytes(n_bytes: float) -> str:
    """Bytes in units of 10^6, as tables show them."""
    return f"{n_bytes / 1e6:.0f} MB"


def table(*headings: str) -> Table:
    """An empty table in the house's style; the first column is text, the others are figures."""
    made = Table(box=None, pad_edge=False)
    for index, heading in enumerate(headings):
        made.add_column(heading, justify="right" if index else "left")
    return made


def show_tracer(bench: TracerBench, as_json: bool) -> None:
    """Print the cases, the ratios and the growth."""
    if as_json:
        terminal.print_json(bench.to_json())
        return
    clock, console = bench.clock, terminal.stdout()
    ours = table("pair", "tokens", "active", "edges", "trace", "+ prune", "of peak", "plain", "executed", "memory")
    for case in bench.cases:
        memory = case.memory.get(calls.TRACE)
        ours.add_row(
            f"{case.kind} {case.n_features}",
            str(case.n_pos),
            str(case.n_active),
            f"{case.n_edges / 1e6:.2f} M",
            f"{case.seconds(clock):.3f} s",
            f"{case.seconds(clock, calls.PIPELINE):.3f} s",
            f"{100 * case.share_of_peak(bench.peak, clock):.0f} %",
            f"{100 * case.plain_share_of_peak(bench.peak, clock):.0f} %",
            f"{case.executed_flops / max(1, case.useful_flops):.2f}x",
            megabytes(memory.additional) if memory else "-",
        )
    console.print(ours)
    if any(calls.REFERENCE_TRACE in case.timings for case in bench.cases):
        console.print("\nThe reference's figure divided by ours:")
        compared = table("pair", "tokens", "trace", "+ prune", "memory", "memory + prune")
        for case in bench.cases:
            compared.add_row(
                f"{case.kind} {case.n_features}",
                str(case.n_pos),
                times(case.ratio(clock, calls.TRACE, calls.REFERENCE_TRACE)),
                times(case.ratio(clock, calls.PIPELINE, calls.REFERENCE_PIPELINE)),
                times(case.memory_ratio(calls.TRACE, calls.REFERENCE_TRACE)),
                times(case.memory_ratio(calls.PIPELINE, calls.REFERENCE_PIPELINE)),
            )
        console.print(compared)
    console.print()
    for row in bench.to_json()["growth"]:
        if row["exponent"] is not None:
            told = f"time grows as (tokens x active features) ^ {row['exponent']:.2f}"
            console.print(f"{row['kind']} {row['n_features']}: {told}")
    n, rate = bench.settings.repeats, bench.peak.rate(clock) / 1e9
    console.print(f"{clock} seconds, medians of {n}; {bench.settings.threads} thread(s)")
    console.print(f"peak of a float32 matrix product: {rate:.1f} GFLOP/s; executed: operations per counted one")
    console.print("plain: the share that a sweep without savings would need to be as quick")


def times(ratio: float | None) -> str:
    """A ratio, or a dash."""
    return "-" if ratio is None else f"{ratio:.2f}x"


def show_figures(bench: FigureBench, as_json: bool) -> None:
    """Print the rows of a small benchmark."""
    if as_json:
        terminal.print_json(bench.to_json())
        return
    headings = [key.removesuffix("_bytes").replace("_", " ") for key in bench.rows[0]]
    shown = table(*headings)
    for row in bench.rows:
        shown.add_row(*(terminal.styled(_told(key, value)) for key, value in row.items()))
    console = terminal.stdout()
    console.print(shown)
    console.print(f"{bench.clock} seconds; {bench.machine['threads']} thread(s)")
    for note in bench.notes:
        console.print(note, soft_wrap=True)


def _told(key: str, value: Figure) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if key.endswith("bytes"):
        return megabytes(value)
    if key == "ratio":
        return f"{value:.2f}x"
    if isinstance(value, int):
        return str(value)
    return f"{value:.2e}" if key.endswith("difference") else f"{value:.3f}" if value < 1000 else f"{value:.0f}"
