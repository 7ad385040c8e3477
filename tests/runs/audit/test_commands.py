"""`audit` and `access` as people call them: what is shown, what is written where, and the exit codes."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runs.conftest import Done
from tracescribe.runs.access.tokens import create_token, revoke_token
from tracescribe.runs.audit.anchors import anchor_path, read_anchor
from tracescribe.runs.audit.log import append
from tracescribe.runs.audit.sealing import seal
from tracescribe.runs.store.database import open_store, parse_address

Run = Callable[..., Done]


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with some entries, which `TRACESCRIBE_STORE` names."""
    folder = tmp_path / "somewhere"
    monkeypatch.setenv("TRACESCRIBE_STORE", str(folder))
    store = open_store(parse_address(None), create=True)
    create_token(store, "ada", "reviewer")
    seal(store)
    create_token(store, "bob", "reviewer")
    revoke_token(store, "bob")
    seal(store)
    store.close()
    return folder


def test_what_was_done_is_shown_and_verified(run: Run, filled: Path) -> None:
    shown = run("audit", "show", "--json").json
    assert [entry["act"] for entry in shown] == ["token created", "key created", "token created", "token revoked"]
    assert run("audit", "show", "--act", "token revoked", "--since", "1h").out.count("token revoked") == 1
    assert run("audit", "show", "--since", "2999-01-01").out == "0 entries\n"
    verified = run("audit", "verify")
    assert (verified.code, "whole" in verified.out) == (0, True)
    assert run("audit", "verify", "--json").json["not_yet_signed"] == 0


def test_tampering_is_told_with_its_place_and_exit_code_1(run: Run, filled: Path) -> None:
    connection = sqlite3.connect(filled / "store.db")
    connection.execute("UPDATE audit_entries SET actor = 'local:eve' WHERE sequence = 2")
    connection.commit()
    connection.close()
    verified = run("audit", "verify")
    assert verified.code == 1
    assert "entry 2 was changed after being written" in verified.out
    assert [(d["kind"], d["first"]) for d in run("audit", "verify", "--json").json["damages"]] == [("edited", 2)]


def test_a_log_goes_on_after_a_backup_and_is_signed_again(run: Run, filled: Path, tmp_path: Path) -> None:
    backup, lost = tmp_path / "backup.db", tmp_path / "lost.json"
    assert run("store", "backup", str(backup)).code == 0
    assert run("access", "create", "late").code == 0
    assert run("audit", "anchor", "--export", str(lost)).code == 0
    for left in filled.glob("store.db*"):
        left.unlink()
    shutil.copy(backup, filled / "store.db")
    assert (run("audit", "verify").code, run("audit", "anchor").code) == (1, 1)
    assert run("audit", "anchor", "--after-restore").code == 0
    for options in ((), ("--anchor", str(lost))):
        verified = run("audit", "verify", *options)
        assert (verified.code, "note: entry 4 tells: a backup was gone back to" in verified.out) == (0, True)
    assert run("audit", "anchor", "--after-restore").code == run("audit", "anchor").code == 0
    assert [entry["act"] for entry in run("audit", "show", "--json").json].count("log restored") == 1
    assert (run("access", "create", "later").code, run("audit", "anchor").code, run("audit", "verify").code) == (
        0,
        0,
        0,
    )
    change(filled, "UPDATE audit_entries SET actor = 'local:eve' WHERE sequence = 4")
    assert run("audit", "verify").code == 1


def test_whatever_else_is_wrong_after_a_backup_is_not_signed_over(run: Run, filled: Path) -> None:
    change(filled, "DELETE FROM audit_entries WHERE sequence > 1", "DELETE FROM audit_heads WHERE sequence > 1")
    change(filled, "UPDATE audit_entries SET actor = 'local:eve' WHERE sequence = 0")
    refused = run("audit", "anchor", "--after-restore")
    assert (refused.code, "more is wrong with the audit log" in refused.err) == (1, True)


def test_a_loss_that_nobody_signed_excuses_nothing(run: Run, filled: Path) -> None:
    store = open_store(parse_address(None))
    known = read_anchor(anchor_path(store.store_id))
    change(filled, "DELETE FROM audit_entries WHERE sequence > 1", "DELETE FROM audit_heads WHERE sequence > 1")
    details = {"sequence": known.head.sequence, "chain": known.head.chain}
    store.write(lambda connection: append(connection, act="log restored", subject=store.store_id, details=details))
    store.close()
    assert run("audit", "verify").code == 1


def test_another_store_in_the_place_of_the_first_is_told(run: Run, filled: Path, tmp_path: Path) -> None:
    emptied = [f"DELETE FROM {table}" for table in ("audit_entries", "audit_heads", "audit_keys")]
    change(filled, *emptied, "UPDATE settings SET value = '\"" + "ab" * 16 + "\"' WHERE name = 'store_id'")
    assert run("access", "create", "forged").code == 0
    for _ in range(2):
        verified = run("audit", "verify")
        assert (verified.code, "here was store" in verified.out) == (1, True)
        run("audit", "anchor")  # signing the forged log does not make it the one that was here
    shutil.rmtree(filled)
    made = open_store(parse_address(None), create=True)
    made.write(lambda connection: append(connection, act="export", subject=made.store_id))
    made.close()
    verified = run("audit", "verify")
    assert (verified.code, "Nothing vouches for this log" in verified.out) == (0, True)


def change(folder: Path, *statements: str) -> None:
    """What somebody does who can write to the database."""
    connection = sqlite3.connect(folder / "store.db")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_log_is_verified_on_another_machine(
    run: Run, filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, anchor, key = (str(tmp_path / name) for name in ("log.jsonl", "anchor.json", "key.pem"))
    for arguments in (("export", log), ("anchor", "--export", anchor), ("keys", "--rotate", "--export", key)):
        assert run("audit", *arguments).code == 0
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "there"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "there"))
    alone = run("audit", "verify", log)
    assert alone.code == 0
    assert "No key is known here" in alone.out
    # the anchor was made after the export: the file lacks what it vouches for
    assert run("audit", "verify", log, "--anchor", anchor).code == 1
    assert run("audit", "verify", "--anchor", anchor).code == 0
    assert run("audit", "verify", "--public-key", key, "--json").json["damages"] == []  # the new key knows the old one
    assert run("audit", "export", log).code == 0
    assert run("audit", "verify", log, "--anchor", anchor, "--public-key", key).code == 0


def test_wrong_calls_are_told_on_one_line(run: Run, filled: Path, tmp_path: Path) -> None:
    for arguments in (
        ("audit", "show", "--act", "nope"),
        ("audit", "show", "--since", "yesterday"),
        ("audit", "verify", str(tmp_path / "none.jsonl")),
        ("audit", "verify", "--anchor", str(filled / "store.db")),
        ("audit", "verify", "--public-key", str(filled / "store.db")),
        ("access", "create", "eve", "--expires", "soon"),
        ("access", "revoke", "nobody"),
    ):
        done = run(*arguments)
        assert (done.code, done.err.count("\n"), done.err.startswith("error: ")) == (2, 1, True), arguments


def test_a_token_is_shown_once(run: Run, filled: Path) -> None:
    made = run("access", "create", "cy", "--expires", "30d")
    token = made.out.strip()
    assert token.startswith("ts_") and "\n" not in token
    listed = run("access", "list")
    assert "cy" in listed.out and token not in listed.out
    rotated = run("access", "rotate", "cy", "--json").json
    assert rotated["token"] != token
    assert {row["status"] for row in run("access", "list", "--json").json if row["name"] == "cy"} == {
        "valid",
        "revoked",
    }
