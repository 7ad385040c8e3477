"""Jobs on their way into the store: whole or not at all, redacted, once if asked; and how stopped ones are opened again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, update

from tracescribe.runs.audit import append
from tracescribe.runs.jobs import submitting
from tracescribe.runs.jobs.expanding import PlannedJob, plan_job
from tracescribe.runs.jobs.reading import read_job
from tracescribe.runs.jobs.resuming import resume_job
from tracescribe.runs.jobs.submitting import SUBMITTED_GRAPH, submit_job
from tracescribe.runs.store.database import Store, open_store, parse_address
from tracescribe.runs.store.errors import StoreFullError
from tracescribe.runs.store.tables import artefact_uses, artefacts, audit_entries, cases, jobs, staged_artefacts
from tracescribe.tracer.errors import SettingError, UnknownIdError
from tracescribe.tracer.graph import AttributionGraph
from tracescribe.tracer.graph_json import parse_graph, write_graph


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store on both databases."""
    if request.param == "sqlite":
        address = parse_address(str(tmp_path / "store"))
    else:
        url = request.getfixturevalue("postgres").new_database()
        address = parse_address(url, artefacts=str(tmp_path / "store" / "artefacts"))
    opened = open_store(address, create=True)
    yield opened
    opened.close()


def planned(folder: Path, prompts: Any = None, *sets: str) -> PlannedJob:
    """A job of two prompts, or of what is given."""
    path = folder / "job.json"
    path.write_text(json.dumps({"prompts": prompts or {"inline": ["one", "mail bob@example.com"]}}))
    return plan_job(read_job(path, sets))


def counts(store: Store) -> list[int]:
    """Rows of the tables that submitting writes to."""
    tables = (jobs, cases, artefacts, artefact_uses, staged_artefacts)

    def look(connection: Connection) -> list[int]:
        return [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]

    return store.read(look)


def acts(store: Store) -> list[tuple[str, str]]:
    """What the audit log tells, in order."""
    wanted = select(audit_entries.c.act, audit_entries.c.subject).order_by(audit_entries.c.sequence)
    return [(row[0], row[1]) for row in store.read(lambda connection: connection.execute(wanted).all())]


def files(folder: Path) -> list[Path]:
    """Files of artefacts, temporary ones included."""
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_job_is_stored_with_its_cases_and_told_in_the_audit_log(store: Store, tmp_path: Path) -> None:
    done = submit_job(store, planned(tmp_path, None, "seeds=[1, 2]", "budget={case: {usd: 0.5}, job: {usd: 2}}"))
    assert counts(store) == [1, 4, 0, 0, 0] and acts(store) == [("job submitted", done.job_id)]
    row = store.read(lambda connection: connection.execute(select(jobs)).mappings().one())
    assert (row["status"], row["n_cases"], row["usd_limit"], row["agent"]) == ("waiting", 4, 2.0, "offline")
    found = store.read(lambda c: c.execute(select(cases).order_by(cases.c.position)).mappings().all())
    assert [case["case_id"] for case in found] == [f"{done.job_id}.{i}" for i in range(4)]
    assert {case["status"] for case in found} == {"waiting"}
    assert [json.loads(case["specification"])["seed"] for case in found] == [1, 2, 1, 2]


def test_personal_data_reaches_no_byte_of_the_store(tmp_path: Path) -> None:
    opened = open_store(parse_address(str(tmp_path / "store")), create=True)
    rows = tmp_path / "bob@example.com.jsonl"
    rows.write_text('{"prompt": "write to bob@example.com now", "id": "bob@example.com"}\n')
    submit_job(opened, planned(tmp_path, {"file": rows.name}, "name=jobs of bob@example.com"))
    opened.close()
    held = [path for path in files(tmp_path / "store") if b"write to bob@" in path.read_bytes()]
    assert held == []
    texts = b"".join(path.read_bytes() for path in files(tmp_path / "store"))
    assert b"write to [redacted email] now" in texts and b"jobs of [redacted email]" in texts


