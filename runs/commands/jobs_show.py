"""`tracescribe jobs`: the commands that look at jobs, and those that change how they stand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tracescribe.runs.commands.options import Json
from tracescribe.runs.commands.plain_command import PlainCommand

if TYPE_CHECKING:
    from tracescribe.runs.store.addresses import StoreAddress

__all__ = ["register_looking"]

Job = Annotated[str, typer.Argument(help="A job's id, a beginning of it that no other job has, or 'last'.")]
StorePlace = Annotated[
    str | None,
    typer.Option(
        "--store",
        help="Folder or database URL of the store. Without it: TRACESCRIBE_STORE, else tracescribe-workspace/store.",
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", min=1, help="List at most so many. Without it: 20, and with --json all.", show_default=False
    ),
]
_FEW, _ALL = 20, 2**62

JobState = Literal["waiting", "running", "stopped", "done", "cancelled"]


def register_looking(jobs: typer.Typer) -> None:
    """Add the commands to the group `jobs`, in the order in which help lists them."""
    jobs.command("list", cls=PlainCommand)(list_jobs)
    jobs.command("show", cls=PlainCommand)(show)
    jobs.command("watch")(watch)
    jobs.command("cancel")(cancel)
    jobs.command("retry")(retry)
    jobs.command("export")(export)
    jobs.command("diff")(diff)


def list_jobs(
    status: Annotated[JobState | None, typer.Option(help="Only jobs that stand so.")] = None,
    limit: Limit = None,
    store: StorePlace = None,
    as_json: Json = False,
) -> None:
    """List jobs, the last submitted first: how far they are, what failed and what they cost."""
    from tracescribe.runs.jobs import listing, views
    from tracescribe.runs.jobs.lookup import open_reader

    with open_reader(_address(store)) as reader:
        rows = listing.list_jobs(reader, status=status, limit=limit or (_ALL if as_json else _FEW))
        views.show_jobs(rows, listing.count_jobs(reader, status), as_json)


def show(
    job: Job = "last",
    case: Annotated[
        str | None, typer.Argument(help="One case of it: its id, or its number in the job, counted from 0.")
    ] = None,
    cases: Annotated[bool, typer.Option("--cases", help="List its cases too.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="List its failed cases too.")] = False,
    limit: Limit = None,
    store: StorePlace = None,
    as_json: Json = False,
) -> None:
    """Show how a job stands, or everything about one of its cases."""
    from tracescribe.runs.jobs import listing, lookup, views

    with lookup.open_reader(_address(store)) as reader:
        job_id = lookup.find_job(reader, job)
        if case is not None:
            views.show_case(listing.read_case(reader, job_id, lookup.find_case(reader, job_id, case)), as_json)
            return
        row = listing.read_job(reader, job_id)
        listed = None
        if cases or failed:
            most = limit or (_ALL if as_json else _FEW)
            listed = listing.list_cases(reader, job_id, status="failed" if failed else None, limit=most)
        n_cases = row.cases.get("failed", 0) if failed else row.n_cases
        views.show_job(row, listing.list_workers(reader, job_id), listed, n_cases, as_json)


def watch(job: Job = "last", store: StorePlace = None, as_json: Json = False) -> None:
    """Watch a job from here while it is run elsewhere; Ctrl-C ends the watching, never the job.

    Exit code 0 when it is done, 1 when it stopped or was cancelled.
    """
    from tracescribe.runs.jobs import lookup, views
    from tracescribe.runs.jobs.display import watch_job

    address = _address(store)
    with lookup.open_reader(address) as reader:
        job_id = lookup.find_job(reader, job)
    seen = watch_job(address, job_id)
    if as_json and seen is not None:
        views.show_job(seen.job, (), None, 0, as_json)
    if seen is None or seen.job.status != "done":
        raise typer.Exit(1)


def cancel(job: Job, store: StorePlace = None, as_json: Json = False) -> None:
    """Give up what a job has not finished: workers stop within seconds, finished cases stay."""
    from tracescribe.runs import terminal
    from tracescribe.runs.jobs.changing import cancel_job
    from tracescribe.runs.store.database import open_store

    address, job_id = _found(store, job)
    opened = open_store(address)
    try:
        change = cancel_job(opened, job_id)
    finally:
        opened.close()
    if as_json:
        terminal.print_json({"job": change.job_id, "cancelled": change.cases, "status": change.status})
    else:
        terminal.stdout().print(f"{change.job_id} is cancelled; {change.cases:,} cases were given up", soft_wrap=True)


def retry(
    job: Job,
    failed_kind: Annotated[
        str | None, typer.Option("--failed-kind", help="Only failures of this kind, such as 'provider' or 'crash'.")
    ] = None,
    case: Annotated[list[str] | None, typer.Option("--case", help="Only this case; may be given again.")] = None,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Put back done cases whose files in the store are damaged or missing.")
    ] = False,
    store: StorePlace = None,
    as_json: Json = False,
) -> None:
    """Put failed and cancelled cases back; 'tracescribe jobs resume' then works on them.

    A done case is put back only if a file of it is damaged or missing. Answers of language models that are on record are used again and not paid for twice.
    """
    from tracescribe.runs import terminal
    from tracescribe.runs.jobs import lookup
    from tracescribe.runs.jobs.changing import retry_cases
    from tracescribe.runs.store.database import open_store

    address, job_id = _found(store, job)
    with lookup.open_reader(address) as reader:
        case_ids = [lookup.find_case(reader, job_id, name) for name in case or ()]
    opened = open_store(address)
    try:
        change = retry_cases(opened, job_id, kind=failed_kind, case_ids=case_ids, damaged=damaged)
    finally:
        opened.close()
    if as_json:
        terminal.print_json({"job": change.job_id, "waiting_again": change.cases, "status": change.status})
        return
    then = "" if change.status == "running" else f"; go on with 'tracescribe jobs resume {change.job_id}'"
    terminal.stdout().print(f"{change.cases:,} cases of {change.job_id} wait again{then}", soft_wrap=True)


def export(
    job: Job,
    out: Annotated[Path, typer.Option("--out", help="Folder to write; it must not exist, or see --force.")],
    what: Annotated[
        list[str] | None,
        typer.Option(
            "--what",
            help="'summary', 'parquet', 'reports', 'graphs' or 'calls'; may be given again. Without it: summary and parquet.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export in that folder.")] = False,
    store: StorePlace = None,
    as_json: Json = False,
) -> None:
    """Write a job's summary (Markdown, HTML, JSON), its table (Parquet), and its cases' files to a folder."""
    from tracescribe.runs import terminal
    from tracescribe.runs.job_results.export import DEFAULT_PARTS, export_job
    from tracescribe.runs.store.database import open_store

    address, job_id = _found(store, job)
    opened = open_store(address)
    try:
        written = export_job(opened, job_id, out, what=tuple(what) if what else DEFAULT_PARTS, force=force)
    finally:
        opened.close()
    if as_json:
        terminal.print_json({"job": job_id, "folder": str(written.folder), "files": written.files})
    else:
        terminal.stdout().print(f"{written.folder}: {written.files:,} files", soft_wrap=True)


def diff(
    first: Annotated[str, typer.Argument(help="A job, as in the other commands.")],
    second: Annotated[str, typer.Argument(help="The job that it is compared with.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Also write the comparison to this folder: Markdown, HTML and JSON.")
    ] = None,
    reports: Annotated[
        bool, typer.Option("--reports/--no-reports", help="Also read the reports: groups, labels and verdicts.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier comparison in that folder.")] = False,
    store: StorePlace = None,
    as_json: Json = False,
) -> None:
    """Compare two jobs on the cases that both have: two agents, two models, or two versions."""
    from tracescribe.runs.job_results.comparing import compare_jobs
    from tracescribe.runs.job_results.comparison_views import show_comparison, write_comparison
    from tracescribe.runs.store.database import open_store

    address, first_id = _found(store, first)
    _, second_id = _found(store, second)
    opened = open_store(address)
    try:
        comparison = compare_jobs(opened, first_id, second_id, read_reports=reports)
    finally:
        opened.close()
    if out is not None:
        write_comparison(comparison, out, force=force)
    show_comparison(comparison, as_json)


def _found(store: str | None, job: str) -> tuple[StoreAddress, str]:
    """The store's address, and the job's full id."""
    from tracescribe.runs.jobs import lookup

    address = _address(store)
    with lookup.open_reader(address) as reader:
        return address, lookup.find_job(reader, job)


def _address(store: str | None) -> StoreAddress:
    from tracescribe.runs.store.addresses import parse_address

    return parse_address(store)
