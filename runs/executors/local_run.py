"""A job worked on by this machine, from the first look to the last sweep."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tracescribe.runs.audit.sealing import try_seal
from tracescribe.runs.executors.contract import CaseFunction
from tracescribe.runs.executors.interrupts import ended_by_signals
from tracescribe.runs.executors.job_state import job_state
from tracescribe.runs.executors.local import WorkerGroup
from tracescribe.runs.executors.machine_size import default_workers
from tracescribe.runs.executors.scratch import sweep_scratch
from tracescribe.runs.executors.worker_remains import sweep_temporary
from tracescribe.runs.store.database import StoreAddress, open_store
from tracescribe.runs.store.errors import StoreError
from tracescribe.runs.telemetry.queue_depth import queue_watched
from tracescribe.tracer.redaction import current_redactor

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunEnd:
    """How a job stands when its executor ends.

    Attributes:
        status: of the job.
        message: why it stopped, if it did.
    """

    status: str
    message: str | None = None


def run_locally(address: StoreAddress, job_id: str, function: CaseFunction, *, workers: int | None = None) -> RunEnd:
    """Work on a job with processes of this machine until it is over.

    Ctrl-C and SIGTERM end the workers, which finish or give back their cases; the job can be resumed at once.

    Args:
        address: of the store.
        job_id: which job.
        function: carries out cases.
        workers: None for one a core, fewer where memory is short.

    Returns:
        How the job stands.

    Raises:
        UnknownIdError: there is no such job.
        StoreError: the store cannot be used.
        WorkError: no worker process can be started.
        KeyboardInterrupt: it was interrupted.
    """
    store = open_store(address)
    try:
        job_state(store, job_id)
        with job_span(job_id) as carrier, ended_by_signals():
            group = WorkerGroup(store, job_id, function, workers or default_workers(), carrier)
            carry_out(store, job_id, group)
        state = job_state(store, job_id)
        return RunEnd(state.status, state.message)
    finally:
        store.close()


class Workers(Protocol):
    """The workers of one run, wherever they live."""

    def enter(self) -> None:
        """Tell the store that their supervisor is there."""
        ...

    def look_around(self) -> object:
        """Take back what workers hold that are gone."""
        ...

    def run(self) -> None:
        """Work until the job is over."""
        ...

    def close(self, *, tell_store: bool = True) -> None:
        """End all workers."""
        ...


def carry_out(store: Store, job_id: str, group: Workers) -> None:
    """The course of every run: clear away what kills left, work, end the workers, clear away what this run left.

    A store that cannot be used is not asked again on the way out.

    Raises:
        StoreError: the store cannot be used.
        WorkError: no worker can be started.
    """
    usable = True
    try:
        group.enter()
        group.look_around()
        sweep(store)
        with queue_watched(store, job_id):
            group.run()
    except StoreError:
        usable = False
        raise
    finally:
        group.close(tell_store=usable)
        if usable:
            clear_up(store)


def sweep(store: Store) -> None:
    """Remove what kills left on this machine and in the store of artefacts."""
    sweep_temporary(store)
    sweep_scratch(store)
    store.artefacts.sweep(store)


def clear_up(store: Store) -> None:
    """What is to be done at the end of a run; it harms no result where it cannot be done, and is told."""
    try:
        sweep(store)
        told = try_seal(store)
    except StoreError as error:
        told = str(error)
    if told:
        _log.warning("at the end of the run: %s", current_redactor().text(told))


@contextmanager
def job_span(job_id: str) -> Iterator[dict[str, str]]:
    """Run a block within the span `job`; gives the W3C trace context that workers need to hang theirs below it."""
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    tracer = trace.get_tracer("tracescribe.runs")
    with tracer.start_as_current_span("job", attributes={"tracescribe.job.id": job_id}):
        TraceContextTextMapPropagator().inject(carrier)
        yield carrier
