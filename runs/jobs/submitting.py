"""Puts a planned job into the store: all of it in one transaction, or nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracescribe.runs.jobs.expanding import PlannedJob, cases_of, new_job_id
from tracescribe.runs.jobs.specification import as_json
from tracescribe.tracer.provenance import canonical_json, sha256_json

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.runs.jobs.specification import CaseSpecification, JobSpecification
    from tracescribe.runs.store.database import Store

SUBMITTED_GRAPH = "submitted-graph.json"
"""Name of the graph that a case was submitted with, among the artefacts of the case."""
MAX_INLINE_CHARS = 32_768
"""Of prompts that stand in a job's row, which every lease reads; each case has its own prompt beside it in any case."""
_CHUNK = 5_000


@dataclass(frozen=True)
class Submitted:
    """A job that is in the store.

    Attributes:
        new: False where the same job was there already (`once`).
    """

    job_id: str
    n_cases: int
    new: bool = True


def submit_job(store: Store, plan: PlannedJob, *, once: bool = False) -> Submitted:
    """Store a job and its cases.

    Args:
        once: where a job of the same specification and cases is there that was not cancelled, take that one.

    Raises:
        GraphFormatError: a graph file that has changed since it was checked.
        StoreError: the store cannot be used; nothing of the job is in it then.
    """
    job_id = new_job_id()
    graphs = _Graphs(store, f"submit-{job_id}")
    stored = False
    try:
        every = list(cases_of(plan, job_id, graphs.keep))
        row, keys = _job_row(plan, job_id, len(every)), [case.case_key for case in every]
        # made before the transaction, so that the store is held for no longer than it takes to write them
        rows = list(_case_rows(job_id, every))
        found = store.write(lambda connection: _enter(connection, store, row, rows, keys, graphs, once), durable=True)
        stored = found == job_id
    finally:
        if not stored:
            graphs.abandon()
    return Submitted(found, len(every), new=stored)


class _Graphs:
    """Graphs on their way into the store, as artefacts of cases that are not there yet."""

    def __init__(self, store: Store, submitter: str) -> None:
        self._store, self._submitter = store, submitter
        self.of_case: dict[str, str] = {}

    def keep(self, case_id: str, path: Path, content: bytes) -> str:
        """Stage a graph; see `expanding.KeepGraph`."""
        from tracescribe.runs.store.artefacts import Artefact

        graph = Artefact(SUBMITTED_GRAPH, "graph", content)
        self.of_case[case_id] = self._store.artefacts.put(self._store, self._submitter, case_id, 0, graph)
        return self.of_case[case_id]

    def abandon(self) -> None:
        """Take back what was staged for a job that is not submitted."""
        for case_id in self.of_case:
            self._store.artefacts.abandon(self._store, case_id, 0)


def _enter(
    connection: Connection,
    store: Store,
    row: dict[str, Any],
    rows: Sequence[dict[str, Any]],
    keys: list[str],
    graphs: _Graphs,
    once: bool,
) -> str:
    from sqlalchemy import insert, select

    from tracescribe.runs.audit import append
    from tracescribe.runs.store.tables import cases, jobs

    job_id: str = row["job_id"]
    if connection.execute(select(jobs.c.job_id).where(jobs.c.job_id == job_id)).first() is not None:
        return job_id  # the commit of this transaction was of unknown outcome, and this is its repetition
    if once and (same := _same_job(connection, row["specification_sha256"], keys)) is not None:
        return same
    connection.execute(insert(jobs), row)
    for first in range(0, len(rows), _CHUNK):
        connection.execute(insert(cases), rows[first : first + _CHUNK])
    for case_id, sha256 in graphs.of_case.items():
        store.artefacts.keep(connection, case_id, 0, {SUBMITTED_GRAPH: sha256})
    details = {
        "name": row["name"],
        "specification_sha256": row["specification_sha256"],
        "n_cases": len(rows),
        "agent": row["agent"],
        "model": row["model"],
        "usd_limit": row["usd_limit"],
    }
    append(connection, act="job submitted", subject=job_id, details=details)
    return job_id


def _same_job(connection: Connection, sha256: str, keys: list[str]) -> str | None:
    from sqlalchemy import select

    from tracescribe.runs.store.tables import cases, jobs

    alike = (
        select(jobs.c.job_id)
        .where(jobs.c.specification_sha256 == sha256, jobs.c.status != "cancelled", jobs.c.n_cases == len(keys))
        .order_by(jobs.c.created_at)
    )
    for (job_id,) in connection.execute(alike).all():
        stored = select(cases.c.case_key).where(cases.c.job_id == job_id).order_by(cases.c.position)
        if list(connection.execute(stored).scalars()) == keys:
            return str(job_id)
    return None


def _job_row(plan: PlannedJob, job_id: str, n_cases: int) -> dict[str, Any]:
    from tracescribe.runs.audit import local_actor

    job = plan.specification
    whole = as_json(job)
    return {
        "job_id": job_id,
        "name": job.name,
        "status": "waiting",
        "specification": canonical_json(as_json(_light(job))),
        "specification_sha256": sha256_json(whole),
        "agent": plan.redactor.text(job.agent.spec)[:200],
        "model": job.weights.model[:400],
        "model_sha256": job.weights.model_sha256,
        "transcoders_sha256": job.weights.transcoders_sha256,
        "n_cases": n_cases,
        "usd_limit": job.budget.job.usd,
        "created_at": time.time(),
        "created_by": local_actor()[:200],
    }


def _light(job: JobSpecification) -> JobSpecification:
    """A specification without its prompts where these are many."""
    inline = job.prompts.inline or ()
    if sum(map(len, inline)) <= MAX_INLINE_CHARS:
        return job
    return job.model_copy(update={"prompts": job.prompts.model_copy(update={"inline": ()})})


def _case_rows(job_id: str, every: Sequence[CaseSpecification]) -> Iterator[dict[str, Any]]:
    for position, case in enumerate(every):
        yield {
            "case_id": case.case_id,
            "job_id": job_id,
            "position": position,
            "case_key": case.case_key,
            "title": case.title,
            "specification": case.model_dump_json(),
            "status": "waiting",
            "attempt": 0,
            "crashes": 0,
            "reserved_usd": 0.0,
            "paid_usd": 0.0,
            "paid_tokens": 0,
            "paid_calls": 0,
        }
