"""How a benchmark is shown: tables for people, one document for programs, one case in detail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tracescribe.runs import terminal
from tracescribe.tracer.errors import UnknownIdError

if TYPE_CHECKING:
    from tracescribe.evals.benchmark.results import CaseResult
    from tracescribe.runs.benchmarking import BenchOutcome

_WIDE = 10_000

MAX_FAILURES_SHOWN = 20
"""Failures that the terminal lists; all are in the JSON."""


def show_bench(outcome: BenchOutcome, as_json: bool) -> None:
    """Print the leaderboard, who is ahead, and what failed."""
    if as_json:
        terminal.print_json(bench_json(outcome))
        return
    from tracescribe.evals.benchmark.tables import sentences
    from tracescribe.evals.benchmark.terminal_tables import rich_tables

    console = terminal.stdout()
    # a file or a pipe has no width
    for table in rich_tables(outcome.board, console.width if console.is_terminal else None):
        console.print(table, crop=False, no_wrap=False)
    for suite in outcome.board.suites:
        for sentence in sentences(suite):
            console.print(terminal.styled(sentence), soft_wrap=True)
    failures = outcome.bench.failures()
    for result in failures[:MAX_FAILURES_SHOWN]:
        console.print(terminal.styled(f"failed: {_named(result)}: {_why(result)}"), soft_wrap=True)
    if len(failures) > MAX_FAILURES_SHOWN:
        console.print(f"failed: {len(failures) - MAX_FAILURES_SHOWN} more; --json lists all", soft_wrap=True)
    for agreed in sorted(agreements(outcome)):
        console.print(terminal.styled(f"labels.judged: {agreed}"), soft_wrap=True)
    damaged = outcome.bench.damaged
    for told in (*outcome.left_out, *damaged[:MAX_FAILURES_SHOWN]):
        console.print(terminal.styled(f"left out: {told}"), soft_wrap=True)
    if damaged:
        console.print(
            f"{len(damaged)} results cannot be used: run the benchmark in this folder again; --json lists all"
        )
    for told in outcome.stale:
        console.print(terminal.styled(f"stale: {told}"), soft_wrap=True)
    if outcome.bench.missing:
        console.print(f"{outcome.bench.missing} of {outcome.bench.manifest.total} cases have no result yet")
    for path in outcome.written:
        console.print(terminal.styled(f"predictions: {path}"), soft_wrap=True)
    console.print(terminal.styled(f"results: {outcome.folder}"), soft_wrap=True)


def agreements(outcome: BenchOutcome) -> set[str]:
    """How far each judge of labels agrees with people: told beside every score that it gave."""
    held = (r.scores.label_judge for r in outcome.bench.results if r.scores is not None)
    return {agreement.told() for agreement in held if agreement is not None}


def bench_json(outcome: BenchOutcome) -> dict[str, Any]:
    """The leaderboard, and every score of every case."""
    return {
        **outcome.board.to_json(),
        "results": [result_json(result) for result in outcome.bench.results],
        "failures": [
            {"agent": r.agent, "suite": r.suite, "gold_id": r.gold_id, "seed": r.seed, **_failure(r)}
            for r in outcome.bench.failures()
        ],
        "label_judges": sorted(agreements(outcome)),
        "missing": outcome.bench.missing,
        "left_out": list(outcome.left_out),
        "stale": list(outcome.stale),
        "damaged": list(outcome.bench.damaged),
        "predictions": [str(path) for path in outcome.written],
        "folder": str(outcome.folder),
    }


def result_json(result: CaseResult) -> dict[str, Any]:
    """One case: every score that there is, by metric name."""
    scores = {} if result.scores is None else result.scores.values
    return {
        "agent": result.agent,
        "suite": result.suite,
        "gold_id": result.gold_id,
        "task": result.family,
        "tags": list(result.tags),
        "seed": result.seed,
        "status": result.status,
        "failure": None if result.failure is None else result.failure.model_dump(),
        "scores": {name: value.value for name, value in scores.items() if value.value is not None},
        "verdicts": result.verdicts,
        "cost": result.cost.model_dump(),
        "unmeasured": result.unmeasured,
        "cut_short": result.cut_short,
        "report": result.report,
    }


def show_markdown(outcome: BenchOutcome) -> None:
    """Print the tables as Markdown."""
    from tracescribe.evals.benchmark.tables import markdown

    for line in markdown(outcome.board).splitlines():
        terminal.stdout().print(terminal.styled(line), soft_wrap=True)


def show_case(outcome: BenchOutcome, gold_id: str, agent: str | None, as_json: bool) -> None:
    """Print every score of one circuit's cases.

    Raises:
        UnknownIdError: the run has no such circuit or agent.
    """
    manifest = outcome.bench.manifest
    known = [circuit.gold_id for suite in manifest.suites for circuit in suite.circuits]
    if gold_id not in known:
        raise UnknownIdError(f"the run has no circuit {gold_id!r}; it has {', '.join(known[:5])} and others")
    if agent is not None and agent not in manifest.agents:
        raise UnknownIdError(f"the run has no agent {agent!r}; it has {', '.join(manifest.agents)}")
    found = [r for r in outcome.bench.results if r.gold_id == gold_id and agent in (None, r.agent)]
    if as_json:
        terminal.print_json([result_json(result) for result in found])
        return
    _print_case(outcome, gold_id, found)


def _print_case(outcome: BenchOutcome, gold_id: str, found: list[CaseResult]) -> None:
    from rich.table import Table

    from tracescribe.evals.benchmark.leaderboard import ALL_METRICS

    console = terminal.stdout()
    if not found:
        console.print(terminal.styled(f"{gold_id}: no result yet"))
        return
    table = Table(title=terminal.styled(f"{gold_id} ({found[0].family})"))
    table.add_column("score")
    for result in found:
        several = len(outcome.bench.manifest.seeds) > 1
        head = terminal.styled(f"{result.agent} seed {result.seed}" if several else result.agent)
        table.add_column(head, justify="right", min_width=6, overflow="fold")
    for metric in ALL_METRICS:
        values = [
            None if r.scores is None or metric.name not in r.scores.values else r.scores.value(metric.name)
            for r in found
        ]
        if any(value is not None for value in values):
            table.add_row(metric.name, *("–" if value is None else f"{value:.3f}" for value in values))
    table.add_section()
    table.add_row("seconds", *(f"{result.cost.seconds:.1f}" for result in found))
    if not console.is_terminal:
        console.width = max(
            console.width, console.measure(table, options=console.options.update(max_width=_WIDE)).maximum
        )
    console.print(table, crop=False)
    for result in found:
        if result.status == "failed":
            console.print(terminal.styled(f"failed: {_named(result)}: {_why(result)}"), soft_wrap=True)
        elif result.report is not None:
            console.print(terminal.styled(f"{result.agent}: {outcome.folder / result.report}"), soft_wrap=True)


def _named(result: CaseResult) -> str:
    return f"{result.agent} on {result.suite} {result.gold_id}"


def _why(result: CaseResult) -> str:
    return "" if result.failure is None else f"{result.failure.kind}: {result.failure.message}"


def _failure(result: CaseResult) -> dict[str, str]:
    return {} if result.failure is None else {"kind": result.failure.kind, "message": result.failure.message}
