"""`store check` finds what is lost, damaged or nobody's, names the cases, and repairs what can be repaired."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import select, update

from tests.runs.conftest import Done
from tests.runs.store.rows import add_case, add_worker, finish
from tracescribe.runs.store.artefacts import Artefact
from tracescribe.runs.store.database import Store, open_store, parse_address
from tracescribe.runs.store.statements import insert_or_update
from tracescribe.runs.store.tables import audit_entries, cases, derivations
from tracescribe.runs.store.verifying import Verified, verify

GRAPH = Artefact("graph.json", "graph", b"graph")
REPORT = Artefact("report.json", "report", b"report")


def path_of(store: Store, artefact: Artefact) -> Path:
    """Where an artefact's file is."""
    return Path(store.artefacts.location) / artefact.sha256[:2] / artefact.sha256[2:]


def kinds(found: Verified) -> list[tuple[str, bool]]:
    """Kind of each fault, and whether it was repaired."""
    return [(fault.kind, fault.repaired) for fault in found.faults]


def test_a_sound_store_has_no_faults(store: Store) -> None:
    add_worker(store, "w1")
    add_case(store, "c1", worker_id="w1")
    finish(store, "c1", GRAPH, REPORT)
    found = verify(store, repair=True)
    assert (found.artefacts, found.bytes, found.faults, found.sound) == (2, 11, [], True)


def test_every_fault_is_found_and_named_with_its_case(store: Store) -> None:
    add_worker(store, "w1")
    for case_id in ("c1", "c2", "c3"):
        add_case(store, case_id, worker_id="w1")
    finish(store, "c1", GRAPH)
    finish(store, "c2", REPORT)
    path_of(store, GRAPH).write_bytes(b"grapf")
    path_of(store, REPORT).unlink()
    page = Artefact("page.html", "page", b"page")
    store.artefacts.put(store, "w1", "c3", 1, page)
    add_worker(store, "w1", status="dead")
    (Path(store.artefacts.location) / "incoming" / "00.w1").write_bytes(b"half")
    stranger = Artefact("x", "page", b"nobody's")
    store.artefacts.files.write(stranger.sha256, stranger.content, "gone")

    found = verify(store)
    assert sorted(kinds(found)) == sorted((kind, False) for kind in ("damaged", "missing", "left", "left", "orphan"))
    assert {fault.kind: fault.cases for fault in found.faults if fault.cases} == {
        "damaged": ("c1",),
        "missing": ("c2",),
    }
    assert not found.sound
    assert path_of(store, GRAPH).exists()  # a look changes nothing

    found = verify(store, repair=True)
    assert sorted(kinds(found)) == sorted(
        [("damaged", False), ("missing", False), ("left", True), ("left", True), ("orphan", True)]
    )
    assert not path_of(store, GRAPH).exists()  # set aside
    files = {
        path.relative_to(store.artefacts.location).parts[0] for path in Path(store.artefacts.location).rglob("*.*")
    }
    assert files == {"damaged"}
    assert sorted(kinds(verify(store))) == [("missing", False), ("missing", False)]
    told = store.read(
        lambda connection: connection.scalars(
            select(audit_entries.c.details).where(audit_entries.c.act == "store repaired")
        ).all()
    )
    assert told == ['{"left":2,"orphan":1}']


def test_a_computation_whose_result_is_damaged_is_forgotten(store: Store) -> None:
    """It is done again when somebody needs it, so nothing is lost."""
    add_case(store, "c1", worker_id="w1")
    store.artefacts.put(store, "w1", "c1", 1, GRAPH)
    row = {"key": "0" * 64, "sha256": GRAPH.sha256, "created_at": 0.0}
    store.write(lambda connection: insert_or_update(connection, derivations, [row], ("sha256",)))
    path_of(store, GRAPH).write_bytes(b"")
    done = update(cases).values(status="done", finished_at=1.0, figures="{}")
    store.write(lambda connection: connection.execute(done))
    assert kinds(verify(store)) == [("damaged", False)]
    found = verify(store, repair=True)
    assert kinds(found) == [("damaged", True)]
    assert found.sound


def test_a_row_that_cannot_be_is_told(store: Store) -> None:
    add_case(store, "c1", worker_id="never there")
    add_case(store, "c2", worker_id="w1")
    store.write(
        lambda connection: connection.execute(update(cases).where(cases.c.case_id == "c2").values(status="done"))
    )
    assert sorted(fault.message for fault in verify(store).faults) == [
        "done, with no moment or figures of its end",
        "running at a worker that was never there",
    ]


def test_the_commands_say_what_to_do(run: Callable[..., Done], tmp_path: Path) -> None:
    place = str(tmp_path / "store")
    assert run("store", "init", "--store", place).out.startswith("store made")
    again = run("store", "init", "--store", place, "--json").json
    assert again["made"] is False
    store = open_store(parse_address(place))
    try:
        add_worker(store, "w1")
        add_case(store, "c1", worker_id="w1")
        finish(store, "c1", GRAPH, REPORT)
        assert run("store", "check", "--store", place).code == 0
        path_of(store, GRAPH).write_bytes(b"grapf")
    finally:
        store.close()
    told = run("store", "check", "--store", place)
    assert told.code == 1
    assert told.out.splitlines()[-1] == "make it anew with: tracescribe jobs retry j --case c1"
    as_json = run("store", "check", "--store", place, "--json")
    assert as_json.code == 1
    assert as_json.json["retry"] == [{"job": "j", "case": "c1"}]

    info = run("store", "info", "--store", place, "--json").json
    assert info["artefacts"] == {"graph": {"number": 1, "bytes": 5}, "report": {"number": 1, "bytes": 6}}
    assert info["cases"] == {"done": 1}
    assert run("store", "info", "--store", place).code == 0

    assert (
        run("store", "retention", "set", "graph", "2w", "--store", place, "--json").json["seconds"]["graph"] == 1209600
    )
    assert "graph      2w" in run("store", "retention", "show", "--store", place).out
    assert run("store", "retention", "clear", "graph", "--store", place).code == 0
    assert run("store", "gc", "--dry-run", "--json", "--store", place).json["expired"] == {}
    assert run("store", "gc", "--store", place).code == 0
    assert run("store", "retention", "set", "graph", "soon", "--store", place).code == 2

    copy = tmp_path / "copy.db"
    assert run("store", "backup", str(copy), "--store", place).code == 0
    assert run("store", "backup", str(copy), "--store", place).code == 2
    assert [path.name for path in tmp_path.glob(".copy*")] == []
    restored = open_store(parse_address(f"sqlite:///{copy}"))
    try:
        assert restored.read(lambda connection: connection.scalars(select(cases.c.case_id)).all()) == ["c1"]
    finally:
        restored.close()
    assert run("store", "init", "--store", place, "--artefacts", str(tmp_path / "other")).code == 2
