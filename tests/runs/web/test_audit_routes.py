"""The audit trail over HTTP: filtered, newest first, page by page; verified on demand; damage is told with its place."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.runs.web.visitors import new_store, visitor
from tracescribe.runs.audit.acts import ACTS
from tracescribe.runs.audit.log import Entry, append_many
from tracescribe.runs.audit.sealing import seal
from tracescribe.runs.store.database import Store
from tracescribe.runs.web import audit_pages
from tracescribe.runs.web.app import create_app
from tracescribe.runs.web.audit_pages import cut_name, in_short

HOSTILE = "<script>alert(1)</script>'\"\u202e"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A log of 120 entries, signed up to its hundredth."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with new_store(tmp_path) as opened:
        acts = sorted(ACTS)
        told = [
            Entry(acts[i % 5], f"job{i % 3}.{i}", {"n": i, "text": HOSTILE}, "token:anna" if i % 2 else HOSTILE)
            for i in range(119)
        ]
        opened.write(lambda connection: append_many(connection, told[:99]))
        seal(opened)
        opened.write(lambda connection: append_many(connection, told[99:]))
        yield opened


@pytest.fixture
def app(store: Store) -> FastAPI:
    """On loopback: the person at this machine is an admin."""
    return create_app(store)


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    """The person at this machine."""
    return visitor(app)


@pytest.fixture
def csrf(client: TestClient) -> dict[str, str]:
    """The header that pages of ours send with changes."""
    return {"X-CSRF-Token": client.get("/api/session").json()["csrf"]}


def numbers(client: TestClient, **asked: str | int) -> tuple[list[int], int | None]:
    found = client.get("/api/audit", params=asked).json()
    return [entry["sequence"] for entry in found["entries"]], found["older"]


def test_entries_come_newest_first_and_pages_leave_none_out(client: TestClient) -> None:
    last = client.get("/api/audit/state").json()["n_entries"] - 1
    seen: list[int] = []
    shown, older = numbers(client, per_page=37)
    while True:
        seen += shown
        if older is None:
            break
        shown, older = numbers(client, per_page=37, before=older)
    assert seen == list(range(last, -1, -1)) and last == 119  # one entry tells of the key that signed


def test_filters_hold_together(client: TestClient) -> None:
    act = sorted(ACTS)[1]
    entries = client.get("/api/audit", params={"act": act, "actor": "token:anna", "per_page": 500}).json()["entries"]
    assert entries and all(entry["act"] == act and entry["actor"] == "token:anna" for entry in entries)
    assert entries[0]["meaning"] == ACTS[act] and entries[0]["details"]["text"] == HOSTILE
    of_job = client.get("/api/audit", params={"subject": "job1", "per_page": 500}).json()["entries"]
    assert len(of_job) == 40 and all(entry["subject"].startswith("job1.") for entry in of_job)
    assert numbers(client, subject="job1.1")[0] != [] and numbers(client, subject="job")[0] == []
    assert numbers(client, since="1h")[0][0] == 119 and numbers(client, until="2020-01-01")[0] == []
    assert numbers(client, since="2090-01-01")[0] == []


@pytest.mark.parametrize(
    "asked",
    [{"act": "no such act"}, {"since": "yesterday-ish"}, {"before": -1}, {"before": 10**40}, {"per_page": 501}]
    + [{"subject": "x" * 201}, {"until": "99999999999d"}]
    + [{"since": "9999-12-31T23:59:59-23:59"}, {"until": "0001-01-01T00:00:00+23:59"}],
)
def test_what_cannot_be_asked_is_told(client: TestClient, asked: dict[str, str]) -> None:
    answer = client.get("/api/audit", params=asked)
    assert answer.status_code == 422 and set(answer.json()) >= {"error", "message"}
    if set(asked) & {"act", "since"}:
        shown = client.get("/audit", params=asked)
        assert shown.status_code == 422 and "All entries" not in shown.text and "note-problem" in shown.text


def test_the_page_shows_text_as_text(client: TestClient) -> None:
    shown = client.get("/audit").text
    assert "<script>alert" not in shown and "&lt;script&gt;alert" in shown and "\u202e" not in shown
    assert "signed through entry 99" in shown and "audit anchor --export" in shown
    narrowed = client.get("/audit", params={"subject": HOSTILE})
    assert narrowed.status_code == 200 and "No entry is like that" in narrowed.text
    second = client.get("/audit", params={"before": 70})
    assert "entry-69" in second.text and "entry-70" not in second.text and "Newest" in second.text


def test_a_whole_log_is_told_with_when_and_by_whom(client: TestClient, csrf: dict[str, str]) -> None:
    assert client.get("/api/audit/verification").json() is None
    found = client.post("/api/audit/verification", headers=csrf).json()
    assert found["whole"] and found["n_entries"] == 120 and found["signed_through"] == 99 and found["unsigned"] == 20
    assert found["asked_by"].startswith("local:") and found["n_damages"] == 0
    assert client.get("/api/audit/verification").json() == found
    again = client.post("/api/audit/verification", headers=csrf)
    assert again.status_code == 429 and int(again.headers["Retry-After"]) >= 1
    assert "whole" in client.get("/audit").text
    assert client.post("/api/audit/verification").status_code == 403


def test_damage_is_told_with_its_place(
    client: TestClient, csrf: dict[str, str], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_pages, "REST_SECONDS", 0.0)
    assert client.post("/api/audit/verification", headers=csrf).json()["whole"]
    file = store.address.database_file
    assert file is not None
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE audit_entries SET details = ? WHERE sequence = 50", (HOSTILE,))
        connection.execute("DELETE FROM audit_entries WHERE sequence = 70")
    connection.close()
    found = client.post("/api/audit/verification", headers=csrf).json()
    assert not found["whole"] and found["n_damages"] >= 2
    places = {(one["first"], one["last"]) for one in found["damages"]}
    assert {(50, 50), (70, 70)} <= places
    shown = client.get("/audit", params={"before": 51}).text
    assert "damaged" in shown and "&lt;script&gt;alert" in shown and "<script>alert" not in shown


def test_details_in_short_hold_no_hash_and_nothing_empty() -> None:
    digits = "0123456789abcdef" * 4
    told = {"sha256": digits, "effect": 12.575100, "q": None, "outcome": "supported", "artefacts": {"a.json": digits}}
    assert in_short(told) == [("effect", "12.6"), ("outcome", "supported"), ("artefacts", "a.json")]
    assert in_short("not JSON") == [("", "not JSON")]
    assert cut_name(f"worker:w-{digits}") == "worker:w-0123456789…" and cut_name("token:anna") == "token:anna"
