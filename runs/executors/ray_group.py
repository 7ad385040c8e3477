"""The actors of one job on a Ray cluster, seen from their driver, which is their supervisor.

Actors lease cases for themselves. The driver starts them, starts others for those that are gone (with their process,
their node, or a machine that was taken back), ends a case that takes longer than it may together with its actor, and
returns what the lost ones held. A case is blamed for the death of an actor only where the actor's node lives on.
"""

# Ray is an extra: the type check runs without it too
# pyright: reportMissingImports=false

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracescribe.runs.executors import leases
from tracescribe.runs.executors.case_queue import end_if_done
from tracescribe.runs.executors.contract import CaseFailed, CaseFunction
from tracescribe.runs.executors.interrupts import in_haste, stop_if_asked, undisturbed
from tracescribe.runs.executors.job_state import JobState, held_by, job_state
from tracescribe.runs.executors.liveness import Observer, alive_of, declared_dead, new_worker_id, register
from tracescribe.runs.executors.ray_messages import first_line, store_error_of
from tracescribe.runs.executors.ray_places import node_is_gone, places
from tracescribe.runs.executors.ray_worker import CaseActor, RayOrders
from tracescribe.runs.executors.worker_remains import remove_temporary, temporary_folder
from tracescribe.runs.store.errors import StoreError
from tracescribe.runs.telemetry.settings import worker_variables
from tracescribe.tracer.errors import TracescribeError, WorkError

if TYPE_CHECKING:
    from tracescribe.runs.executors.worker import WorkerEnd
    from tracescribe.runs.jobs.specification import RayExecutor
    from tracescribe.runs.store.database import Store

LOOK_SECONDS = 1.0
"""Between two looks at who is alive and how the job stands."""
DRAIN_SECONDS = 15.0
"""For actors that are told to end, before they are killed."""
KILL_SECONDS = 5.0
"""For actors that are killed, until Ray says that they are gone."""
MAX_SILENCE_SECONDS = 60.0
"""After an actor's process is gone, for Ray to say whether its node is; a cluster takes half a minute to miss a node."""
MAX_STARTS_IN_A_ROW = 3
"""Actors that die before they are up: the fault is then no case's."""


@dataclass(eq=False)
class _Actor:
    """An actor, seen from its driver.

    Attributes:
        work: Ray's reference to what its work returns.
        place: Ray's reference to the node that it runs on.
        node: that node; None while the actor waits for a place.
    """

    worker_id: str
    handle: Any
    work: Any
    place: Any
    node: str | None = None


