"""Garbage collection takes what nobody uses and what retention lets go, and nothing else."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from tests.runs.store.rows import add_case, add_worker, finish
from tracescribe.runs.store.artefacts import Artefact
from tracescribe.runs.store.collecting import collect
from tracescribe.runs.store.database import Store
from tracescribe.runs.store.retention import read_period, rules, set_rule, show_period
from tracescribe.runs.store.statements import insert_or_update
from tracescribe.runs.store.tables import artefacts, audit_entries, calls, cases, derivations, jobs
from tracescribe.tracer.errors import SettingError

GRAPH = Artefact("graph.json", "graph", b"graph")
REPORT = Artefact("report.json", "report", b"report")
DAY = 86_400.0
LATER = 1e12


def audit(store: Store, act: str) -> list[tuple[str, dict[str, object]]]:
    """Subject and details of the entries of one act."""
    query = select(audit_entries.c.subject, audit_entries.c.details).where(audit_entries.c.act == act)
    rows = store.read(lambda connection: connection.execute(query.order_by(audit_entries.c.sequence)).all())
    return [(row.subject, json.loads(row.details)) for row in rows]


def stored(store: Store) -> set[str]:
    """What lies there."""
    return {name for name, _ in store.artefacts.files.names()}


def test_a_kind_goes_when_its_time_is_over_and_the_log_says_so(store: Store) -> None:
    add_case(store, "c1", worker_id="w1")
    finish(store, "c1", GRAPH, REPORT)
    set_rule(store, "graph", int(DAY))
    assert collect(store, now=time.time()).expired == {}  # made just now
    assert collect(store, dry_run=True, now=LATER).expired == {"graph": 1}
    assert stored(store) == {GRAPH.sha256, REPORT.sha256}
    found = collect(store, now=LATER)
    assert (found.expired, found.bytes_expired) == ({"graph": 1}, len(GRAPH.content))
    assert stored(store) == {REPORT.sha256}
    assert audit(store, "artefact deleted") == [
        (GRAPH.sha256, {"kind": "graph", "size": 5, "why": "retention", "cases": ["c1"]})
    ]
    assert audit(store, "retention changed") == [("graph", {"before": None, "after": int(DAY)})]


@pytest.mark.parametrize("holder", ["running", "waiting", "recent", "staged"])
def test_what_somebody_may_still_need_stays(store: Store, holder: str) -> None:
    """A graph of a finished case is also that of a case that is not, or was put by a worker just now."""
    add_worker(store, "w2")
    for case_id in ("c1", "c2"):
        add_case(store, case_id, worker_id="w2")
    finish(store, "c1", GRAPH)
    if holder == "staged":
        store.artefacts.put(store, "w2", "c2", 1, GRAPH)
    else:
        finish(store, "c2", GRAPH, at=LATER if holder == "recent" else 1000.0)
    if holder in ("running", "waiting"):
        back = update(cases).where(cases.c.case_id == "c2").values(status=holder, finished_at=None)
        store.write(lambda connection: connection.execute(back))
    set_rule(store, "graph", 3600)
    assert collect(store, now=LATER).expired == {}
    assert store.artefacts.read(GRAPH.sha256) == GRAPH.content


def test_a_computation_that_was_saved_goes_with_its_graph(store: Store) -> None:
    add_case(store, "c1", worker_id="w1")
    finish(store, "c1", GRAPH)
    row = {"key": "0" * 64, "sha256": GRAPH.sha256, "created_at": 0.0}
    store.write(lambda connection: insert_or_update(connection, derivations, [row], ("sha256",)))
    set_rule(store, "graph", 0)
    assert collect(store, now=LATER).expired == {"graph": 1}
    assert store.read(lambda connection: connection.execute(select(derivations)).all()) == []


def test_answers_go_when_their_job_is_over(store: Store) -> None:
    add_case(store, "c1")
    row = {
        "request_sha256": "0" * 64,
        "provider": "p",
        "base_url": "u",
        "model": "m",
        "template": "t",
        "status": "answered",
        "job_id": "j",
        "completion": "{}",
        "changed_at": 0.0,
    }
    store.write(lambda connection: connection.execute(insert(calls), row))
    set_rule(store, "answers", 3600)
    assert collect(store, now=LATER).answers == 0
    store.write(lambda connection: connection.execute(update(jobs).values(status="done")))
    assert collect(store, dry_run=True, now=LATER).answers == 1
    assert collect(store, now=LATER).answers == 1
    assert audit(store, "artefact deleted") == [("answers", {"kind": "answers", "number": 1, "why": "retention"})]


def test_files_that_nobody_knows_go_and_known_ones_stay(store: Store) -> None:
    add_case(store, "c1", worker_id="w1")
    finish(store, "c1", REPORT)
    stranger = Artefact("x", "page", b"left by a loss of power")
    store.artefacts.files.write(stranger.sha256, stranger.content, "gone")
    (Path(store.artefacts.location) / "README").write_text("not ours")
    assert collect(store, dry_run=True).orphans == 1
    assert stored(store) == {REPORT.sha256, stranger.sha256}
    assert collect(store).orphans == 1
    assert stored(store) == {REPORT.sha256}
    assert (Path(store.artefacts.location) / "README").exists()


def test_what_a_case_had_before_it_was_tried_again_goes(store: Store) -> None:
    add_case(store, "c1", worker_id="w1")
    finish(store, "c1", REPORT)
    # as after a kill between two transactions
    store.write(
        lambda connection: connection.execute(
            insert(artefacts), {"sha256": GRAPH.sha256, "kind": "graph", "size": 5, "created_at": 0.0}
        )
    )
    store.artefacts.files.write(GRAPH.sha256, GRAPH.content, "gone")
    assert collect(store, dry_run=True).unused == 1
    collect(store)
    assert stored(store) == {REPORT.sha256}


def test_rules_are_kept_and_cleared(store: Store) -> None:
    assert store.read(rules) == {}
    set_rule(store, "graph", read_period("30d"))
    set_rule(store, "page", read_period("12h"))
    assert store.read(rules) == {"graph": 30 * 86_400, "page": 12 * 3600}
    assert set_rule(store, "graph", None) == {"page": 12 * 3600}
    with pytest.raises(SettingError, match="there is no kind 'graf'; choose among graph, report"):
        set_rule(store, "graf", 1)


@pytest.mark.parametrize("period", ["12h", "30d", "8w", "1h"])
def test_a_period_is_shown_as_it_is_read(period: str) -> None:
    assert show_period(read_period(period)) == period


@pytest.mark.parametrize("period", ["", "3", "d", "-1d", "1.5d", "1y", "999999d"])
def test_what_is_no_period_is_told(period: str) -> None:
    with pytest.raises(SettingError, match="is no period"):
        read_period(period)
