"""Rows of jobs, cases and workers, as few columns as the tests of the store need."""

from __future__ import annotations

from sqlalchemy import Connection, update

from tracescribe.runs.store.artefacts import Artefact
from tracescribe.runs.store.database import Store
from tracescribe.runs.store.statements import insert_if_absent, insert_or_update
from tracescribe.runs.store.tables import cases, jobs, workers


def add_worker(store: Store, worker_id: str, *, status: str = "alive") -> None:
    """A worker, or another status for one that is there."""
    row = {
        "worker_id": worker_id,
        "kind": "worker",
        "executor": "local",
        "host": "here",
        "boot_id": "b",
        "pid": 1,
        "pid_started": 1,
        "status": status,
        "started_at": 0.0,
        "seen_at": 0.0,
    }
    store.write(lambda connection: insert_or_update(connection, workers, [row], ("status",)))


def add_case(store: Store, case_id: str, *, worker_id: str | None = None, attempt: int = 1) -> None:
    """A running case of the job `j`."""
    job = {
        "job_id": "j",
        "name": "j",
        "status": "running",
        "specification": "{}",
        "specification_sha256": "0" * 64,
        "agent": "offline",
        "model": "embedded",
        "n_cases": 1,
        "created_at": 0.0,
        "created_by": "test",
    }
    case = {
        "case_id": case_id,
        "job_id": "j",
        "position": int(case_id.strip("c")),
        "case_key": case_id,
        "title": case_id,
        "specification": "{}",
        "status": "running",
        "attempt": attempt,
        "worker_id": worker_id,
    }
    store.write(lambda connection: insert_if_absent(connection, jobs, [job]))
    store.write(lambda connection: insert_if_absent(connection, cases, [case]))


def finish(store: Store, case_id: str, *artefacts: Artefact, at: float = 1000.0, status: str = "done") -> None:
    """Put artefacts, and end the case with them at a moment."""
    names = store.artefacts.put_all(store, "w1", case_id, 1, artefacts)

    def work(connection: Connection) -> None:
        store.artefacts.keep(connection, case_id, 1, names)
        values = {"status": status, "finished_at": at, "figures": "{}"}
        connection.execute(update(cases).where(cases.c.case_id == case_id).values(values))

    store.write(work)
