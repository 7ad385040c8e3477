"""The statements of leases, built once a process: building them anew would take longer than running them.

All of it happens while SQLite's only write lock is held, so it is the scheduler's speed. Parameters that name the row
begin with `of_`, since those of an update's values bear the names of their columns.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import Executable, bindparam, func, select, update

from tracescribe.runs.store.tables import cases, jobs, workers

_JOB = cases.c.job_id == bindparam("of_job")
_HELD = (
    (cases.c.case_id == bindparam("of_case"))
    & (cases.c.attempt == bindparam("of_attempt"))
    & (cases.c.worker_id == bindparam("of_worker"))
    & (cases.c.status == "running")
)


@cache
def worker_status() -> Executable:
    """Status of `of_worker`. The lock keeps whoever would declare it dead out until the lease can be seen."""
    return select(workers.c.status).where(workers.c.worker_id == bindparam("of_worker")).with_for_update(read=True)


@cache
def job_row() -> Executable:
    """Status, limit and specification of `of_job`."""
    row = jobs.c
    return select(row.status, row.usd_limit, row.specification).where(row.job_id == bindparam("of_job"))


@cache
def job_status_locked() -> Executable:
    """Status of `of_job`, and nobody else changes it until this transaction is over."""
    return select(jobs.c.status).where(jobs.c.job_id == bindparam("of_job")).with_for_update()


@cache
def held_by() -> Executable:
    """What `of_worker` holds of `of_job`: id, attempt, specification."""
    row = cases.c
    held = (row.worker_id == bindparam("of_worker")) & (row.status == "running")
    return select(row.case_id, row.attempt, row.specification).where(held, _JOB)


@cache
def first_waiting() -> Executable:
    """The next case of `of_job` in the queue's order: id, attempt, specification. Those being leased are passed over."""
    row = cases.c
    waiting = select(row.case_id, row.attempt, row.specification).where(_JOB, row.status == "waiting")
    return waiting.order_by(row.crashes, row.position).limit(1).with_for_update(skip_locked=True)


@cache
def first_in(status: str) -> Executable:
    """Any case of `of_job` in a status."""
    return select(cases.c.case_id).where(_JOB, cases.c.status == status).limit(1)


@cache
def money() -> Executable:
    """What the cases of `of_job` have paid, and what those that run may yet pay."""
    return select(func.sum(cases.c.paid_usd), func.sum(cases.c.reserved_usd)).where(_JOB)


@cache
def take() -> Executable:
    """Give `of_case` to a worker; values: attempt, worker_id, reserved_usd, started_at."""
    values: dict[str, Any] = {name: bindparam(name) for name in ("attempt", "worker_id", "reserved_usd", "started_at")}
    return (
        update(cases)
        .where(cases.c.case_id == bindparam("of_case"))
        .values(status="running", finished_at=None, **values)
    )


@cache
def finish_held() -> Executable:
    """Finish the lease `of_case`, `of_attempt`, `of_worker`; values: all that tells of its end."""
    names = ("status", "finished_at", "seconds", "figures", "failure_kind", "failure_message")
    return update(cases).where(_HELD).values(reserved_usd=0.0, **{name: bindparam(name) for name in names})


@cache
def case_now() -> Executable:
    """Status, attempt and worker of `of_case`."""
    row = cases.c
    return select(row.status, row.attempt, row.worker_id).where(row.case_id == bindparam("of_case"))


@cache
def job_status_of_held() -> Executable:
    """Status of the job of the lease `of_case`, `of_attempt`, `of_worker`; nothing if it does not stand."""
    return select(jobs.c.status).join(cases, cases.c.job_id == jobs.c.job_id).where(_HELD)
