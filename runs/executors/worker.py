"""A worker's life: lease a case, carry it out, hand it in, and so on until nothing is left, wherever the worker lives.

The same loop runs in processes of this machine and in Ray actors. A thread of its own counts the worker's beat up, on a
connection of its own, so that a long case does not look like a death. A worker that cannot use the store gives its case
up and ends; the store retries for a while before it says so.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from tracescribe.runs.executors import leases
from tracescribe.runs.executors.case_queue import NoLease, lease_next, may_lease
from tracescribe.runs.executors.case_spans import case_span
from tracescribe.runs.executors.contract import CaseFailed, CaseFunction, CaseLease, CaseOutcome
from tracescribe.runs.executors.liveness import BEAT_SECONDS, beat, new_worker_id, register
from tracescribe.runs.executors.scratch import remove_scratch
from tracescribe.runs.store.database import Store, StoreAddress, open_store
from tracescribe.runs.store.errors import (
    ArtefactDamagedError,
    ArtefactMissingError,
    LeaseLostError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
)
from tracescribe.runs.telemetry.case_ends import tell_begin, tell_end, tell_outcome
from tracescribe.runs.telemetry.log_lines import log_place
from tracescribe.tracer.errors import InputError, TracescribeError
from tracescribe.tracer.redaction import redactor_of

if TYPE_CHECKING:
    from tracescribe.runs.jobs.records import FailureKind
    from tracescribe.runs.jobs.specification import JobSpecification

IDLE_SECONDS = 0.2
"""Between two looks of a worker that has nothing to do while others still work."""
MAX_MESSAGE = 2000
"""Characters of a failure that are stored."""

EndReason = Literal["ended", "drained", "lost", "stopped", "store"]


@dataclass(frozen=True)
class WorkerEnd:
    """Why a worker ended.

    Attributes:
        reason: `ended`: the job has nothing left to do; `drained`: it was told to; `lost`: it was held for dead;
            `stopped`: it stopped the job; `store`: the store cannot be used.
        message: for people; of `stopped` and `store`.
        error: of `store`: the error's type.
    """

    reason: EndReason
    message: str = ""
    error: str | None = None


Told = Callable[[CaseLease], None]
"""Called with each lease before its case begins."""


def work_on_job(
    address: StoreAddress,
    job_id: str,
    function: CaseFunction,
    *,
    worker_id: str | None = None,
    supervisor_id: str | None = None,
    executor: str = "local",
    drain: threading.Event | None = None,
    registered: Callable[[], None] | None = None,
    told: Told | None = None,
    carrier: Mapping[str, str] | None = None,
) -> WorkerEnd:
    """Work on a job's cases until none is left.

    What it records of its work is switched on around it (`observe_worker`).

    Args:
        address: of the store.
        job_id: whose cases.
        function: carries out cases. Where it has a method `prepare(job, store)`, that is called before the first case.
        worker_id: this worker's name; None makes one.
        supervisor_id: who started it and watches it.
        executor: `local` or `ray`.
        drain: set it to end the worker: the case at hand is finished or given back, whichever is sooner.
        registered: called when the store knows this worker.
        told: called with each lease before its case begins.
        carrier: W3C trace context of the job's span.

    Returns:
        Why it ended; it raises nothing that the store or a case may cause.
    """
    name = worker_id or new_worker_id()
    try:
        store = open_store(address)
    except (StoreError, InputError) as error:
        return WorkerEnd("store", _one_line(error), type(error).__name__)
    try:
        if not register(store, name, job_id=job_id, executor=executor, supervisor_id=supervisor_id):
            return WorkerEnd("lost", "its supervisor has left")
        if registered is not None:
            registered()
        heart = _Heart(store, name, job_id)
        heart.start()
        try:
            return _Worker(store, job_id, name, function, drain or threading.Event(), heart, told, carrier).run()
        finally:
            heart.stop()
            with suppress(StoreError):
                leases.leave(store, name)
    except StoreError as error:
        return WorkerEnd("store", _one_line(error), type(error).__name__)
    finally:
        store.close()


class _Heart:
    """Counts a worker's beat up, and learns whether it still counts as alive and whether its job still wants it."""

    def __init__(self, store: Store, worker_id: str, job_id: str) -> None:
        self.lost = False
        self.cancelled = False
        self._store, self._worker_id, self._job_id = store, worker_id, job_id
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            # faults of the store are the loop's business, it meets them too; none may stop the heart of a live worker
            with suppress(Exception):
                alive, job = beat(self._store, self._worker_id, self._job_id)
                self.lost = not alive
                self.cancelled = job == "cancelled"


