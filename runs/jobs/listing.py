"""How jobs and cases stand, for people: counts, money, failures and workers, from indexes alone where there are many."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from tracescribe.runs.jobs.lookup import StoreReader
from tracescribe.tracer.errors import UnknownIdError

CASE_STATUSES = ("waiting", "running", "done", "failed", "cancelled")
JOB_STATUSES = ("waiting", "running", "stopped", "done", "cancelled")
DEFAULT_LIMIT = 20


class JobRow(NamedTuple):
    """One job.

    Attributes:
        cases: number of cases by status; a status without cases is left out.
        failures: number of failed cases by kind, most frequent first.
        paid_usd: paid for answers of language models so far.
        reserved_usd: most that the running cases may yet spend.
        usd_limit: of the whole job; None for none.
        message: why it stopped.
    """

    job_id: str
    name: str
    status: str
    agent: str
    model: str
    n_cases: int
    cases: dict[str, int]
    failures: dict[str, int]
    paid_usd: float
    reserved_usd: float
    usd_limit: float | None
    created_at: float
    created_by: str
    started_at: float | None
    finished_at: float | None
    message: str | None
    specification_sha256: str
    model_sha256: str | None
    transcoders_sha256: str | None

    @property
    def finished(self) -> int:
        """Cases that need nobody any more."""
        return sum(self.cases.get(status, 0) for status in ("done", "failed", "cancelled"))


class CaseRow(NamedTuple):
    """One case; `seconds` of the finishing attempt, money of all attempts."""

    case_id: str
    position: int
    title: str
    status: str
    attempt: int
    crashes: int
    worker_id: str | None
    started_at: float | None
    finished_at: float | None
    seconds: float | None
    paid_usd: float
    paid_calls: int
    failure_kind: str | None
    failure_message: str | None


class WorkerRow(NamedTuple):
    """A worker of a job, and the case that it works on."""

    worker_id: str
    kind: str
    host: str
    pid: int
    status: str
    beat: int
    seen_at: float
    case_id: str | None
    case_title: str | None
    case_started_at: float | None


class CaseDetail(NamedTuple):
    """Everything about one case.

    Attributes:
        figures: of the finished case, as `CaseFigures`; None before.
        artefacts: (name, kind, size, SHA-256).
        calls: requests to language models by how they stand; `resent` counts those sent again after a death.
        events: entries of the ledger by what happened.
    """

    case: CaseRow
    job_id: str
    case_key: str
    paid_tokens: int
    specification: dict[str, Any]
    figures: dict[str, Any] | None
    artefacts: tuple[tuple[str, str, int, str], ...]
    calls: dict[str, int]
    events: dict[str, int]


_JOB_COLUMNS = (
    "job_id, name, status, agent, model, n_cases, usd_limit, created_at, created_by, started_at, finished_at, message, "
    "specification_sha256, model_sha256, transcoders_sha256"
)
_CASE_COLUMNS = (
    "case_id, position, title, status, attempt, crashes, worker_id, started_at, finished_at, seconds, paid_usd, "
    "paid_calls, failure_kind, failure_message"
)


def list_jobs(
    reader: StoreReader,
    *,
    status: str | None = None,
    limit: int = DEFAULT_LIMIT,
    job_id: str | None = None,
    offset: int = 0,
) -> tuple[JobRow, ...]:
    """Jobs, the last submitted first.

    Args:
        status: only those that stand so.
        limit: at most so many.
        job_id: only this one.
        offset: how many to leave out first.

    Raises:
        StoreError: the store cannot be read.
    """
    asked = [(f"{column} = ?", value) for column, value in (("status", status), ("job_id", job_id)) if value]
    where = " WHERE " + " AND ".join(term for term, _ in asked) if asked else ""
    sql = f"SELECT {_JOB_COLUMNS} FROM jobs{where} ORDER BY created_at DESC, job_id DESC LIMIT ? OFFSET ?"
    rows = reader.rows(sql, (*(value for _, value in asked), limit, offset))
    counts = _counts(reader, [row[0] for row in rows])
    return tuple(_job_row(row, counts.get(row[0], [])) for row in rows)


def count_jobs(reader: StoreReader, status: str | None = None) -> int:
    """How many jobs there are, or stand so."""
    if status is None:
        return int(reader.rows("SELECT count(*) FROM jobs")[0][0])
    return int(reader.rows("SELECT count(*) FROM jobs WHERE status = ?", (status,))[0][0])


def read_job(reader: StoreReader, job_id: str) -> JobRow:
    """One job by its full id (see `lookup.find_job`).

    Raises:
        UnknownIdError: there is none, or it was removed meanwhile.
        StoreError: the store cannot be read.
    """
    found = list_jobs(reader, job_id=job_id, limit=1)
    if not found:
        raise UnknownIdError(f"there is no job {job_id} here; the list of jobs has all of them")
    return found[0]


def list_cases(
    reader: StoreReader,
    job_id: str,
    *,
    status: str | None = None,
    kind: str | None = None,
    limit: int = DEFAULT_LIMIT,
    offset: int = 0,
) -> tuple[CaseRow, ...]:
    """Cases of a job in their order.

    Args:
        status: only those that stand so; in the order in which workers take them.
        kind: only failures of this kind.
        limit: at most so many.
        offset: how many to leave out first.

    Raises:
        StoreError: the store cannot be read.
    """
    asked: list[tuple[str, Any]] = [("job_id = ?", job_id)]
    if status is not None:
        asked.append(("status = ?", status))
    if kind is not None:
        asked.append(("failure_kind = ?", kind))
    order = "position" if status is None else "crashes, position"  # as the index has them: the first few need no sort
    terms = " AND ".join(term for term, _ in asked)
    sql = f"SELECT {_CASE_COLUMNS} FROM cases WHERE {terms} ORDER BY {order} LIMIT ? OFFSET ?"
    return tuple(CaseRow(*row) for row in reader.rows(sql, (*(value for _, value in asked), limit, offset)))


def count_cases(reader: StoreReader, job_id: str, *, status: str | None = None, kind: str | None = None) -> int:
    """How many cases of a job stand so, or failed so."""
    asked = [(f"{column} = ?", value) for column, value in (("status", status), ("failure_kind", kind)) if value]
    terms = " AND ".join(["job_id = ?", *(term for term, _ in asked)])
    return int(reader.rows(f"SELECT count(*) FROM cases WHERE {terms}", (job_id, *(v for _, v in asked)))[0][0])


def finish_moments(reader: StoreReader, job_id: str) -> tuple[float, ...]:
    """When the cases of a job were finished, the first first."""
    sql = "SELECT finished_at FROM cases WHERE job_id = ? AND finished_at IS NOT NULL ORDER BY finished_at"
    return tuple(float(row[0]) for row in reader.rows(sql, (job_id,)))


def list_workers(reader: StoreReader, job_id: str) -> tuple[WorkerRow, ...]:
    """Workers of a job that are not known to have left or died, with what they work on."""
    sql = (
        "SELECT w.worker_id, w.kind, w.host, w.pid, w.status, w.beat, w.seen_at, c.case_id, c.title, c.started_at "
        "FROM workers w LEFT JOIN cases c ON c.worker_id = w.worker_id AND c.status = 'running' "
        "WHERE w.status = 'alive' AND w.job_id = ? ORDER BY w.kind, w.host, w.pid, w.worker_id"
    )
    return tuple(WorkerRow(*row) for row in reader.rows(sql, (job_id,)))


def last_seconds(reader: StoreReader, job_id: str, limit: int = 50) -> tuple[float, ...]:
    """Seconds of the cases that finished last."""
    sql = "SELECT seconds FROM cases WHERE job_id = ? AND finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT ?"
    return tuple(float(row[0]) for row in reader.rows(sql, (job_id, limit)) if row[0] is not None)


def read_case(reader: StoreReader, job_id: str, case_id: str) -> CaseDetail:
    """Everything about one case by its full id (see `lookup.find_case`).

    Raises:
        StoreError: the store cannot be read.
    """
    sql = f"SELECT {_CASE_COLUMNS}, case_key, paid_tokens, specification, figures FROM cases WHERE case_id = ?"
    (row,) = reader.rows(sql, (case_id,))
    key, tokens, specification, figures = row[-4:]
    artefacts = reader.rows(
        "SELECT u.name, a.kind, a.size, a.sha256 FROM artefact_uses u JOIN artefacts a ON a.sha256 = u.sha256 "
        "WHERE u.case_id = ? ORDER BY u.name",
        (case_id,),
    )
    calls = reader.rows("SELECT status, count(*), sum(resent) FROM calls WHERE case_id = ? GROUP BY status", (case_id,))
    events = reader.rows("SELECT event, count(*) FROM call_events WHERE case_id = ? GROUP BY event", (case_id,))
    resent = sum(int(n or 0) for _, _, n in calls)
    return CaseDetail(
        case=CaseRow(*row[:-4]),
        job_id=job_id,
        case_key=key,
        paid_tokens=int(tokens),
        specification=json.loads(specification),
        figures=None if figures is None else json.loads(figures),
        artefacts=tuple((name, kind, int(size), sha) for name, kind, size, sha in artefacts),
        calls={status: int(n) for status, n, _ in calls} | ({"resent": resent} if resent else {}),
        events={event: int(n) for event, n in events},
    )


def case_json(detail: CaseDetail) -> dict[str, Any]:
    """Everything about a case as plain JSON values."""
    return detail._asdict() | {"case": detail.case._asdict()}


def _counts(reader: StoreReader, job_ids: Sequence[str]) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {}
    if job_ids:
        marks = ", ".join("?" * len(job_ids))
        sql = (
            "SELECT job_id, status, failure_kind, count(*), sum(paid_usd), sum(reserved_usd) FROM cases "
            f"WHERE job_id IN ({marks}) GROUP BY job_id, status, failure_kind"
        )
        for row in reader.rows(sql, job_ids):
            found.setdefault(row[0], []).append(row[1:])
    return found


def _job_row(row: tuple[Any, ...], counts: Sequence[tuple[Any, ...]]) -> JobRow:
    cases = {s: n for s in CASE_STATUSES if (n := sum(int(c[2]) for c in counts if c[0] == s))}
    failures = {
        c[1] or "error": int(c[2]) for c in sorted(counts, key=lambda c: (-c[2], c[1] or "")) if c[0] == "failed"
    }
    job_id, name, status, agent, model, n_cases, limit, created_at, created_by, started, finished, message, *hashes = (
        row
    )
    return JobRow(
        job_id=job_id,
        name=name,
        status=status,
        agent=agent,
        model=model,
        n_cases=int(n_cases),
        cases=cases,
        failures=failures,
        paid_usd=float(sum(c[3] or 0.0 for c in counts)),
        reserved_usd=float(sum(c[4] or 0.0 for c in counts if c[0] == "running")),
        usd_limit=limit,
        created_at=created_at,
        created_by=created_by,
        started_at=started,
        finished_at=finished,
        message=message,
        specification_sha256=hashes[0],
        model_sha256=hashes[1],
        transcoders_sha256=hashes[2],
    )