class RayGroup:
    """The actors of one driver on one job.

    Args:
        store: the driver's own.
        seconds: after which a case is ended with its actor.
    """

    def __init__(
        self,
        store: Store,
        job_id: str,
        function: CaseFunction,
        executor: RayExecutor,
        *,
        seconds: float,
        carrier: Mapping[str, str] | None = None,
    ) -> None:
        self.supervisor_id = new_worker_id("supervisor")
        self._store = store
        self._job_id = job_id
        self._function = function
        self._executor = executor
        self._seconds = seconds
        self._carrier = carrier
        self._actors: list[_Actor] = []
        self._false_starts = 0
        self._fault: TracescribeError | None = None
        self._begun: dict[tuple[str, int], float] = {}  # when this driver first saw a case with an attempt
        self._missed: dict[str, float] = {}  # when this driver saw that an actor's process is gone
        self._cancelled_at: float | None = None
        self._observer = Observer(store, self.supervisor_id)

    def enter(self) -> None:
        """Tell the store that this driver is there."""
        register(self._store, self.supervisor_id, job_id=self._job_id, kind="supervisor", executor="ray")

    def run(self) -> None:
        """Work until the job is over or stopped.

        Raises:
            StoreError: the actors, or this driver, cannot use the store any more.
            WorkError: no actor can be started.
        """
        while True:
            stop_if_asked()
            state = self.look_around()
            if state.is_open and self._fault is None:
                for _ in range(min(self._wanted(), state.n_open) - len(self._actors)):
                    self._start()
            if not self._actors:
                break
            if not state.is_open or self._fault is not None:
                self._end_waiting()
            self._end_late()
            self._end_cancelled(state)
            self._hear(LOOK_SECONDS)
        if self._fault is not None:
            raise self._fault

    def close(self, *, tell_store: bool = True) -> None:
        """Let the actors finish or give back what they hold, then end them, and take this driver out of the store.

        Args:
            tell_store: False where the store cannot be used: the next look of anybody finds the dead.
        """
        try:
            self._tell_to_end()
            until = time.monotonic() + DRAIN_SECONDS
            while tell_store and self._actors and time.monotonic() < until and not in_haste():
                self._end_waiting()
                self._hear(0.5)
        finally:
            with undisturbed():
                self._end(list(self._actors), tell_store=tell_store)
                if tell_store:
                    with suppress(StoreError):
                        leases.leave_with_workers(self._store, self.supervisor_id)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _wanted(self) -> int:
        return self._executor.workers or places(self._executor)

    def _start(self) -> None:
        import ray

        worker_id = new_worker_id()
        orders = RayOrders(
            self._store.address,
            self._job_id,
            self._function,
            worker_id,
            self.supervisor_id,
            self._executor.gpus,
            worker_variables(),
            temporary_folder(self._store, worker_id),
            self._carrier,
        )
        kind = ray.remote(CaseActor).options(
            num_cpus=self._executor.cpus,
            num_gpus=self._executor.gpus,
            # a new actor with a name of its own follows one that is lost: a name is never used again
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=2,
        )
        with undisturbed():
            handle: Any = kind.remote(orders)
            self._actors.append(_Actor(worker_id, handle, handle.work.remote(), handle.node.remote()))

    def _hear(self, seconds: float) -> None:
        """Wait for actors that end, and see to those that did."""
        import ray
        from ray.exceptions import RayError

        if not self._actors:
            return
        by_work = {actor.work: actor for actor in self._actors}
        ended, _ = ray.wait(list(by_work), num_returns=len(by_work), timeout=seconds)
        if ended and len(ended) < len(by_work):
            ended, _ = ray.wait(list(by_work), num_returns=len(by_work), timeout=0)
        for work in ended:
            actor = by_work[work]
            try:
                end: WorkerEnd = ray.get(work)
            except RayError as error:
                self._lost(actor, error)
            else:
                self._drop(actor)
                if end.reason == "store" and self._fault is None:
                    self._fault = store_error_of(end)
                    self._tell_to_end()

    def _lost(self, actor: _Actor, error: Exception) -> None:
        """An actor died, or never lived."""
        from tracescribe.runs.executors.liveness import standing

        self._find_places()  # it may have told its place since the last look; blame depends on that
        self._drop(actor)
        if standing(self._store, actor.worker_id) == "unknown":
            self._false_starts += 1
            if self._false_starts >= MAX_STARTS_IN_A_ROW:
                raise WorkError(
                    f"{self._false_starts} actors ended before they were up ({first_line(error)}); see whether every "
                    "node has this version of tracescribe, and memory left"
                )
            return
        leases.declare_dead(self._store, actor.worker_id, crashed=not node_is_gone(actor.node))

    def look_around(self) -> JobState:
        """Take away from the dead what they held; returns how the job stands."""
        self._find_places()
        mine = {actor.worker_id: actor for actor in self._actors}
        for row in self._observer.look():
            actor = mine.get(row.worker_id)
            if actor is None:
                leases.declare_dead(self._store, row.worker_id, crashed=False, beat=row.beat)
                continue
            if row.process.is_gone() and self._may_wait(row.worker_id):
                continue  # Ray tells in a moment whether its node went with it
            gone = node_is_gone(actor.node)
            self._kill(actor)  # stopped, hung, or out of reach: what it may yet do does not count
            leases.declare_dead(self._store, row.worker_id, crashed=not gone)
        for worker_id in declared_dead(self._store, [actor.worker_id for actor in self._actors]):
            self._kill(mine[worker_id])
        leases.reclaim(self._store, self._job_id)
        state = job_state(self._store, self._job_id)
        if state.is_open and not state.n_open:
            end_if_done(self._store, self._job_id, self.supervisor_id)
            state = job_state(self._store, self._job_id)
        return state

    def _may_wait(self, worker_id: str) -> bool:
        """Whether Ray still has time to say why a process is gone."""
        return time.monotonic() - self._missed.setdefault(worker_id, time.monotonic()) < MAX_SILENCE_SECONDS

    def _find_places(self) -> None:
        """Learn on which nodes the actors run; only those that have a place answer."""
        import ray
        from ray.exceptions import RayError

        homeless = {actor.place: actor for actor in self._actors if actor.node is None}
        if not homeless:
            return
        told, _ = ray.wait(list(homeless), num_returns=len(homeless), timeout=0)
        for place in told:
            with suppress(RayError):  # it died; its work tells so
                homeless[place].node = ray.get(place)
                self._false_starts = 0

    def _end_late(self) -> None:
        """End cases that take longer than they may, with their actors."""
        held = held_by(self._store, [actor.worker_id for actor in self._actors])
        now = time.monotonic()
        self._begun = {(case, attempt): self._begun.get((case, attempt), now) for _, case, attempt in held}
        by_id = {actor.worker_id: actor for actor in self._actors}
        for worker_id, case_id, attempt in held:
            if now - self._begun[case_id, attempt] < self._seconds:
                continue
            self._kill(by_id[worker_id])
            message = f"no result after {self._seconds:g} s; its actor was ended"
            leases.fail_case(self._store, case_id, attempt, worker_id, CaseFailed("timeout", message))
            leases.declare_dead(self._store, worker_id, crashed=False)

    def _end_cancelled(self, state: JobState) -> None:
        """End actors that go on although their job is cancelled."""
        if state.status != "cancelled":
            self._cancelled_at = None
            return
        if self._cancelled_at is None:
            self._cancelled_at = time.monotonic()
        if time.monotonic() - self._cancelled_at >= DRAIN_SECONDS:
            for actor in list(self._actors):
                self._kill(actor)
                leases.declare_dead(self._store, actor.worker_id, crashed=False)

    def _end_waiting(self) -> None:
        """End actors that still wait for a place while there is nothing left to do.

        One that the store knows waits no more, even where Ray has not told its place yet: it ends by itself, with its case.
        """
        self._find_places()
        homeless = [actor for actor in self._actors if actor.node is None]
        known = alive_of(self._store, self.supervisor_id) if homeless else frozenset[str]()
        self._end([actor for actor in homeless if actor.worker_id not in known])

    def _end(self, actors: list[_Actor], *, tell_store: bool = True) -> None:
        """Kill actors, see them gone, and return what they held: one that was about to be entered may hold a case by now."""
        import ray

        for actor in actors:
            self._kill(actor)
        if actors and tell_store:
            ray.wait([actor.work for actor in actors], num_returns=len(actors), timeout=KILL_SECONDS)
            with suppress(StoreError):
                for actor in actors:
                    leases.declare_dead(self._store, actor.worker_id, crashed=False)

    def _tell_to_end(self) -> None:
        from ray.exceptions import RayError

        for actor in self._actors:
            with suppress(RayError):
                actor.handle.end.remote()

    def _kill(self, actor: _Actor) -> None:
        import ray
        from ray.exceptions import RayError

        with suppress(RayError, ValueError):
            ray.kill(actor.handle, no_restart=True)
        self._drop(actor)

    def _drop(self, actor: _Actor) -> None:
        if actor in self._actors:
            self._actors.remove(actor)
        remove_temporary(self._store, actor.worker_id)
