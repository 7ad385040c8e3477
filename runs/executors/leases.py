"""Who holds which case: leases are finished, given back and taken away in transactions that cannot be half done.

    waiting ──lease──> running ──finish──> done | failed
       ^                  │
       └──give back, ─────┘   (`cancelled` instead, when its job is)
          reclaim

A lease is (case, attempt, worker); `case_queue` gives it. Every act on a running case names all three, and does nothing
when they are not the row's own any more: whoever comes late, because it was held for dead, cannot finish, and what it
did is not kept. Each transaction bears being run twice, since the outcome of a commit may be unknown.

The queue is `crashes, position`: a case whose worker died goes behind those that did no harm yet.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tracescribe.runs.executors.case_queue import OPEN_STATUSES, NoLease, ask, take
from tracescribe.runs.executors.contract import CaseFailed, CaseLease, CaseOutcome
from tracescribe.runs.executors.liveness import alive_of
from tracescribe.runs.store.errors import LeaseLostError

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from tracescribe.runs.store.database import Store


def still_held(store: Store, lease: CaseLease) -> bool:
    """Whether a lease stands, and its job is not cancelled."""
    return store.read(lambda connection: is_held(connection, lease))


def is_held(connection: Connection, lease: CaseLease) -> bool:
    """`still_held` within a transaction."""
    from tracescribe.runs.executors import lease_statements as statements

    return connection.execute(statements.job_status_of_held(), _named(lease)).scalar() not in (None, "cancelled")


def finish(store: Store, lease: CaseLease, outcome: CaseOutcome) -> None:
    """Make an outcome the result of its case.

    Raises:
        LeaseLostError: the case belongs to somebody else by now; nothing of the outcome is kept.
        StoreError: the store cannot be used.
    """
    names = stage(store, lease, outcome)

    def work(connection: Connection) -> None:
        if _mark_finished(connection, lease, outcome):
            _keep(store, connection, lease, outcome, names)

    store.write(work)


def finish_and_lease(store: Store, lease: CaseLease, outcome: CaseOutcome) -> CaseLease | NoLease:
    """`finish`, and the next case of the same job in the same transaction.

    Raises:
        LeaseLostError: the case belongs to somebody else by now; nothing of the outcome is kept, and nothing is leased.
        StoreError: the store cannot be used.
    """
    names = stage(store, lease, outcome)

    def work(connection: Connection) -> CaseLease | NoLease:
        asker = ask(connection, lease.job_id, lease.worker_id)
        if _mark_finished(connection, lease, outcome):
            _keep(store, connection, lease, outcome, names)
        return asker if isinstance(asker, NoLease) else take(connection, asker)

    return store.write(work)


def stage(store: Store, lease: CaseLease, outcome: CaseOutcome) -> dict[str, str]:
    """Write an outcome's artefacts, nobody's results yet; returns their SHA-256 by name."""
    return store.artefacts.put_all(store, lease.worker_id, lease.case_id, lease.attempt, outcome.artefacts)


def give_back(store: Store, lease: CaseLease, *, crashed: bool = False) -> bool:
    """Return a case to the queue.

    Args:
        crashed: its worker died of it; after `max_crashes` of its job the case has failed.

    Returns:
        False when it was not held any more.
    """
    max_crashes = lease.job.max_crashes
    return store.write(lambda connection: _return(connection, _fence(lease), crashed, max_crashes)) == 1


def fail_case(store: Store, case_id: str, attempt: int, worker_id: str, failure: CaseFailed) -> bool:
    """Fail a case from outside, such as by its supervisor, which ended its worker.

    Returns:
        False when the worker did not hold it any more.
    """
    from sqlalchemy import update

    from tracescribe.runs.audit import append
    from tracescribe.runs.store.tables import cases

    values = {
        "status": "failed",
        "failure_kind": failure.kind,
        "failure_message": failure.message,
        "finished_at": time.time(),
        "reserved_usd": 0.0,
    }
    failing = update(cases).where(_fenced(case_id, attempt, worker_id)).values(values)
    details = {"attempt": attempt, "kind": failure.kind, "message": failure.message}

    def work(connection: Connection) -> bool:
        if connection.execute(failing).rowcount == 0:
            return False
        append(connection, act="case failed", subject=case_id, details=details, actor=f"worker:{worker_id}")
        return True

    return store.write(work)


def leave(store: Store, worker_id: str) -> int:
    """Take a worker that ends in good order out of the store; a case that it still held goes back. Returns how many."""
    return _end_worker(store, worker_id, "left", crashed=False, beat=None)


def leave_with_workers(store: Store, supervisor_id: str) -> None:
    """Take a supervisor out of the store, and whatever worker of it still counts as alive: an interrupt may have come just
    as the supervisor noted one down or struck one off. None registers afterwards (see `liveness.register`)."""
    leave(store, supervisor_id)
    for worker_id in alive_of(store, supervisor_id):
        declare_dead(store, worker_id, crashed=False)


def declare_dead(store: Store, worker_id: str, *, crashed: bool, beat: int | None = None) -> int:
    """Take a dead worker's cases away from it.

    Args:
        crashed: it died of its case, as far as anybody can tell: a live supervisor saw it end.
        beat: its beat when it was found dead; when it has beaten since it is alive, and nothing happens.

    Returns:
        How many cases went back.
    """
    return _end_worker(store, worker_id, "dead", crashed=crashed, beat=beat)


def reclaim(store: Store, job_id: str) -> int:
    """Return every case that a worker holds which is not alive any more; returns how many.

    `leave` and `declare_dead` do that at once; this is for what they could not see.
    """
    from sqlalchemy import select

    from tracescribe.runs.store.tables import cases, workers

    alive = select(workers.c.worker_id).where(workers.c.status == "alive")
    lost = (cases.c.job_id == job_id) & (cases.c.status == "running") & cases.c.worker_id.not_in(alive)
    if store.read(lambda connection: connection.execute(select(cases.c.case_id).where(lost).limit(1)).first()) is None:
        return 0
    return store.write(lambda connection: _return(connection, lost, False, None))


def stop_job(store: Store, job_id: str, message: str, *, worker_id: str | None = None) -> bool:
    """Stop a job for a reason that people must see to; False when it was not open.

    Args:
        worker_id: who stops it; None for the person at this machine.
    """
    from sqlalchemy import update

    from tracescribe.runs.audit import append
    from tracescribe.runs.store.tables import jobs

    actor = None if worker_id is None else f"worker:{worker_id}"

    stopping = update(jobs).where(jobs.c.job_id == job_id, jobs.c.status.in_(OPEN_STATUSES))
    stopping = stopping.values(status="stopped", message=message, finished_at=time.time())

    def work(connection: Connection) -> bool:
        if connection.execute(stopping).rowcount == 0:
            return False
        append(connection, act="job stopped", subject=job_id, details={"why": message}, actor=actor)
        return True

    return store.write(work)


# -- inside -----------------------------------------------------------------------------------------------------------


def _fence(lease: CaseLease) -> ColumnElement[bool]:
    return _fenced(lease.case_id, lease.attempt, lease.worker_id)


def _fenced(case_id: str, attempt: int, worker_id: str) -> ColumnElement[bool]:
    from sqlalchemy import and_

    from tracescribe.runs.store.tables import cases

    row = cases.c
    return and_(row.case_id == case_id, row.attempt == attempt, row.worker_id == worker_id, row.status == "running")


def _named(lease: CaseLease) -> dict[str, Any]:
    return {"of_case": lease.case_id, "of_attempt": lease.attempt, "of_worker": lease.worker_id}


def _mark_finished(connection: Connection, lease: CaseLease, outcome: CaseOutcome) -> bool:
    """Returns False when the very same finish was committed before."""
    from tracescribe.runs.executors import lease_statements as statements
    from tracescribe.tracer.provenance import canonical_json

    failure = outcome.failure
    status = "done" if failure is None else "failed"
    values = {
        "status": status,
        "finished_at": time.time(),
        "seconds": outcome.seconds,
        "figures": canonical_json(outcome.figures.model_dump(mode="json")),
        "failure_kind": failure.kind if failure else None,
        "failure_message": failure.message if failure else None,
    }
    if connection.execute(statements.finish_held(), values | _named(lease)).rowcount == 1:
        return True
    now = connection.execute(statements.case_now(), {"of_case": lease.case_id}).first()
    if now is not None and tuple(now) == (status, lease.attempt, lease.worker_id):
        return False
    raise LeaseLostError(
        f"case {lease.case_id} does not belong to this worker any more (attempt {lease.attempt}); what it did is dropped"
    )


def _keep(store: Store, connection: Connection, lease: CaseLease, outcome: CaseOutcome, names: dict[str, str]) -> None:
    from tracescribe.runs.audit import append

    if names:
        store.artefacts.keep(connection, lease.case_id, lease.attempt, names)
    if outcome.listing is not None:  # of a failed case too: its report is there, it could only not be scored
        from tracescribe.runs.review.indexing import enter

        enter(connection, lease.job_id, lease.case_id, outcome.listing, time.time())
    details: dict[str, Any] = {"attempt": lease.attempt}
    if names:
        details["artefacts"] = names
    if outcome.failure is not None:
        details |= {"kind": outcome.failure.kind, "message": outcome.failure.message}
    append(
        connection,
        act="report finished" if outcome.failure is None else "case failed",
        subject=lease.case_id,
        details=details,
        actor=f"worker:{lease.worker_id}",
    )


def _return(connection: Connection, which: ColumnElement[bool], crashed: bool, max_crashes: int | None) -> int:
    """Return running cases to the queue, or where their job's state wants them."""
    from sqlalchemy import case, select, update

    from tracescribe.runs.store.tables import cases, jobs

    cancelled = cases.c.job_id.in_(select(jobs.c.job_id).where(jobs.c.status == "cancelled"))
    values: dict[str, Any] = {
        "status": case((cancelled, "cancelled"), else_="waiting"),
        "reserved_usd": 0.0,
    }
    if crashed and max_crashes is not None:
        too_often = cases.c.crashes + 1 >= max_crashes
        message = f"its worker process died {max_crashes} times; see whether memory is left, then: jobs retry"
        values |= {
            "crashes": cases.c.crashes + 1,
            "status": case((cancelled, "cancelled"), (too_often, "failed"), else_="waiting"),
            "failure_kind": case((too_often, "crash"), else_=None),
            "failure_message": case((too_often, message), else_=None),
            "finished_at": case((too_often, time.time()), else_=None),
        }
    return connection.execute(update(cases).where(which).values(values)).rowcount


def _end_worker(store: Store, worker_id: str, status: str, *, crashed: bool, beat: int | None) -> int:
    from sqlalchemy import select, update

    from tracescribe.runs.executors.case_queue import job_specification
    from tracescribe.runs.store.tables import cases, jobs, workers

    ending = update(workers).where(workers.c.worker_id == worker_id, workers.c.status == "alive")
    if beat is not None:
        ending = ending.where(workers.c.beat == beat)
    held = (cases.c.worker_id == worker_id) & (cases.c.status == "running")

    def work(connection: Connection) -> int:
        if connection.execute(ending.values(status=status)).rowcount == 0:
            return 0
        max_crashes = None
        if crashed:
            found = connection.execute(
                select(jobs.c.specification).join(cases, cases.c.job_id == jobs.c.job_id).where(held).limit(1)
            ).scalar()
            max_crashes = job_specification(found).max_crashes if found is not None else None
        return _return(connection, held, crashed, max_crashes)

    return store.write(work)