class _Worker:
    def __init__(
        self,
        store: Store,
        job_id: str,
        worker_id: str,
        function: CaseFunction,
        drain: threading.Event,
        heart: _Heart,
        told: Told | None,
        carrier: Mapping[str, str] | None,
    ) -> None:
        self._store = store
        self._job_id = job_id
        self._worker_id = worker_id
        self._function = function
        self._drain = drain
        self._heart = heart
        self._told = told
        self._carrier = carrier
        self._prepared = False

    def run(self) -> WorkerEnd:
        following: CaseLease | NoLease = lease_next(self._store, self._job_id, self._worker_id)
        while True:
            if isinstance(following, NoLease):
                if following.reason in ("ended", "lost"):
                    return WorkerEnd("ended" if following.reason == "ended" else "lost")
                if self._drain.wait(IDLE_SECONDS):
                    return WorkerEnd("drained")
                if may_lease(self._store, self._job_id):
                    following = lease_next(self._store, self._job_id, self._worker_id)
                continue
            if self._drain.is_set():
                leases.give_back(self._store, following)
                return WorkerEnd("drained")
            stopped = self._prepare(following)
            if stopped is not None:
                return self._stop(following, stopped)
            found = self._one_case(following)
            if isinstance(found, WorkerEnd):
                return found
            following = found

    def _one_case(self, lease: CaseLease) -> CaseLease | NoLease | WorkerEnd:
        """Carry out a case and hand it in; returns what follows."""
        if self._told is not None:
            self._told(lease)
        tell_begin(lease)
        begun = time.monotonic()
        with log_place(case_id=lease.case_id):
            outcome = self._carry_out(lease)
        seconds = time.monotonic() - begun
        if outcome is not None and outcome.stop is not None:
            tell_end(lease, "stopped", outcome, seconds)
            return self._stop(lease, outcome.stop)
        try:
            if outcome is None:
                leases.give_back(self._store, lease)
                tell_end(lease, "returned", None, seconds)
            elif self._drain.is_set():
                leases.finish(self._store, lease, outcome)
                tell_end(lease, "done" if outcome.failure is None else "failed", outcome, seconds)
                self._clear(lease)
            else:
                following = leases.finish_and_lease(self._store, lease, outcome)
                tell_end(lease, "done" if outcome.failure is None else "failed", outcome, seconds)
                self._clear(lease)
                return following
        except LeaseLostError:
            # it was held for dead, or the job is cancelled; what it did does not count
            tell_end(lease, "lost", outcome, seconds)
        if self._drain.is_set():
            return WorkerEnd("drained")
        return lease_next(self._store, self._job_id, self._worker_id)

    def _prepare(self, lease: CaseLease) -> str | None:
        """Load what all cases need; returns why the job cannot go on, if it cannot."""
        if self._prepared:
            return None
        prepare: Callable[[JobSpecification, Store], None] | None = getattr(self._function, "prepare", None)
        try:
            if prepare is not None:
                prepare(lease.job, self._store)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, every case would meet it
            _raise_store_error(error)
            return _told_error(error, lease.job)
        self._prepared = True
        return None

    def _carry_out(self, lease: CaseLease) -> CaseOutcome | None:
        """What came of a case; None when it was interrupted.

        Raises:
            StoreError: the store cannot be used.
        """
        begun = time.monotonic()
        try:
            with case_span(lease, self._carrier):
                outcome = self._function(lease, self._store, lambda: self._still_ours(lease))
                tell_outcome(outcome)
        except LeaseLostError:
            return None
        except (ArtefactDamagedError, ArtefactMissingError) as error:
            outcome = CaseOutcome(failure=CaseFailed("error", _told_error(error, lease.job)))
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - a case that fails is a result
            _raise_store_error(error)
            kind: FailureKind = "input" if isinstance(error, InputError) else "error"
            outcome = CaseOutcome(failure=CaseFailed(kind, _told_error(error, lease.job)))
        return outcome if outcome.seconds else replace(outcome, seconds=round(time.monotonic() - begun, 3))

    def _still_ours(self, lease: CaseLease) -> bool:
        if self._heart.lost or self._heart.cancelled or self._drain.is_set():
            return False
        return leases.still_held(self._store, lease)

    def _stop(self, lease: CaseLease, why: str) -> WorkerEnd:
        leases.give_back(self._store, lease)
        leases.stop_job(self._store, self._job_id, why, worker_id=self._worker_id)
        return WorkerEnd("stopped", why)

    def _clear(self, lease: CaseLease) -> None:
        with suppress(OSError):  # the sweep at the end of the run tries again
            remove_scratch(self._store, lease.case_id)


def _raise_store_error(error: Exception) -> None:
    """Disks that are full or read-only are nobody's case's fault."""
    code = error.errno if isinstance(error, OSError) else None
    if code in (errno.ENOSPC, errno.EDQUOT):
        raise StoreFullError(f"no space is left on the disk: {_one_line(error)}") from error
    if code == errno.EROFS:
        raise StoreReadOnlyError(f"the disk cannot be written to: {_one_line(error)}") from error


def _told_error(error: Exception, job: JobSpecification) -> str:
    """An error as it may be stored: one line, redacted."""
    text = redactor_of(job.privacy.patterns, job.privacy.more).text(_one_line(error))
    return text if isinstance(error, TracescribeError) else f"{type(error).__name__}: {text}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:MAX_MESSAGE]
