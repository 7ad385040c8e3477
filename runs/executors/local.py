"""The local executor: a supervisor and its worker processes on this machine.

    supervisor ──forks──> template (libraries loaded, nothing else) ──forks──> workers ──lease──> store
        └────── pipes: which case, since when, why it ended ──────────────────────┘

Workers lease cases for themselves; the supervisor starts them, starts others for those that died, ends a case that
takes longer than it may together with its worker, and returns what the dead held. When the supervisor is gone its
workers end; when the template is gone it is started anew. Several supervisors, on several machines, may work on one job.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from tracescribe.agents.external.cleanup import adopt_orphans
from tracescribe.runs.executors import leases
from tracescribe.runs.executors.case_queue import end_if_done
from tracescribe.runs.executors.contract import CaseFailed, CaseFunction
from tracescribe.runs.executors.interrupts import in_haste, stop_if_asked, undisturbed
from tracescribe.runs.executors.job_state import JobState, job_state
from tracescribe.runs.executors.liveness import Observer, WorkerRow, declared_dead, new_worker_id, register
from tracescribe.runs.executors.local_worker import WorkerOrders
from tracescribe.runs.executors.worker_process import (
    WorkerProcess,
    end_template_that_loads,
    template_is_up,
    template_pid,
    use_template,
)
from tracescribe.runs.executors.worker_remains import end_remains, remove_temporary, temporary_folder
from tracescribe.runs.store import errors as store_errors
from tracescribe.runs.store.errors import StoreError
from tracescribe.tracer.errors import TracescribeError, WorkError

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Between two looks at who is alive and how the job stands."""
DRAIN_SECONDS = 10.0
"""For workers that are told to end, before they are ended."""
LOADING_SECONDS = 120.0
"""For the template to load what workers need; one that takes longer is waited for by its first worker, deaf to Ctrl-C."""
MAX_STARTS_IN_A_ROW = 3
"""Workers, or their template, that end before they are up: the fault is then no case's."""


