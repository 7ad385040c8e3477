"""The next case of a job, for a worker that asks: in order, within the job's money, and never one that somebody holds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from tracescribe.runs.executors.contract import CaseLease
from tracescribe.runs.jobs.specification import CaseSpecification, JobSpecification

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.runs.audit.acts import Act
    from tracescribe.runs.store.database import Store

OPEN_STATUSES = ("waiting", "running")
"""Of jobs: cases may be leased."""
_PICO_USD = 1e-12


@dataclass(frozen=True)
class NoLease:
    """Why there is no case.

    Attributes:
        reason: `ended`: the job is done, stopped or cancelled; `others`: the rest is being worked on by others, and may
            come back; `budget`: what waits does not fit the job's money beside what runs; `lost`: the worker that asked
            counts as dead.
    """

    reason: Literal["ended", "others", "budget", "lost"]


def lease_next(store: Store, job_id: str, worker_id: str) -> CaseLease | NoLease:
    """Lease the next case of a job.

    A job that nobody had begun is running afterwards; one without open cases is done; one whose waiting cases do not fit
    its money while nothing runs is stopped.

    Raises:
        StoreError: the store cannot be used.
    """
    return store.write(lambda connection: take_next(connection, job_id, worker_id))


def end_if_done(store: Store, job_id: str, worker_id: str) -> None:
    """Call a job done when no case of it is open any more, as when the last one was failed from outside."""
    store.write(lambda connection: _nothing_waits(connection, job_id, worker_id))


def may_lease(store: Store, job_id: str) -> bool:
    """Whether it is worth asking for a lease: a case waits, or the job has come to its end. Takes no lock."""
    from tracescribe.runs.executors import lease_statements as statements

    job = {"of_job": job_id}

    def look(connection: Connection) -> bool:
        found = connection.execute(statements.job_row(), job).first()
        if found is None or found.status not in OPEN_STATUSES:
            return True
        if connection.execute(statements.first_in("waiting"), job).first() is not None:
            return True
        return connection.execute(statements.first_in("running"), job).first() is None

    return store.read(look)


@dataclass(frozen=True)
class Asker:
    """A worker that may lease a case, within the transaction in which that was found out."""

    job_id: str
    worker_id: str
    job_status: str
    usd_limit: float | None
    specification: JobSpecification


def take_next(connection: Connection, job_id: str, worker_id: str) -> CaseLease | NoLease:
    """`lease_next` within a transaction."""
    asker = ask(connection, job_id, worker_id)
    return asker if isinstance(asker, NoLease) else take(connection, asker)


def ask(connection: Connection, job_id: str, worker_id: str) -> Asker | NoLease:
    """Whether a worker may lease a case.

    Locks the worker's row, then the job's if its money is limited; cases and the audit log's end are locked after them,
    by everybody in this order, so that no two transactions wait for each other.
    """
    from tracescribe.runs.executors import lease_statements as statements

    of_job = {"of_job": job_id}
    if connection.execute(statements.worker_status(), {"of_worker": worker_id}).scalar() != "alive":
        return NoLease("lost")
    job = connection.execute(statements.job_row(), of_job).first()
    if job is None:
        return NoLease("ended")
    status = job.status
    if job.usd_limit is not None:  # the only job row that leases wait for each other at: its money is one sum
        status = connection.execute(statements.job_status_locked(), of_job).scalar()
    if status not in OPEN_STATUSES:
        return NoLease("ended")
    return Asker(job_id, worker_id, status, job.usd_limit, job_specification(job.specification))


def take(connection: Connection, asker: Asker) -> CaseLease | NoLease:
    """Lease the next case to a worker that may have one."""
    from tracescribe.runs.executors import lease_statements as statements

    job_id, worker_id, specification = asker.job_id, asker.worker_id, asker.specification
    of_job = {"of_job": job_id}
    before = connection.execute(statements.held_by(), of_job | {"of_worker": worker_id}).first()
    if before is not None:  # the commit of this lease was of unknown outcome, and this is its repetition
        return _lease(job_id, before.case_id, before.attempt, worker_id, specification, before.specification)
    found = connection.execute(statements.first_waiting(), of_job).first()
    if found is None:
        return _nothing_waits(connection, job_id, worker_id)
    limit = specification.budget.case.usd
    reserved = limit if limit is not None else 0.0
    if asker.usd_limit is not None and not _fits(connection, job_id, asker.usd_limit, reserved):
        return _money_is_short(connection, job_id, worker_id, asker.usd_limit, reserved)
    now, attempt = time.time(), found.attempt + 1
    taken = {"of_case": found.case_id, "attempt": attempt, "worker_id": worker_id, "reserved_usd": reserved}
    connection.execute(statements.take(), taken | {"started_at": now})
    if asker.job_status == "waiting":
        _begin(connection, job_id, worker_id, now)
    return _lease(job_id, found.case_id, attempt, worker_id, specification, found.specification)


def _begin(connection: Connection, job_id: str, worker_id: str, now: float) -> None:
    from sqlalchemy import update

    from tracescribe.runs.store.tables import jobs

    begun = update(jobs).where(jobs.c.job_id == job_id, jobs.c.status == "waiting")
    if connection.execute(begun.values(status="running", started_at=now)).rowcount:
        _append(connection, worker_id, "job started", job_id, {})


def _lease(
    job_id: str, case_id: str, attempt: int, worker_id: str, job: JobSpecification, specification: str
) -> CaseLease:
    return CaseLease(
        job_id=job_id,
        case_id=case_id,
        attempt=attempt,
        worker_id=worker_id,
        job=job,
        case=CaseSpecification.model_validate_json(specification),
        reserved_usd=job.budget.case.usd,
    )


@lru_cache(maxsize=8)
def job_specification(text: str) -> JobSpecification:
    """A job's specification as it stands in the store."""
    return JobSpecification.model_validate_json(text)


