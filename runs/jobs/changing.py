"""Cancels jobs and puts failed cases back: one transaction each, told in the audit log, the same when done twice."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import sqlalchemy as sa

from tracescribe.runs.audit.log import Entry, append, append_many
from tracescribe.runs.jobs.records import FailureKind
from tracescribe.runs.store.errors import ArtefactDamagedError, ArtefactMissingError
from tracescribe.runs.store.tables import artefact_uses, cases, derivations, jobs
from tracescribe.tracer.errors import InputError, UnknownIdError

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.sql.elements import ColumnElement

    from tracescribe.runs.store.database import Store

FAILURE_KINDS: tuple[str, ...] = get_args(FailureKind)
SUBMITTED_GRAPH = "submitted-graph.json"
"""Under which a case's graph is stored when it is submitted; `graph.json` is the one that its interpretation kept."""
_ENTRY_CASES = 30
"""Earlier failures told in one audit entry: their messages shall stand there whole."""
_MESSAGE = 300
_AT_ONCE = 500
"""Cases named in one statement; databases limit how many parameters it may have."""


@dataclass(frozen=True)
class Change:
    """What was changed.

    Attributes:
        cases: number of cases that were changed; 0 where the job stood so already.
        status: of the job, as it stands now.
    """

    job_id: str
    cases: int
    status: str


def cancel_job(store: Store, job_id: str) -> Change:
    """Give up what a job has not finished; running workers notice that they lost their cases.

    Finished cases and their reports stay. A job that is cancelled already is left as it is.

    Raises:
        UnknownIdError: there is no such job.
        InputError: it is done; there is nothing to cancel.
        StoreError: the store cannot be written to.
    """

    def work(connection: Connection) -> Change:
        status = _status(connection, job_id)
        if status == "done":
            raise InputError(f"job {job_id} is done already; there is nothing to cancel")
        open_cases = (cases.c.job_id == job_id) & cases.c.status.in_(("waiting", "running"))
        # told before: how many were cut off in the middle of their work
        running = connection.scalar(sa.select(sa.func.count()).where(open_cases, cases.c.status == "running"))
        now = time.time()
        changed = connection.execute(
            sa.update(cases).where(open_cases).values(status="cancelled", finished_at=now, reserved_usd=0.0)
        ).rowcount
        if status != "cancelled" or changed:
            connection.execute(
                sa.update(jobs).where(jobs.c.job_id == job_id).values(status="cancelled", finished_at=now, message=None)
            )
            details = {"cases": changed, "running": running, "status": status}
            append(connection, act="job cancelled", subject=job_id, details=details)
        return Change(job_id, changed, "cancelled")

    return store.write(work)


def retry_cases(
    store: Store, job_id: str, *, kind: str | None = None, case_ids: Sequence[str] = (), damaged: bool = False
) -> Change:
    """Put failed and cancelled cases back among the waiting ones, as if their workers had never died.

    What they paid so far stays counted, and recorded answers of language models are used again. The earlier failure is
    kept in the audit log.

    Args:
        kind: only failures of this kind.
        case_ids: only these; each must be failed or cancelled, or done with an artefact that is damaged or missing.
        damaged: put back done cases with such artefacts, and no others.

    Raises:
        UnknownIdError: there is no such job, kind of failure or case in it.
        InputError: a case named cannot be tried again, there is nothing to put back, or two choices exclude each other.
        StoreError: the store cannot be written to.
    """
    if kind is not None and kind not in FAILURE_KINDS:
        raise UnknownIdError(f"there is no kind of failure {kind!r}; kinds are {', '.join(FAILURE_KINDS)}")

    if damaged and (kind is not None or case_ids):
        raise InputError("damaged cases are done and have no failure; leave out the kind of failure and the cases")
    broken = damaged_cases(store, job_id, case_ids) if damaged or case_ids else {}

    def work(connection: Connection) -> Change:
        status = _status(connection, job_id)
        open_again = cases.c.status.in_(("failed", "cancelled"))
        done = (cases.c.status == "done") & cases.c.case_id.in_(broken)
        chosen: list[ColumnElement[bool]] = [cases.c.job_id == job_id, done if damaged else open_again | done]
        if kind is not None:
            chosen.append(cases.c.failure_kind == kind)
        if case_ids:
            _check_named(connection, job_id, case_ids, broken)
            chosen.append(cases.c.case_id.in_(case_ids))
        columns = (cases.c.case_id, cases.c.status, cases.c.failure_kind, cases.c.failure_message)
        before = connection.execute(
            sa.select(*columns).where(*chosen).order_by(cases.c.position).with_for_update()
        ).all()
        if not before:
            what = f"failed or cancelled case with failure {kind!r}" if kind else "failed or cancelled case"
            raise InputError(f"job {job_id} has no {'damaged case' if damaged else what}; there is nothing to retry")
        for start in range(0, len(before), _AT_ONCE):
            # by name: a case that fails in this moment is not among those told in the log
            _put_back(connection, [row.case_id for row in before[start : start + _AT_ONCE]])
        if broken:
            # what was derived once and is damaged now must be computed again
            lost = {sha256 for found in broken.values() for sha256 in found}
            connection.execute(sa.delete(derivations).where(derivations.c.sha256.in_(lost)))
        now = status if status == "running" else "waiting"
        connection.execute(
            sa.update(jobs).where(jobs.c.job_id == job_id).values(status=now, finished_at=None, message=None)
        )
        append_many(connection, [_entry(job_id, before, start) for start in range(0, len(before), _ENTRY_CASES)])
        return Change(job_id, len(before), now)

    return store.write(work)


