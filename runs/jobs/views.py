"""Jobs and cases on the terminal, or as one JSON document; text from prompts and labels is made harmless."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tracescribe.runs import terminal
from tracescribe.runs.jobs.listing import CaseDetail, CaseRow, JobRow, WorkerRow, case_json
from tracescribe.runs.jobs.telling import NOTHING, ago, cost, counted, money, share, span

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

STYLES = {"done": "green", "failed": "red", "running": "cyan", "stopped": "yellow", "cancelled": "dim", "waiting": ""}
_LONGEST_MESSAGE = 300
_PIPE_WIDTH = 160
"""Columns where nobody looks: wide enough for every column to stand on one line."""


def show_jobs(rows: Sequence[JobRow], n_all: int, as_json: bool) -> None:
    """Print a list of jobs.

    Args:
        n_all: how many there are in all, listed or not.
    """
    if as_json:
        terminal.print_json({"jobs": [job_json(row) for row in rows], "total": n_all})
        return
    console = _console()
    if not rows:
        console.print("no jobs; submit one with 'tracescribe jobs submit FILE'", soft_wrap=True)
        return
    now = time.time()
    table = _table("job", "name", "status", "done", "failed", "left", "cost", "agent", "submitted")
    for row in rows:
        left = row.n_cases - row.finished
        table.add_row(
            terminal.styled(row.job_id, "bold"),
            terminal.styled(row.name),
            terminal.styled(row.status, STYLES.get(row.status, "")),
            f"{row.cases.get('done', 0):,}/{row.n_cases:,}",
            terminal.styled(f"{row.cases.get('failed', 0):,}", "red" if row.cases.get("failed") else ""),
            f"{left:,}",
            cost(row),
            terminal.styled(row.agent),
            ago(row.created_at, now),
        )
    console.print(table)
    if n_all > len(rows):
        console.print(f"{n_all - len(rows):,} older jobs are not listed; see --limit", soft_wrap=True)


def show_job(
    row: JobRow, workers: Sequence[WorkerRow], cases: Sequence[CaseRow] | None, n_cases: int, as_json: bool
) -> None:
    """Print how a job stands.

    Args:
        cases: to list below; None for none.
        n_cases: how many there are of the kind that is listed.
    """
    if as_json:
        listed = {} if cases is None else {"cases": [case._asdict() for case in cases]}
        terminal.print_json({"job": job_json(row), "workers": [one._asdict() for one in workers], **listed})
        return
    console, now = _console(), time.time()
    ended = row.finished_at
    took = None if row.started_at is None else (ended if ended is not None else now) - row.started_at
    _facts(
        console,
        (
            ("job", row.job_id),
            ("name", row.name),
            ("status", row.status + (f": {row.message}" if row.message else "")),
            ("cases", f"{counted(row.cases)} of {row.n_cases:,} ({share(row.finished, row.n_cases)})"),
            ("failures", counted(row.failures) if row.failures else ""),
            ("cost", cost(row) + (f", {money(row.reserved_usd)} reserved" if row.reserved_usd else "")),
            ("agent", row.agent),
            ("model", row.model + (f" ({row.model_sha256[:12]})" if row.model_sha256 else "")),
            ("submitted", f"{ago(row.created_at, now)} by {row.created_by}"),
            ("worked", "" if took is None else f"{span(took)}{'' if ended is not None else ' so far'}"),
            ("specification", row.specification_sha256[:16]),
        ),
    )
    if workers:
        _show_workers(console, workers, now)
    if cases is not None:
        _show_cases(console, cases, n_cases)


def show_case(detail: CaseDetail, as_json: bool) -> None:
    """Print everything about one case."""
    if as_json:
        terminal.print_json(case_json(detail))
        return
    console, case, now = _console(), detail.case, time.time()
    figures = detail.figures or {}
    failed = f"{case.failure_kind}: {case.failure_message}" if case.failure_kind else ""
    _facts(
        console,
        (
            ("case", case.case_id),
            ("of job", detail.job_id),
            ("title", case.title),
            ("prompt", str(detail.specification.get("prompt") or "")),
            ("seed", str(detail.specification.get("seed", ""))),
            ("status", case.status),
            ("failure", failed),
            ("attempts", f"{case.attempt}" + (f", {case.crashes} of them died" if case.crashes else "")),
            ("worker", case.worker_id or ""),
            ("took", span(case.seconds) if case.seconds is not None else ""),
            ("finished", "" if case.finished_at is None else ago(case.finished_at, now)),
            ("paid", f"{money(case.paid_usd)} for {counted({'calls': case.paid_calls, 'tokens': detail.paid_tokens})}"),
            ("calls", counted(detail.calls) if detail.calls else ""),
            ("ledger", counted(detail.events) if detail.events else ""),
            ("answer", str(figures.get("answer") or "")),
            ("verdicts", counted(figures.get("verdicts") or {}) if figures.get("verdicts") else ""),
            ("cut short", str(figures.get("cut_short") or "")),
            ("report", str(figures.get("report_id") or "")),
        ),
    )
    scores = {name: value for name, value in (figures.get("scores") or {}).items() if value is not None}
    if scores:
        table = _table("score", "value")
        for name, value in scores.items():
            table.add_row(terminal.styled(name), f"{value:.3f}")
        console.print(table)
    if detail.artefacts:
        table = _table("artefact", "kind", "bytes", "SHA-256")
        for name, kind, size, sha256 in detail.artefacts:
            table.add_row(terminal.styled(name), kind, f"{size:,}", sha256[:16])
        console.print(table)


def job_json(row: JobRow) -> dict[str, Any]:
    """A job as `--json` prints it."""
    return row._asdict() | {"finished": row.finished}


def _show_workers(console: Console, workers: Sequence[WorkerRow], now: float) -> None:
    table = _table("worker", "where", "seen", "works on", "since")
    for one in workers:
        if one.kind != "worker":
            continue
        table.add_row(
            terminal.styled(one.worker_id),
            terminal.styled(f"{one.host} {one.pid}"),
            ago(one.seen_at, now),
            terminal.styled(one.case_title or NOTHING),
            NOTHING if one.case_started_at is None else span(now - one.case_started_at),
        )
    if table.row_count:
        console.print(table)


def _show_cases(console: Console, cases: Sequence[CaseRow], n_cases: int) -> None:
    table = _table("case", "title", "status", "tries", "took", "paid", "failure")
    for case in cases:
        failed = f"{case.failure_kind}: {case.failure_message or ''}" if case.failure_kind else ""
        table.add_row(
            terminal.styled(case.case_id, "bold"),
            terminal.styled(case.title),
            terminal.styled(case.status, STYLES.get(case.status, "")),
            str(case.attempt),
            span(case.seconds),
            money(case.paid_usd),
            terminal.styled(terminal.one_line(failed)[:_LONGEST_MESSAGE]),
        )
    console.print(table)
    if n_cases > len(cases):
        console.print(f"{n_cases - len(cases):,} more; see --limit", soft_wrap=True)


def _facts(console: Console, facts: Sequence[tuple[str, str]]) -> None:
    for name, value in facts:
        if value:
            console.print(
                terminal.styled(f"{name:<14}", "dim") + terminal.styled(terminal.one_line(value)), soft_wrap=True
            )


def _table(*heads: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for head in heads:
        right = head in ("done", "failed", "left", "cost", "tries", "took", "paid", "value", "bytes")
        table.add_column(head, justify="right" if right else "left", overflow="fold")
    return table


def _console() -> Console:
    console = terminal.stdout()
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console
