"""Artefacts: staged, kept, swept, and checked when they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runs.store.rows import add_case, add_worker
from tracescribe.runs.store.artefacts import Artefact
from tracescribe.runs.store.database import Store
from tracescribe.runs.store.errors import ArtefactDamagedError, ArtefactMissingError

REPORT = Artefact("report.json", "report", b'{"claims": []}')
GRAPH = Artefact("graph.json", "graph", b"\x00graph" * 1000)


def stored(store: Store) -> set[str]:
    """What lies there."""
    return {name for name, _ in store.artefacts.files.names()}


def files_below(store: Store) -> list[Path]:
    """Every file, temporary ones and those set aside included."""
    return [path for path in Path(store.artefacts.location).rglob("*") if path.is_file()]


def test_what_is_kept_is_read_again_and_survives_a_sweep(store: Store) -> None:
    add_worker(store, "w1")
    add_case(store, "c1", worker_id="w1")
    names = store.artefacts.put_all(store, "w1", "c1", 1, (REPORT, GRAPH))
    store.write(lambda connection: store.artefacts.keep(connection, "c1", 1, names))
    add_worker(store, "w1", status="dead")
    assert store.artefacts.sweep(store) == 0
    assert store.artefacts.read(names["report.json"]) == REPORT.content
    assert store.artefacts.read(names["graph.json"]) == GRAPH.content


def test_a_sweep_takes_what_a_dead_worker_staged_and_leaves_what_a_live_one_did(store: Store) -> None:
    add_case(store, "c1", worker_id="w1")
    add_case(store, "c2", worker_id="w2")
    for worker_id, case_id, artefact in (("w1", "c1", REPORT), ("w2", "c2", GRAPH)):
        add_worker(store, worker_id)
        store.artefacts.put(store, worker_id, case_id, 1, artefact)
    add_worker(store, "w1", status="dead")
    assert store.artefacts.sweep(store) == 1
    assert stored(store) == {GRAPH.sha256}
    with pytest.raises(ArtefactMissingError, match="put it again"):
        store.write(lambda connection: store.artefacts.keep(connection, "c1", 1, {"report.json": REPORT.sha256}))


def test_an_artefact_of_two_attempts_stays_while_one_of_them_lives(store: Store) -> None:
    add_worker(store, "w1", status="dead")
    add_worker(store, "w2")
    add_case(store, "c1", worker_id="w2", attempt=2)
    store.artefacts.put(store, "w1", "c1", 1, REPORT)
    store.artefacts.put(store, "w2", "c1", 2, REPORT)
    assert store.artefacts.sweep(store) == 0
    store.write(lambda connection: store.artefacts.keep(connection, "c1", 2, {"report.json": REPORT.sha256}))
    assert store.artefacts.sweep(store) == 0
    assert store.artefacts.read(REPORT.sha256) == REPORT.content


def test_keeping_twice_is_keeping_once(store: Store) -> None:
    """As it happens when the connection is lost while a commit is on its way."""
    add_worker(store, "w1")
    add_case(store, "c1", worker_id="w1")
    names = store.artefacts.put_all(store, "w1", "c1", 1, (REPORT,))
    for _ in range(2):
        store.write(lambda connection: store.artefacts.keep(connection, "c1", 1, names))
    assert stored(store) == {REPORT.sha256}


def test_an_attempt_that_is_given_up_leaves_nothing(store: Store) -> None:
    add_worker(store, "w1")
    add_case(store, "c1", worker_id="w1")
    store.artefacts.put_all(store, "w1", "c1", 1, (REPORT, GRAPH))
    assert store.artefacts.abandon(store, "c1", 1) == 2
    assert files_below(store) == []


def test_a_file_that_a_kill_left_half_written_is_swept_with_its_worker(store: Store) -> None:
    incoming = Path(store.artefacts.location) / "incoming"
    incoming.mkdir(parents=True)
    for worker_id, status in (("w1", "dead"), ("w2", "alive")):
        add_worker(store, worker_id, status=status)
        (incoming / f"00ff.{worker_id}").write_bytes(b"half")
    assert store.artefacts.sweep(store) == 1
    assert [path.name for path in files_below(store)] == ["00ff.w2"]


def test_a_damaged_file_is_set_aside_reported_and_written_anew(store: Store) -> None:
    add_worker(store, "w1")
    add_case(store, "c1", worker_id="w1")
    sha256 = store.artefacts.put(store, "w1", "c1", 1, REPORT)
    place = Path(store.artefacts.location) / sha256[:2] / sha256[2:]
    place.write_bytes(b"other")
    with pytest.raises(ArtefactDamagedError, match="set aside at .*damaged"):
        store.artefacts.read(sha256)
    with pytest.raises(ArtefactMissingError, match="is not in"):
        store.artefacts.read(sha256)
    place.write_bytes(b"damaged again")
    store.artefacts.put(store, "w1", "c1", 1, REPORT)
    assert store.artefacts.read(sha256) == REPORT.content


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "0" * 63])
def test_a_name_that_is_no_hash_never_becomes_a_path(store: Store, name: str) -> None:
    with pytest.raises(ArtefactMissingError, match="not the name of an artefact"):
        store.artefacts.read(name)