def test_the_same_job_again_is_another_one_unless_it_shall_be_there_once(store: Store, tmp_path: Path) -> None:
    first = submit_job(store, planned(tmp_path))
    assert submit_job(store, planned(tmp_path), once=True).job_id == first.job_id
    assert submit_job(store, planned(tmp_path), once=True).new is False
    assert submit_job(store, planned(tmp_path, None, "seeds=[1]"), once=True).new
    again = submit_job(store, planned(tmp_path))
    assert again.new and again.job_id != first.job_id and counts(store)[:2] == [3, 6]


def test_once_looks_at_what_files_hold_and_not_at_their_names(store: Store, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("one\n")
    first = submit_job(store, planned(tmp_path, {"file": "p.txt"}), once=True)
    (tmp_path / "p.txt").write_text("two\n")
    other = submit_job(store, planned(tmp_path, {"file": "p.txt"}), once=True)
    assert other.new and other.job_id != first.job_id


def test_graphs_are_stored_with_their_cases(store: Store, tmp_path: Path, dallas_graph: AttributionGraph) -> None:
    write_graph(tmp_path / "g.json", dallas_graph)
    plan = planned(tmp_path, {"graphs": "g.json"}, "weights.load=false", "seeds=[0, 1]")
    done = submit_job(store, plan)
    assert counts(store) == [1, 2, 1, 2, 0]
    case = store.read(lambda c: c.execute(select(cases.c.specification)).scalars().first())
    content = store.artefacts.read(json.loads(str(case))["graph_sha256"])
    assert parse_graph(content).node_ids == dallas_graph.node_ids
    names = store.read(lambda c: c.execute(select(artefact_uses.c.name)).scalars().all())
    assert set(names) == {SUBMITTED_GRAPH}
    # the same job once more leaves neither rows nor files of its own
    assert submit_job(store, plan, once=True).job_id == done.job_id
    assert counts(store) == [1, 2, 1, 2, 0] and len(files(tmp_path / "store" / "artefacts")) == 1


def test_what_fails_in_the_middle_leaves_nothing(
    store: Store, tmp_path: Path, dallas_graph: AttributionGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_graph(tmp_path / "g.json", dallas_graph)
    plan = planned(tmp_path, {"graphs": "g.json"}, "weights.load=false")

    def full(*_: Any, **__: Any) -> int:
        raise StoreFullError("the disk is full")

    monkeypatch.setattr("tracescribe.runs.audit.append", full, raising=False)
    with pytest.raises(StoreFullError):
        submit_job(store, plan)
    assert counts(store) == [0, 0, 0, 0, 0] and files(tmp_path / "store" / "artefacts") == []


def test_a_transaction_that_is_run_again_stores_one_job(store: Store, tmp_path: Path) -> None:
    """As after a connection that was lost while it was committed: the store runs the work once more."""
    write, ran = store.write, []

    def twice(work: Any, **how: Any) -> Any:
        write(work, **how)
        ran.append(write(work, **how))
        return ran[-1]

    store.write = twice  # type: ignore[method-assign]
    done = submit_job(store, planned(tmp_path), once=True)
    assert ran == [done.job_id] and done.new
    assert counts(store)[:2] == [1, 2] and acts(store) == [("job submitted", done.job_id)]


def test_many_inline_prompts_stand_in_their_cases_alone(store: Store, tmp_path: Path) -> None:
    many = [f"the prompt number {i} of many that stand there" for i in range(1000)]
    submit_job(store, planned(tmp_path, {"inline": many}))
    row = store.read(lambda c: c.execute(select(jobs.c.specification)).scalar_one())
    assert len(row) < 2000
    last = store.read(lambda c: c.execute(select(cases.c.specification).where(cases.c.position == 999)).scalar_one())
    assert json.loads(last)["prompt"] == many[-1]


def _set(store: Store, table: Any, **values: Any) -> None:
    store.write(lambda connection: connection.execute(update(table).values(**values)) and None)


def test_a_stopped_job_goes_on_with_a_higher_limit(store: Store, tmp_path: Path) -> None:
    done = submit_job(store, planned(tmp_path, None, "budget={case: {usd: 0.5}, job: {usd: 1}}"))
    _set(store, jobs, status="stopped", message="the money is used up")
    _set(store, cases, paid_usd=0.4)
    with pytest.raises(SettingError, match="has paid 0.8000 USD already; give a limit above that, found 0.5"):
        resume_job(store, done.job_id, max_usd=0.5)
    assert resume_job(store, done.job_id, max_usd=3.0).status == "waiting"
    row = store.read(lambda connection: connection.execute(select(jobs)).mappings().one())
    assert (row["status"], row["usd_limit"], row["message"]) == ("waiting", 3.0, None)
    again = resume_job(store, done.job_id, max_usd=3.0)
    assert (again.status, again.n_open) == ("waiting", 2)
    assert [act for act, _ in acts(store)] == ["job submitted", "job limit changed", "job resumed"]


def test_only_what_can_go_on_goes_on(store: Store, tmp_path: Path) -> None:
    done = submit_job(store, planned(tmp_path))
    _set(store, jobs, status="running")
    assert resume_job(store, done.job_id).status == "running"  # others work on it: one may join
    with pytest.raises(SettingError, match="has no limit for a case"):
        resume_job(store, done.job_id, max_usd=1.0)
    _set(store, jobs, status="cancelled")
    with pytest.raises(SettingError, match=f"'tracescribe jobs retry {done.job_id}' puts its cases back"):
        resume_job(store, done.job_id)
    with pytest.raises(UnknownIdError, match="no job 'none' in this store"):
        resume_job(store, "none")
    _set(store, jobs, status="done")
    _set(store, cases, status="done")
    assert resume_job(store, done.job_id).n_open == 0


_SUBMIT = """
import sys
from pathlib import Path
from tracescribe.runs.jobs.expanding import plan_job
from tracescribe.runs.jobs.reading import read_job
from tracescribe.runs.jobs.submitting import submit_job
from tracescribe.runs.store.database import open_store, parse_address
plan = plan_job(read_job(Path(sys.argv[1])))
store = open_store(parse_address(sys.argv[2]))
print("ready", flush=True)
print(submit_job(store, plan).job_id, flush=True)
"""


@pytest.mark.batch
def test_submitting_that_is_killed_at_any_moment_leaves_a_whole_job_or_none(
    tmp_path: Path, dallas_graph: AttributionGraph
) -> None:
    """Killed with -9 in ten moments of the time that it takes: no job without all of its cases, and no file that a sweep leaves."""
    (tmp_path / "graphs").mkdir()
    for number in range(4):
        write_graph(tmp_path / "graphs" / f"{number}.json", dallas_graph, slug=f"graph {number}")
    seeds = list(range(25))
    job = {"prompts": {"graphs": "graphs"}, "weights": {"load": False}, "seeds": seeds}
    (tmp_path / "job.json").write_text(json.dumps(job))
    address = parse_address(str(tmp_path / "store"))
    opened = open_store(address, create=True)
    whole, undisturbed, n_kills = 0, 0.0, 10
    for number in range(-1, n_kills):
        code = [sys.executable, "-c", _SUBMIT, str(tmp_path / "job.json"), str(tmp_path / "store")]
        with subprocess.Popen(code, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            began = time.monotonic()
            if number < 0:
                process.wait()
                undisturbed = time.monotonic() - began
                continue
            time.sleep(undisturbed * number / n_kills)
            os.kill(process.pid, signal.SIGKILL)
        held = opened.read(
            lambda c: c.execute(
                select(jobs.c.n_cases, func.count(cases.c.case_id)).join(cases, isouter=True).group_by(jobs.c.job_id)
            ).all()
        )
        assert all(n_cases == found == 100 for n_cases, found in held)
        whole = len(held)
    assert whole >= 1
    submit_job(opened, plan_job(read_job(tmp_path / "job.json")))
    # what killed submitters staged belongs to no worker: an hour later it goes
    opened.write(lambda c: c.execute(update(artefacts).values(created_at=artefacts.c.created_at - 7200)) and None)
    opened.artefacts.sweep(opened)
    assert counts(opened) == [whole + 1, 100 * (whole + 1), 4, 100 * (whole + 1), 0]
    assert len(files(tmp_path / "store" / "artefacts")) == 4
    opened.close()


def test_submitting_and_appending_use_one_log(store: Store, tmp_path: Path) -> None:
    store.write(lambda connection: append(connection, act="key created", subject="k") and None)
    done = submit_job(store, planned(tmp_path))
    assert acts(store) == [("key created", "k"), ("job submitted", done.job_id)]
    assert submitting.SUBMITTED_GRAPH == "submitted-graph.json"  # exports and the case function go by it
