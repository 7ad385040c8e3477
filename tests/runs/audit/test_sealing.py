"""Keys, seals and anchors: who can sign, what is refused, and what a rotation leaves trusted."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from tracescribe.runs.audit.anchors import anchor_path, read_anchor
from tracescribe.runs.audit.errors import AuditInputError, AuditTamperedError
from tracescribe.runs.audit.keys import PublicKey, key_path, need_key, read_key, read_public, trust
from tracescribe.runs.audit.log import append
from tracescribe.runs.audit.sealing import rotate, seal, sealed_meanwhile, try_seal
from tracescribe.runs.audit.sources import export_log, open_export, source_of
from tracescribe.runs.audit.verifying import Trust, local_trust, verify_log
from tracescribe.runs.store.database import Store
from tracescribe.runs.store.tables import audit_entries, audit_heads


def add(store: Store, *subjects: str) -> None:
    """Entries."""
    for subject in subjects:
        store.write(lambda connection, subject=subject: append(connection, act="job done", subject=subject))  # type: ignore[misc]


def kinds(store: Store, trusted: Trust | None = None) -> set[str]:
    """Kinds of damage that a verification tells."""
    found = verify_log(source_of(store), trusted or local_trust(store.store_id))
    return {damage.kind for damage in found.damages}


def test_an_empty_log_needs_no_key(store: Store) -> None:
    assert seal(store) is None
    assert not key_path(store.store_id).exists()
    assert verify_log(source_of(store), local_trust(store.store_id)).is_whole


def test_sealing_twice_changes_nothing(either_store: Store) -> None:
    add(either_store, "a", "b")
    first, second = seal(either_store), seal(either_store)
    assert first == second
    assert first == read_anchor(anchor_path(either_store.store_id))
    assert source_of(either_store).last_number() == 2  # the key's own entry is the last


def test_entries_after_the_last_seal_are_told_as_not_yet_signed(store: Store) -> None:
    add(store, "a")
    seal(store)
    add(store, "b", "c")
    found = verify_log(source_of(store), local_trust(store.store_id))
    assert found.is_whole
    assert (found.signed_through, found.unsigned) == (1, 2)


def test_a_growing_log_is_sealed_while_others_work(store: Store) -> None:
    add(store, "a")
    with sealed_meanwhile(store.address, every=0.02):
        for n in range(3):
            before = len(source_of(store).heads())
            add(store, f"b{n}")
            while len(source_of(store).heads()) == before:
                time.sleep(0.01)
    assert kinds(store) == set()


def test_what_a_kill_left_beside_key_and_anchor_is_cleared(store: Store) -> None:
    add(store, "a")
    for path in (key_path(store.store_id), anchor_path(store.store_id)):
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / f".{path.name}.left").write_bytes(b"half")
    seal(store)
    assert os.listdir(key_path(store.store_id).parent) == ["key.pem"]
    assert os.listdir(anchor_path(store.store_id).parent) == [f"{store.store_id}.json"]


def test_the_key_is_its_owners_alone(store: Store) -> None:
    add(store, "a")
    seal(store)
    path = key_path(store.store_id)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(AuditInputError, match="can be used by others"):
        seal(store)
    told = try_seal(store)
    assert told is not None and "not signed" in told


def _make_key(path: str, results: multiprocessing.SimpleQueue[str]) -> None:
    results.put(need_key(Path(path)).public.key_id)


def test_processes_that_need_a_key_at_once_get_the_same(tmp_path: Path) -> None:
    path, context = tmp_path / "deep" / "key.pem", multiprocessing.get_context("fork")
    results: multiprocessing.SimpleQueue[str] = context.SimpleQueue()
    processes = [context.Process(target=_make_key, args=(str(path), results)) for _ in range(4)]
    for process in processes:
        process.start()
    made = {results.get() for _ in processes}
    for process in processes:
        process.join()
    assert len(made) == 1
    assert os.listdir(path.parent) == ["key.pem"]


def test_a_rotation_is_trusted_where_only_the_first_key_is_known(store: Store, tmp_path: Path) -> None:
    add(store, "a")
    seal(store)
    first = read_key(key_path(store.store_id))
    assert first is not None
    rotate(store)
    rotate(store)
    add(store, "b")
    seal(store)
    assert kinds(store, Trust(keys=(first.public,))) == set()
    assert kinds(store) == set()
    current = read_key(key_path(store.store_id))
    assert current is not None and current.public != first.public
    assert kinds(store, Trust(keys=(current.public,))) == set()  # and the other way round


def test_a_rotation_that_the_old_key_did_not_sign_is_not_trusted(store: Store) -> None:
    add(store, "a")
    seal(store)
    first = read_key(key_path(store.store_id))
    assert first is not None
    rotate(store)

    def forge(connection: sa.Connection) -> None:
        row = connection.execute(sa.select(audit_entries).where(audit_entries.c.act == "key rotated")).one()
        details = json.loads(row.details) | {"signed_by_old": "00" * 64}
        changed = sa.update(audit_entries).where(audit_entries.c.sequence == row.sequence)
        connection.execute(changed.values(details=json.dumps(details)))

    store.write(forge)
    assert kinds(store, Trust(keys=(first.public,))) == {"key", "edited"}


def test_a_key_of_another_machine_is_not_trusted_until_somebody_says_so(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store, "a")
    seal(store)
    there = read_key(key_path(store.store_id))
    assert there is not None
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    unknown = verify_log(source_of(store), local_trust(store.store_id))
    assert unknown.is_whole and not unknown.keys_known  # nobody here knows better, and it is told
    add(store, "b")
    seal(store)
    assert kinds(store) == {"key"}
    trusted = trust(key_path(store.store_id), there.public)
    assert read_public(trusted) == there.public
    assert kinds(store) == set()


def test_nothing_is_signed_over_a_log_that_was_cut_off(store: Store) -> None:
    add(store, "a", "b", "c")
    seal(store)
    kept = anchor_path(store.store_id).read_bytes()

    def cut(connection: sa.Connection) -> None:
        connection.execute(sa.delete(audit_entries).where(audit_entries.c.sequence > 1))
        connection.execute(sa.delete(audit_heads))

    store.write(cut)
    add(store, "d", "e", "f", "g")
    with pytest.raises(AuditTamperedError, match="anchored, is another now"):
        seal(store)
    assert anchor_path(store.store_id).read_bytes() == kept
    assert kinds(store) == {"rewritten", "signature"}


def test_a_changed_anchor_is_told(store: Store) -> None:
    add(store, "a")
    seal(store)
    path = anchor_path(store.store_id)
    path.write_text(path.read_text().replace('"sequence": 1', '"sequence": 0').replace('"sequence":1', '"sequence":0'))
    assert kinds(store) == {"anchor"}
    with pytest.raises(AuditInputError, match="it was changed"):
        seal(store)


def test_an_exported_log_is_verified_without_its_store(either_store: Store, tmp_path: Path) -> None:
    add(either_store, "a", "b")
    anchor = seal(either_store)
    assert anchor is not None
    path = tmp_path / "log.jsonl"
    assert export_log(source_of(either_store), path) == 3
    trusted = Trust(keys=(anchor.public_key,), anchors=(anchor,))
    with open_export(path) as source:
        assert verify_log(source, trusted).is_whole
    lines = path.read_text().splitlines()
    lines[-1], lines[-2] = lines[-2], lines[-1]
    path.write_text("\n".join(lines[:-1] + [lines[-1], lines[-1]]) + "\n")
    with open_export(path) as source:
        told = {(damage.kind, damage.first) for damage in verify_log(source, trusted).damages}
    assert told == {("moved", 1), ("inserted", 1)}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "is empty"),
        ("[]\n", "line 1 of .* is no JSON object"),
        ('{"schema":"tracescribe-audit-log/1","store_id":"s"}\n{"entry":[1]}\n', "line 2 of .* holds no 8 values"),
        ('{"schema":"tracescribe-audit-log/1","store_id":"s"}\n{"entry":', "line 2 of .* is no JSON"),
    ],
)
def test_a_file_that_is_no_log_is_refused(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(content)
    with pytest.raises(AuditInputError, match=told), open_export(path):
        pass


def test_a_public_key_that_is_none_vouches_for_nothing() -> None:
    assert not PublicKey(b"").vouches(b"message", "00" * 64)
