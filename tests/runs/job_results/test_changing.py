"""Cancelling and retrying: the same when done twice, told in the audit log, refused where it makes no sense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.runs.job_results.stored_jobs import CaseSpec, add_job
from tracescribe.runs import cli
from tracescribe.runs.jobs.changing import SUBMITTED_GRAPH, cancel_job, damaged_cases, retry_cases
from tracescribe.runs.store.artefacts import Artefact
from tracescribe.runs.store.database import Store
from tracescribe.runs.store.tables import artefact_uses, audit_entries, cases, jobs
from tracescribe.tracer.errors import InputError, UnknownIdError

SPECS = [
    CaseSpec("a"),
    CaseSpec("b", "failed", failure=("provider", "no answer"), paid_usd=0.5),
    CaseSpec("c", "failed", failure=("crash", "died")),
    CaseSpec("d", "running"),
    CaseSpec("e", "waiting"),
]


def statuses(store: Store, job_id: str = "aaaa") -> list[str]:
    """Of the cases, in order."""
    query = sa.select(cases.c.status).where(cases.c.job_id == job_id).order_by(cases.c.position)
    return list(store.read(lambda connection: connection.execute(query).scalars()))


def rows(store: Store, table: sa.Table) -> list[dict[str, Any]]:
    """All rows of a table, in the order of its key."""
    query = sa.select(table).order_by(*table.primary_key.columns)
    return store.read(lambda connection: [dict(row) for row in connection.execute(query).mappings()])


def told(store: Store, act: str) -> list[dict[str, Any]]:
    """Details of the audit entries of an act."""
    return [json.loads(row["details"]) for row in rows(store, audit_entries) if row["act"] == act]


def test_cancelling_gives_up_what_is_open_and_keeps_what_is_finished(any_store: Store) -> None:
    add_job(any_store, "aaaa", SPECS, status="running")
    add_job(any_store, "bbbb", SPECS, status="running")
    assert cancel_job(any_store, "aaaa").cases == 2
    assert statuses(any_store) == ["done", "failed", "failed", "cancelled", "cancelled"]
    assert statuses(any_store, "bbbb") == [spec.status for spec in SPECS], "another job's cases are not touched"
    (row,) = [row for row in rows(any_store, cases) if row["case_id"] == "aaaa.3"]
    assert row["reserved_usd"] == 0.0 and row["attempt"] == 1, "late workers are fenced off by the attempt"
    assert told(any_store, "job cancelled") == [{"cases": 2, "running": 1, "status": "running"}]
    assert cancel_job(any_store, "aaaa").cases == 0
    assert len(told(any_store, "job cancelled")) == 1, "nothing was done the second time"


def test_what_is_done_is_not_cancelled_and_what_is_unknown_is_told(store: Store) -> None:
    add_job(store, "aaaa", SPECS[:1])
    with pytest.raises(InputError, match="job aaaa is done already"):
        cancel_job(store, "aaaa")
    with pytest.raises(UnknownIdError, match="there is no job 'zzzz'"):
        cancel_job(store, "zzzz")
    with pytest.raises(UnknownIdError, match="there is no job 'zzzz'"):
        retry_cases(store, "zzzz")
    assert told(store, "job cancelled") == []


def test_retried_cases_wait_as_if_nothing_had_happened_and_the_log_keeps_what_did(any_store: Store) -> None:
    add_job(any_store, "aaaa", SPECS, status="stopped", message="provider down")
    change = retry_cases(any_store, "aaaa", kind="provider")
    assert (change.cases, change.status) == (1, "waiting")
    assert statuses(any_store) == ["done", "waiting", "failed", "running", "waiting"]
    (row,) = [row for row in rows(any_store, cases) if row["case_id"] == "aaaa.1"]
    cleared = ("worker_id", "started_at", "finished_at", "seconds", "figures", "failure_kind", "failure_message")
    assert all(row[name] is None for name in cleared) and row["crashes"] == 0
    assert row["attempt"] == 1 and row["paid_usd"] == 0.5, "the fence and the bill stay"
    (entry,) = told(any_store, "job retried")
    assert entry["cases"] == [{"case": "aaaa.1", "was": "failed", "kind": "provider", "message": "no answer"}]
    assert [row["message"] for row in rows(any_store, jobs)] == [None]
    cancel_job(any_store, "aaaa")
    assert retry_cases(any_store, "aaaa").cases == 4
    assert statuses(any_store) == ["done", "waiting", "waiting", "waiting", "waiting"]
    with pytest.raises(InputError, match="no failed or cancelled case; there is nothing to retry"):
        retry_cases(any_store, "aaaa")


def test_a_running_job_stays_running_when_cases_are_put_back(store: Store) -> None:
    add_job(store, "aaaa", SPECS, status="running")
    assert retry_cases(store, "aaaa", case_ids=["aaaa.2"]).status == "running"
    assert statuses(store) == ["done", "failed", "waiting", "running", "waiting"]


def test_nonsense_is_refused_and_changes_nothing(store: Store) -> None:
    add_job(store, "aaaa", SPECS)
    before = rows(store, cases)
    refused: tuple[tuple[dict[str, Any], str], ...] = (
        ({"kind": "nope"}, "no kind of failure 'nope'; kinds are input, weights"),
        ({"kind": "timeout"}, "no failed or cancelled case with failure 'timeout'"),
        ({"case_ids": ["aaaa.0"]}, "case aaaa.0 is done; only failed and cancelled"),
        ({"case_ids": ["aaaa.1", "aaaa.3"]}, "case aaaa.3 is running"),
        ({"case_ids": ["bbbb.0"]}, "job aaaa has no case 'bbbb.0'"),
        ({"damaged": True}, "has no damaged case"),
        ({"damaged": True, "kind": "crash"}, "leave out the kind of failure"),
    )
    for arguments, message in refused:
        with pytest.raises(InputError, match=message):
            retry_cases(store, "aaaa", **arguments)
    assert rows(store, cases) == before and told(store, "job retried") == []


def test_many_failures_are_told_in_entries_that_are_not_cut(store: Store) -> None:
    n = 1201
    add_job(store, "aaaa", [CaseSpec(f"{i}", "failed", failure=("error", "é" * 900)) for i in range(n)])
    assert retry_cases(store, "aaaa").cases == n
    entries = told(store, "job retried")
    assert [case["case"] for entry in entries for case in entry["cases"]] == [f"aaaa.{i}" for i in range(n)]
    assert all(case["message"] == "é" * 300 for entry in entries for case in entry["cases"])


def test_done_cases_with_lost_files_are_made_anew(store: Store, tmp_path: Path) -> None:
    def report(text: str) -> Artefact:
        return Artefact("report.json", "report", text.encode())

    graph = Artefact(SUBMITTED_GRAPH, "graph", b"graph")
    specs = [CaseSpec("a", artefacts=(report("one"), graph)), CaseSpec("b", artefacts=(report("two"),)), CaseSpec("c")]
    add_job(store, "aaaa", specs)
    assert damaged_cases(store, "aaaa") == {}
    lost = report("one").sha256
    (file,) = [
        path for path in (tmp_path / "store" / "artefacts").rglob("*") if path.is_file() and lost.endswith(path.name)
    ]
    file.write_bytes(b"other")
    assert damaged_cases(store, "aaaa") == {"aaaa.0": (lost,)}
    with pytest.raises(InputError, match="case aaaa.1 is done"):
        retry_cases(store, "aaaa", case_ids=["aaaa.1"])
    assert cli.main(["jobs", "retry", "aaaa", "--damaged", "--store", str(tmp_path / "store")]) == 0
    assert statuses(store) == ["waiting", "done", "done"]
    used = {(row["case_id"], row["name"]) for row in rows(store, artefact_uses)}
    assert used == {("aaaa.0", SUBMITTED_GRAPH), ("aaaa.1", "report.json")}
