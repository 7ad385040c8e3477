"""Works on a job from this machine until it is over, shows how it goes, and tells what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracescribe.runs import terminal
from tracescribe.runs.store.database import open_store
from tracescribe.runs.telemetry.observing import observe_job
from tracescribe.runs.telemetry.settings import ObservabilitySettings

if TYPE_CHECKING:
    from tracescribe.runs.jobs.listing import JobRow
    from tracescribe.runs.jobs.specification import JobSpecification, Output
    from tracescribe.runs.store.database import StoreAddress


@dataclass(frozen=True)
class JobEnd:
    """How a job stands when this machine ends its work on it.

    Attributes:
        row: the job.
        folder: where its results were written; None for nowhere.
    """

    row: JobRow
    folder: Path | None = None

    @property
    def complete(self) -> bool:
        """Whether every case has its report."""
        return self.row.status == "done" and self.row.cases.get("done", 0) == self.row.n_cases

    def to_json(self) -> dict[str, Any]:
        """The end as plain JSON values."""
        from tracescribe.runs.jobs.views import job_json

        return {**job_json(self.row), "folder": None if self.folder is None else str(self.folder)}


def run_job(
    address: StoreAddress,
    job_id: str,
    specification: JobSpecification,
    *,
    workers: int | None = None,
    observed: ObservabilitySettings | None = None,
) -> JobEnd:
    """Work on a job with the executor that it asks for.

    Args:
        specification: of the job, as it is stored.
        workers: instead of the number that it asks for; None leaves that.
        observed: what of the work is recorded; None takes what the environment asks for.

    Raises:
        SettingError: what should be recorded cannot be.
        StoreError: the store cannot be used.
        WorkError: no worker can be started.
        KeyboardInterrupt: it was interrupted; workers have given back what they held, and it is told how to go on.
    """
    from tracescribe.runs.audit.sealing import sealed_meanwhile
    from tracescribe.runs.jobs.display import job_display

    recording = observe_job(observed or ObservabilitySettings.of(), job_id, specification.privacy)
    with _told_how_to_go_on(job_id), recording, job_display(address, job_id), sealed_meanwhile(address):
        _execute(address, job_id, specification, workers)
    _seal(address)
    return end_of(address, job_id, specification)


def end_of(address: StoreAddress, job_id: str, specification: JobSpecification) -> JobEnd:
    """How a job stands; where it is done, with its results written to where it asks for them.

    Raises:
        StoreError: the store cannot be used.
        OutputError: the folder cannot be written to.
    """
    row = job_row(address, job_id)
    folder = _write_results(address, job_id, specification.output) if row.status == "done" else None
    return JobEnd(row, folder)


def job_row(address: StoreAddress, job_id: str) -> JobRow:
    """How a job stands."""
    from tracescribe.runs.jobs.listing import read_job
    from tracescribe.runs.jobs.lookup import open_reader

    with open_reader(address) as reader:
        return read_job(reader, job_id)


def show_end(end: JobEnd, as_json: bool) -> None:
    """Print what came of a job, and what can be done next."""
    if as_json:
        terminal.print_json(end.to_json())
        return
    row = end.row
    counts = ", ".join(f"{count} {status}" for status, count in row.cases.items() if count) or "no cases"
    paid = f", {row.paid_usd:.4f} USD paid" if row.paid_usd else ""
    console = terminal.stdout()
    console.print(terminal.styled(f"job {row.job_id} ({row.name}) is {row.status}: {counts}{paid}"), soft_wrap=True)
    for line in _next_steps(end):
        console.print(terminal.styled(f"  {line}"), soft_wrap=True)


def _next_steps(end: JobEnd) -> Iterator[str]:
    row = end.row
    if row.message and row.status != "done":
        yield terminal.one_line(row.message)
    if row.failures:
        kinds = ", ".join(f"{count} {kind}" for kind, count in row.failures.items())
        yield f"failed: {kinds}; see 'tracescribe jobs show {row.job_id} --failed'"
    if row.status == "done":
        written = f"results are in {end.folder}" if end.folder else f"'tracescribe jobs export {row.job_id} --out DIR'"
        yield f"{written}; 'tracescribe jobs show {row.job_id}' tells more"
    elif row.status != "cancelled":
        yield f"'tracescribe jobs resume {row.job_id}' goes on"


@contextmanager
def _told_how_to_go_on(job_id: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        told = f"  what is finished is kept: 'tracescribe jobs resume {job_id}' goes on"
        terminal.stderr().print(terminal.styled(told), soft_wrap=True)
        raise


def _execute(address: StoreAddress, job_id: str, specification: JobSpecification, workers: int | None) -> None:
    from tracescribe.runs.executors.interpret_cases import InterpretCases

    executor, function = specification.executor, InterpretCases(specification.agent.spec)
    if executor.kind == "ray":
        from tracescribe.runs.executors.ray_cluster import run_on_ray

        asked = executor if workers is None else executor.model_copy(update={"workers": workers})
        run_on_ray(address, job_id, function, asked)
        return
    from tracescribe.runs.executors.local_run import run_locally

    run_locally(address, job_id, function, workers=workers or executor.workers)


def _seal(address: StoreAddress) -> None:
    """Sign the end of the audit log; what the job has done stands all the same where that cannot be."""
    from tracescribe.runs.audit.sealing import try_seal

    store = open_store(address)
    try:
        warning = try_seal(store)
    finally:
        store.close()
    if warning:
        terminal.stderr().print(terminal.styled(f"  {warning}"), soft_wrap=True)


def _write_results(address: StoreAddress, job_id: str, output: Output) -> Path | None:
    """Write what the specification asks for at the end of a job."""
    if output.folder is None:
        return None
    from tracescribe.runs.job_results.export import export_job

    store = open_store(address)
    try:
        what = ("summary", "parquet", *(("reports", "graphs") if output.export else ()))
        export_job(store, job_id, Path(output.folder), what=what, force=True)
    finally:
        store.close()
    return Path(output.folder)
