"""How a job stands, as its executors need it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracescribe.runs.executors.case_queue import OPEN_STATUSES
from tracescribe.tracer.errors import UnknownIdError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.runs.store.database import Store


@dataclass(frozen=True)
class JobState:
    """How a job stands.

    Attributes:
        n_open: cases that wait or run, counted up to a thousand.
        message: why it stopped.
    """

    status: str
    n_open: int
    message: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether its cases may be leased."""
        return self.status in OPEN_STATUSES


def job_state(store: Store, job_id: str) -> JobState:
    """How a job stands now.

    Raises:
        UnknownIdError: there is no such job.
        StoreError: the store cannot be used.
    """
    from sqlalchemy import func, select

    from tracescribe.runs.store.tables import cases, jobs

    few = (
        select(cases.c.case_id).where(cases.c.job_id == job_id, cases.c.status.in_(OPEN_STATUSES)).limit(1000)
    ).subquery()

    def look(connection: Connection) -> JobState | None:
        job = connection.execute(select(jobs.c.status, jobs.c.message).where(jobs.c.job_id == job_id)).first()
        if job is None:
            return None
        n_open = connection.execute(select(func.count()).select_from(few)).scalar_one()
        return JobState(job.status, n_open, job.message)

    state = store.read(look)
    if state is None:
        raise UnknownIdError(f"no job {job_id!r} in this store; see: tracescribe jobs list")
    return state


def held_by(store: Store, worker_ids: Iterable[str]) -> list[tuple[str, str, int]]:
    """Worker, case and attempt of every lease of some workers."""
    from sqlalchemy import select

    from tracescribe.runs.store.tables import cases

    query = select(cases.c.worker_id, cases.c.case_id, cases.c.attempt).where(
        cases.c.worker_id.in_(tuple(worker_ids)), cases.c.status == "running"
    )
    return store.read(lambda connection: [(str(row[0]), str(row[1]), int(row[2])) for row in connection.execute(query)])