class WorkerGroup:
    """The worker processes of one supervisor on one job. Leaving it as a context ends them all.

    Args:
        store: the supervisor's own.
        function: carries out cases; its attribute `preload`, where it has one, names modules that the template imports.
        n_workers: most at a time.
    """

    def __init__(
        self,
        store: Store,
        job_id: str,
        function: CaseFunction,
        n_workers: int,
        carrier: dict[str, str] | None = None,
    ) -> None:
        self.supervisor_id = new_worker_id("supervisor")
        self._store = store
        self._job_id = job_id
        self._function = function
        self._n = n_workers
        self._carrier = carrier
        self._workers: list[WorkerProcess] = []
        self._false_starts = 0
        self._fault: TracescribeError | None = None
        self._changed = self._closing = False
        self._tells_store = True
        use_template(getattr(function, "preload", ()))
        self._observer = Observer(store, self.supervisor_id)
        self._cancelled_at: float | None = None
        self._loading_since: float | None = None
        self._loading_pid: int | None = None
        adopt_orphans()

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers."""
        return tuple(worker.identity.pid for worker in self._workers)

    def enter(self) -> None:
        """Tell the store that this supervisor is there."""
        register(self._store, self.supervisor_id, job_id=self._job_id, kind="supervisor")

    def look_around(self) -> JobState:
        """Take away from the dead what they held, this supervisor's own workers first; returns how the job stands."""
        mine = {worker.worker_id: worker for worker in self._workers}
        for row in self._observer.look():
            self._bury(row, mine.get(row.worker_id))
        lost = declared_dead(self._store, mine)
        for worker in [one for one in self._workers if one.worker_id in lost]:
            self._end(worker)  # somebody else found it dead: what it may yet do does not count
        leases.reclaim(self._store, self._job_id)
        state = job_state(self._store, self._job_id)
        if state.is_open and not state.n_open:
            end_if_done(self._store, self._job_id, self.supervisor_id)
            state = job_state(self._store, self._job_id)
        return state

    def run(self) -> None:
        """Work until the job is over, here at least, or stopped.

        Raises:
            StoreError: the workers, or this supervisor, cannot use the store any more.
            WorkError: no worker process can be started.
        """
        state, looked = self.look_around(), time.monotonic()
        while True:
            stop_if_asked()
            # a worker is gone: perhaps because the job is over
            if self._changed or time.monotonic() - looked >= LOOK_SECONDS:
                self._changed = False
                state, looked = self.look_around(), time.monotonic()
                self._end_cancelled(state)
            wanted = 0
            if state.is_open and self._fault is None:
                wanted = max(0, min(self._n, state.n_open) - len(self._workers))
            loading = wanted > 0 and self._is_loading()
            for _ in range(0 if loading else wanted):
                self._start()
            if not self._workers and not self._changed and not loading:
                break
            self._listen(0.05 if loading else min(0.5, LOOK_SECONDS))
            self._end_late()
        if self._fault is not None:
            raise self._fault

    def close(self, *, tell_store: bool = True) -> None:
        """Let the workers finish or give back what they hold, then end them, and take this supervisor out of the store.

        Args:
            tell_store: False where the store cannot be used: nobody waits for it once more, and whoever resumes the job
                finds at once that all of these are gone.
        """
        self._tells_store, self._closing = tell_store, True
        try:
            for worker in self._workers:
                worker.ask_to_end()
            until = time.monotonic() + DRAIN_SECONDS
            while self._workers and time.monotonic() < until and not in_haste():
                self._listen(0.2)
        finally:
            with undisturbed():
                end_template_that_loads()
                for worker in list(self._workers):
                    worker.kill()
                    self._drop(worker)
                    self._declare_dead(worker, crashed=False)
                if self._tells_store:
                    with suppress(StoreError):
                        leases.leave_with_workers(self._store, self.supervisor_id)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _is_loading(self) -> bool:
        """Whether a worker that is started now would have to wait for the template; one that died of it is a false start."""
        with undisturbed():
            if template_is_up():
                self._loading_since = None
                return False
            pid = template_pid()
        if self._loading_since is None:
            self._loading_since = time.monotonic()
        elif pid != self._loading_pid:
            self._false_start("the process that they are forked from ended while it loaded libraries")
        self._loading_pid = pid
        return time.monotonic() - self._loading_since < LOADING_SECONDS

    def _start(self) -> None:
        worker_id = new_worker_id()
        orders = WorkerOrders(
            self._store.address,
            self._job_id,
            self._function,
            worker_id,
            self.supervisor_id,
            temporary_folder(self._store, worker_id),
            self._carrier,
        )
        try:
            with undisturbed():
                self._workers.append(WorkerProcess(orders))
        except (OSError, EOFError) as error:  # the template was killed in the middle of it
            self._changed = True  # nobody may work now, and still the job is not over: another turn starts one
            self._false_start(f"{type(error).__name__}: {error}")

    def _false_start(self, why: str) -> None:
        self._false_starts += 1
        if self._false_starts >= MAX_STARTS_IN_A_ROW:
            raise WorkError(
                f"{self._false_starts} worker processes ended before they were up ({why}); see whether memory is left"
            )

    def _listen(self, seconds: float) -> None:
        """Hear what workers say for a while, and notice which are gone."""
        pipes: dict[Any, WorkerProcess] = {worker.pipe: worker for worker in self._workers}
        for pipe in wait(list(pipes), timeout=seconds):
            worker = pipes[pipe]
            if not worker.hear():
                self._gone(worker)
            if worker.up:
                self._false_starts = 0

    def _gone(self, worker: WorkerProcess) -> None:
        """A worker closed its pipe: it has ended, died, or is dying."""
        worker.wait_for_end()
        self._drop(worker)
        if worker.end is None:
            if not worker.up and (self._closing or self._fault is not None):
                return  # told to end before it could hear that: it has held nothing
            if not worker.up:
                self._false_start("without a word")
            _tell_loss(worker, "its process ended without a word, as when it is killed or memory runs out")
            self._declare_dead(worker, crashed=worker.up and not self._closing)
        elif worker.end["reason"] == "store" and self._fault is None:
            self._fault = _store_error(worker.end)
            for other in self._workers:
                other.ask_to_end()

    def _drop(self, worker: WorkerProcess) -> None:
        """Forget a worker that is gone, and remove what it leaves on this machine."""
        self._changed = True
        if worker in self._workers:
            self._workers.remove(worker)
        worker.close()
        end_remains(worker.identity.pid)
        remove_temporary(self._store, worker.worker_id)

    def _declare_dead(self, worker: WorkerProcess, *, crashed: bool) -> None:
        if not self._tells_store:
            return
        try:
            leases.declare_dead(self._store, worker.worker_id, crashed=crashed)
        except StoreError:
            self._tells_store = False
            if not self._closing:
                raise

    def _bury(self, row: WorkerRow, mine: WorkerProcess | None) -> None:
        if mine is None:
            leases.declare_dead(self._store, row.worker_id, crashed=False, beat=row.beat)
            return
        if not mine.hear() and mine.end is not None:
            return  # it ended in good order just now; the next turn hears of it
        _tell_loss(mine, "it stood still, stopped or hung with all its threads, and is ended")
        mine.kill()
        self._drop(mine)
        self._declare_dead(mine, crashed=True)

    def _end_late(self) -> None:
        """End cases that take longer than they may, with their workers."""
        now = time.monotonic()
        for worker in [one for one in self._workers if one.deadline is not None and one.deadline <= now]:
            if not worker.hear() or worker.case is None or worker.deadline is None or worker.deadline > now:
                continue  # it is gone, or holds another case by now
            self._end(worker)
            case_id, attempt = worker.case
            message = f"no result after {worker.seconds:g} s; its worker process was ended"
            leases.fail_case(self._store, case_id, attempt, worker.worker_id, CaseFailed("timeout", message))
            self._declare_dead(worker, crashed=False)

    def _end_cancelled(self, state: JobState) -> None:
        """End workers that go on although their job is cancelled."""
        if state.status != "cancelled":
            self._cancelled_at = None
            return
        if self._cancelled_at is None:
            self._cancelled_at = time.monotonic()
        if time.monotonic() - self._cancelled_at >= DRAIN_SECONDS:
            for worker in list(self._workers):
                self._end(worker)
                self._declare_dead(worker, crashed=False)

    def _end(self, worker: WorkerProcess) -> None:
        worker.kill()
        worker.wait_for_end()
        worker.hear()
        self._drop(worker)


def _tell_loss(worker: WorkerProcess, why: str) -> None:
    """Log that a worker is lost, for whoever wants to know why a case has a second attempt."""
    case_id = "" if worker.case is None else worker.case[0]
    fields = {"worker_id": worker.worker_id, "case_id": case_id, "pid": worker.identity.pid}
    logger.warning("worker %s is lost: %s", worker.worker_id, why, extra={"event": "worker lost", "fields": fields})


def _store_error(end: dict[str, Any]) -> TracescribeError:
    kind = getattr(store_errors, str(end.get("error")), StoreError)
    if not (isinstance(kind, type) and issubclass(kind, TracescribeError)):
        kind = StoreError
    return kind(str(end.get("message") or "a worker cannot use the store"))
