"""Lets a job that was stopped or left go on, with a higher limit where it ran out of money."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracescribe.tracer.errors import SettingError, UnknownIdError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.runs.jobs.specification import JobSpecification
    from tracescribe.runs.store.database import Store


@dataclass(frozen=True)
class Resumed:
    """A job that may go on.

    Attributes:
        status: as it stands now; `done` needs nobody.
        n_open: cases that wait or run; none, and not `done`, is a job that died before it could say so.
        specification: of the job, without its prompts where these are many.
    """

    job_id: str
    status: str
    n_open: int
    specification: JobSpecification


def resume_job(store: Store, job_id: str, *, max_usd: float | None = None) -> Resumed:
    """Open a job again for workers. One that runs already is left as it is: others may join in.

    Args:
        max_usd: new limit of the whole job; None leaves it.

    Raises:
        UnknownIdError: there is no such job.
        SettingError: it was cancelled; or the new limit is one that it cannot have.
        StoreError: the store cannot be used.
    """
    return store.write(lambda connection: _resume(connection, job_id, max_usd))


def _resume(connection: Connection, job_id: str, max_usd: float | None) -> Resumed:
    from sqlalchemy import func, select, update

    from tracescribe.runs.audit import append
    from tracescribe.runs.jobs.specification import JobSpecification
    from tracescribe.runs.store.tables import cases, jobs

    mine = jobs.c.job_id == job_id
    row = connection.execute(select(jobs).where(mine).with_for_update()).mappings().first()
    if row is None:
        raise UnknownIdError(f"no job {job_id!r} in this store; see: tracescribe jobs list")
    status: str = row["status"]
    if status == "cancelled":
        raise SettingError(f"job {job_id} was cancelled; 'tracescribe jobs retry {job_id}' puts its cases back")
    open_cases = (cases.c.job_id == job_id, cases.c.status.in_(("waiting", "running")))
    n_open = connection.execute(select(func.count()).select_from(cases).where(*open_cases)).scalar_one()
    specification = JobSpecification.model_validate_json(row["specification"])
    changes: dict[str, Any] = {}
    if max_usd is not None and max_usd != row["usd_limit"]:
        _check_limit(connection, specification, job_id, max_usd)
        changes["usd_limit"] = max_usd
        details = {"before": row["usd_limit"], "after": max_usd}
        append(connection, act="job limit changed", subject=job_id, details=details)
    if status == "stopped":
        status = "waiting"
        changes |= {"status": status, "message": None, "finished_at": None}
        append(connection, act="job resumed", subject=job_id, details={"stopped_with": row["message"]})
    if changes:
        connection.execute(update(jobs).where(mine).values(**changes))
    return Resumed(job_id, status, n_open, specification)


def _check_limit(connection: Connection, job: JobSpecification, job_id: str, max_usd: float) -> None:
    from sqlalchemy import func, select

    from tracescribe.runs.store.tables import cases

    spent = select(func.coalesce(func.sum(cases.c.paid_usd), 0.0)).where(cases.c.job_id == job_id)
    paid = float(connection.execute(spent).scalar_one())
    if max_usd < paid:
        raise SettingError(f"job {job_id} has paid {paid:.4f} USD already; give a limit above that, found {max_usd:g}")
    if job.budget.case.usd is None:
        raise SettingError(
            f"job {job_id} has no limit for a case, by which a limit of the whole job is kept; "
            "submit it anew with budget.case.usd"
        )