def _nothing_waits(connection: Connection, job_id: str, worker_id: str) -> NoLease:
    from sqlalchemy import func, select, update

    from tracescribe.runs.store.tables import cases, jobs

    # with SKIP LOCKED, a case that somebody is about to lease is passed over: it is still told as waiting here
    is_open = select(cases.c.case_id).where(cases.c.job_id == job_id, cases.c.status.in_(OPEN_STATUSES)).limit(1)
    if connection.execute(is_open).first() is not None:
        return NoLease("others")
    # whoever puts cases back changes the job too, and so either waits for this lock or is seen behind it
    status = connection.execute(select(jobs.c.status).where(jobs.c.job_id == job_id).with_for_update()).scalar()
    if status not in OPEN_STATUSES:
        return NoLease("ended")
    if connection.execute(is_open).first() is not None:
        return NoLease("others")
    ended = update(jobs).where(jobs.c.job_id == job_id)
    connection.execute(ended.values(status="done", finished_at=time.time(), message=None))
    sums = select(cases.c.status, func.count(), func.sum(cases.c.paid_usd)).where(cases.c.job_id == job_id)
    told = connection.execute(sums.group_by(cases.c.status)).all()
    details = {"cases": {row[0]: row[1] for row in told}, "paid_usd": sum(row[2] or 0.0 for row in told)}
    _append(connection, worker_id, "job done", job_id, details)
    return NoLease("ended")


def _append(connection: Connection, worker_id: str, act: Act, job_id: str, details: dict[str, Any]) -> None:
    from tracescribe.runs.audit import append

    append(connection, act=act, subject=job_id, details=details, actor=f"worker:{worker_id}")


def _fits(connection: Connection, job_id: str, limit: float, wanted: float) -> bool:
    from tracescribe.runs.executors import lease_statements as statements

    paid, reserved = connection.execute(statements.money(), {"of_job": job_id}).one()
    # a sum of many small floats may be off by its last digits, and that is no money
    return (paid or 0.0) + (reserved or 0.0) + wanted <= limit + _PICO_USD


def _money_is_short(connection: Connection, job_id: str, worker_id: str, limit: float, wanted: float) -> NoLease:
    from sqlalchemy import update

    from tracescribe.runs.executors import lease_statements as statements
    from tracescribe.runs.store.tables import jobs

    if connection.execute(statements.first_in("running"), {"of_job": job_id}).first() is not None:
        return NoLease("budget")
    paid = connection.execute(statements.money(), {"of_job": job_id}).one()[0] or 0.0
    message = (
        f"the job's budget is used up: {paid:.4f} of {limit:.4f} USD are paid, and a case may cost up to {wanted:.4f} "
        f"USD; go on with more: tracescribe jobs resume {job_id} --max-usd X"
    )
    stopped = update(jobs).where(jobs.c.job_id == job_id, jobs.c.status.in_(OPEN_STATUSES))
    if connection.execute(stopped.values(status="stopped", message=message, finished_at=time.time())).rowcount:
        _append(connection, worker_id, "job stopped", job_id, {"why": message})
    return NoLease("ended")
