"""Who is alive: workers count up a beat in the store, and observers see whether it stands still.

No decision compares the clocks of two machines, or trusts one that people can set. An observer holds a worker for dead

- at once, when the worker ran on the observer's own machine and its process is gone;
- else when its beat stood still for `LEASE_SECONDS` *while the observer looked*: time in which the observer itself could
  not look (a locked database, a restarted server, a machine put to sleep) counts for a few seconds at most.

A worker is observed by its own supervisor, which counts the death against the case that the worker held. Others look at
it only when its supervisor is gone too, and then no case is blamed. To be held for dead wrongly costs time and nothing
else: whoever lost a lease cannot finish its case (see `leases`).
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tracescribe.runs.executors.process_identity import ProcessIdentity, identify

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.runs.store.database import Store

BEAT_SECONDS = 2.0
"""Between two beats of a worker."""
LEASE_SECONDS = 20.0
"""A worker whose beat stood still for so long is dead: ten beats, so that a loaded machine is not taken for a dead one."""
MAX_GAP_SECONDS = BEAT_SECONDS
"""Of the time between two looks of an observer, no more than this counts: nobody knows what was in between. So nobody is
held for dead before an observer has written to the store itself as often as the worker should have."""

WorkerKind = Literal["worker", "supervisor"]
Standing = Literal["alive", "left", "dead", "unknown"]


@dataclass(frozen=True)
class WorkerRow:
    """A worker or supervisor as it stands in the store.

    Attributes:
        beat: counted up while it lives.
        status: `alive` until it leaves, or somebody finds it dead.
    """

    worker_id: str
    kind: str
    job_id: str | None
    supervisor_id: str | None
    process: ProcessIdentity
    beat: int
    status: str


def new_worker_id(kind: WorkerKind = "worker") -> str:
    """A name that nobody else has."""
    return f"{kind[0]}-{uuid.uuid4().hex}"


def register(
    store: Store,
    worker_id: str,
    *,
    job_id: str | None,
    kind: WorkerKind = "worker",
    executor: str = "local",
    supervisor_id: str | None = None,
    process: ProcessIdentity | None = None,
) -> bool:
    """Enter a worker or supervisor into the store.

    Args:
        process: where it runs; None for this process.

    Returns:
        False where its supervisor has left: nobody would see what becomes of it, and it may do nothing.
    """
    from sqlalchemy import select

    from tracescribe.runs.store.tables import workers

    who = process or identify()
    row = {
        "worker_id": worker_id,
        "kind": kind,
        "executor": executor,
        "job_id": job_id,
        "supervisor_id": supervisor_id,
        "host": who.host,
        "boot_id": who.boot_id,
        "pid": who.pid,
        "pid_started": who.started,
        "beat": 0,
        "status": "alive",
        "started_at": time.time(),
        "seen_at": time.time(),
    }

    # the lock: a supervisor that leaves meanwhile sees this worker afterwards
    above = select(workers.c.status).where(workers.c.worker_id == supervisor_id).with_for_update(read=True)

    def enter(connection: Connection) -> bool:
        if supervisor_id is not None and connection.execute(above).scalar() == "left":
            return False
        there = connection.execute(select(workers.c.worker_id).where(workers.c.worker_id == worker_id)).first()
        if there is None:  # else this runs for the second time
            connection.execute(workers.insert().values(row))
        return True

    return store.write(enter)


def beat(store: Store, worker_id: str, job_id: str | None = None, *, revive: bool = False) -> tuple[bool, str | None]:
    """Count a worker's beat up.

    Args:
        revive: count it as alive again, if somebody declared it dead: for supervisors, which hold no leases.

    Returns:
        Whether it still counts as alive, and the status of the job if one was named.
    """
    from sqlalchemy import select, update

    from tracescribe.runs.store.tables import jobs, workers

    alive = update(workers).where(workers.c.worker_id == worker_id)
    if not revive:
        alive = alive.where(workers.c.status == "alive")
    alive = alive.values(beat=workers.c.beat + 1, status="alive", seen_at=time.time())

    def count(connection: Connection) -> tuple[bool, str | None]:
        counted = connection.execute(alive).rowcount == 1
        if job_id is None:
            return counted, None
        return counted, connection.execute(select(jobs.c.status).where(jobs.c.job_id == job_id)).scalar()

    return store.write(count)


def standing(store: Store, worker_id: str) -> Standing:
    """How a worker stands now: as the store says, and `dead` when it ran on this machine and its process is gone."""
    rows = store.read(lambda connection: _rows(connection, (worker_id,)))
    if not rows:
        return "unknown"
    row = rows[0]
    if row.status == "alive" and row.process.is_gone():
        return "dead"
    return "alive" if row.status == "alive" else "left" if row.status == "left" else "dead"


def declared_dead(store: Store, worker_ids: Iterable[str]) -> frozenset[str]:
    """Which of these workers somebody declared dead."""
    wanted = tuple(worker_ids)
    rows = store.read(lambda connection: _rows(connection, wanted)) if wanted else []
    return frozenset(row.worker_id for row in rows if row.status == "dead")


def alive_of(store: Store, supervisor_id: str) -> frozenset[str]:
    """Which workers of a supervisor count as alive in the store, whether or not they are."""
    rows = store.read(_all_alive)
    return frozenset(row.worker_id for row in rows if row.supervisor_id == supervisor_id)


class Observer:
    """Finds the workers that died.

    Args:
        store: whose workers.
        me: the supervisor that observes; its own workers are its own business alone while it lives.
        lease_seconds: for how long a beat must stand still.
    """

    def __init__(
        self, store: Store, me: str, *, lease_seconds: float = LEASE_SECONDS, max_gap_seconds: float = MAX_GAP_SECONDS
    ) -> None:
        self._store = store
        self._me = me
        self._lease_seconds = lease_seconds
        self._max_gap = max_gap_seconds
        self._seen: dict[str, tuple[int, float]] = {}  # beat, and for how long it stood still
        self._looked: float | None = None

    def look(self) -> tuple[WorkerRow, ...]:
        """Workers and supervisors that are dead and that nobody declared dead yet, this observer's own first.

        Beats for the observer too: when that has to wait, beats of others had to wait as well.
        """
        beat(self._store, self._me, revive=True)
        rows = self._store.read(_all_alive)
        now = time.monotonic()
        passed = 0.0 if self._looked is None else min(now - self._looked, self._max_gap)
        self._looked = now
        still: dict[str, tuple[int, float]] = {}
        for row in rows:
            before = self._seen.get(row.worker_id)
            stood = before[1] + passed if before is not None and before[0] == row.beat else 0.0
            still[row.worker_id] = (row.beat, stood)
        self._seen = still
        dead = {row.worker_id for row in rows if row.worker_id != self._me and self._is_dead(row)}
        alive_supervisors = {row.worker_id for row in rows if row.worker_id not in dead}
        found = [
            row
            for row in rows
            if row.worker_id in dead
            and (row.supervisor_id in (None, self._me) or row.supervisor_id not in alive_supervisors)
        ]
        return tuple(sorted(found, key=lambda row: row.supervisor_id != self._me))

    def _is_dead(self, row: WorkerRow) -> bool:
        return bool(row.process.is_gone()) or self._seen[row.worker_id][1] >= self._lease_seconds


@dataclass
class _Watched:
    """What is known of a worker that somebody waits for: its beat, all others' together, and for how long it stood still
    while theirs went on."""

    beat: int
    others: int
    still: float
    counted: float


class WorkerWatch:
    """Tells of single workers whether they are dead, to those who wait for them; ask again and again.

    Unlike an observer it declares nobody dead, and writes nothing: it only looks, and a beat that stands still tells
    something only while others go on, since a locked store stops them all. A process of this machine that is still there
    is left to its supervisor. Safe to use from several threads.
    """

    def __init__(
        self, store: Store, *, lease_seconds: float = LEASE_SECONDS, max_gap_seconds: float = MAX_GAP_SECONDS
    ) -> None:
        self._store = store
        self._lease_seconds = lease_seconds
        self._max_gap = max_gap_seconds
        self._seen: dict[str, _Watched] = {}
        self._lock = threading.Lock()

    def is_dead(self, worker_id: str) -> bool:
        """Whether a worker has left or died; one that nobody knows counts as dead."""
        found, others = self._store.read(lambda connection: _with_others(connection, worker_id))
        if found is None or found.status != "alive":
            return True
        gone = found.process.is_gone()
        if gone is not None:
            return gone
        now = time.monotonic()
        with self._lock:
            seen = self._seen.get(worker_id)
            if seen is None or seen.beat != found.beat:
                seen = self._seen[worker_id] = _Watched(found.beat, others, 0.0, now)
            elif seen.others != others:
                seen.still += min(now - seen.counted, self._max_gap)
                seen.others, seen.counted = others, now
            return seen.still >= self._lease_seconds


def _with_others(connection: Connection, worker_id: str) -> tuple[WorkerRow | None, int]:
    """A worker, and the beats of all others that are alive."""
    from sqlalchemy import func, select

    from tracescribe.runs.store.tables import workers

    alive = (workers.c.worker_id != worker_id) & (workers.c.status == "alive")
    others = connection.execute(select(func.sum(workers.c.beat)).where(alive)).scalar()
    rows = _rows(connection, (worker_id,))
    return (rows[0] if rows else None), int(others or 0)


def _all_alive(connection: Connection) -> list[WorkerRow]:
    return _rows(connection, None)


def _rows(connection: Connection, worker_ids: Iterable[str] | None) -> list[WorkerRow]:
    from sqlalchemy import select

    from tracescribe.runs.store.tables import workers

    wanted = workers.c.status == "alive" if worker_ids is None else workers.c.worker_id.in_(tuple(worker_ids))
    return [_row(found) for found in connection.execute(select(workers).where(wanted)).mappings()]


def _row(found: Any) -> WorkerRow:
    process = ProcessIdentity(found["host"], found["boot_id"], found["pid"], found["pid_started"])
    return WorkerRow(
        found["worker_id"],
        found["kind"],
        found["job_id"],
        found["supervisor_id"],
        process,
        found["beat"],
        found["status"],
    )