def damaged_cases(store: Store, job_id: str, case_ids: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """Done cases of a job with artefacts that are damaged or missing, and which those are; every file is read.

    Args:
        case_ids: only these; empty for all.

    Raises:
        StoreError: the store cannot be read.
    """
    named = [cases.c.case_id.in_(case_ids)] if case_ids else []
    query = (
        sa.select(artefact_uses.c.case_id, artefact_uses.c.sha256)
        .join(cases, cases.c.case_id == artefact_uses.c.case_id)
        .where(cases.c.job_id == job_id, cases.c.status == "done", *named)
        .order_by(cases.c.position)
    )
    good: dict[str, bool] = {}
    found: dict[str, list[str]] = {}
    for case_id, sha256 in store.read(lambda connection: connection.execute(query).all()):
        if sha256 not in good:
            good[sha256] = _whole(store, sha256)
        if not good[sha256]:
            found.setdefault(case_id, []).append(sha256)
    return {case_id: tuple(lost) for case_id, lost in found.items()}


def _whole(store: Store, sha256: str) -> bool:
    try:
        store.artefacts.read(sha256)
    except (ArtefactDamagedError, ArtefactMissingError):
        return False
    return True


def _status(connection: Connection, job_id: str) -> str:
    """How a job stands, held so until the end of the transaction."""
    status = connection.scalar(sa.select(jobs.c.status).where(jobs.c.job_id == job_id).with_for_update())
    if status is None:
        raise UnknownIdError(f"there is no job {job_id!r}; see 'tracescribe jobs list'")
    return str(status)


def _check_named(
    connection: Connection, job_id: str, case_ids: Sequence[str], broken: Mapping[str, Sequence[str]]
) -> None:
    rows = connection.execute(
        sa.select(cases.c.case_id, cases.c.status).where(cases.c.job_id == job_id, cases.c.case_id.in_(case_ids))
    ).all()
    found = {row.case_id: row.status for row in rows}
    for case_id in case_ids:
        if case_id not in found:
            raise UnknownIdError(f"job {job_id} has no case {case_id!r}; see 'tracescribe jobs show {job_id} --cases'")
        if found[case_id] not in ("failed", "cancelled") and case_id not in broken:
            raise InputError(
                f"case {case_id} is {found[case_id]}; only failed and cancelled cases are tried again, and done ones "
                "with a damaged file"
            )


def _put_back(connection: Connection, case_ids: Sequence[str]) -> None:
    # what a failed case kept is nobody's result any more, but what was submitted with it stays
    kept = artefact_uses.c.name == SUBMITTED_GRAPH
    connection.execute(sa.delete(artefact_uses).where(artefact_uses.c.case_id.in_(case_ids), ~kept))
    connection.execute(
        sa.update(cases)
        .where(cases.c.case_id.in_(case_ids))
        .values(
            status="waiting",
            crashes=0,
            worker_id=None,
            reserved_usd=0.0,
            started_at=None,
            finished_at=None,
            seconds=None,
            figures=None,
            failure_kind=None,
            failure_message=None,
        )
    )


def _entry(job_id: str, before: Sequence[Any], start: int) -> Entry:
    told = [
        {"case": row.case_id, "was": row.status}
        | ({"kind": row.failure_kind, "message": str(row.failure_message)[:_MESSAGE]} if row.failure_kind else {})
        for row in before[start : start + _ENTRY_CASES]
    ]
    return Entry("job retried", job_id, {"cases": told, "from": start, "of": len(before)})
