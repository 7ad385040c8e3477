"""How answers are sent: packed where that is worth it, to HEAD without a body; and what is done before anybody asks."""

from __future__ import annotations

import threading
from importlib.util import find_spec

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tracescribe.runs.web import warming
from tracescribe.runs.web.session_store import masked, unmasked

PACKED = {"Accept-Encoding": "gzip"}


def test_pages_data_and_files_are_packed(client: TestClient) -> None:
    for path in ("/reports", "/api/openapi.json", "/static/app.css", "/no/such/page"):
        packed, plain = client.get(path, headers=PACKED), client.get(path, headers={"Accept-Encoding": "identity"})
        assert packed.headers["content-encoding"] == "gzip" and "Accept-Encoding" in packed.headers["vary"], path
        assert (
            int(packed.headers["content-length"]) < len(plain.content) / 2 and packed.status_code == plain.status_code
        )
        assert "content-encoding" not in plain.headers
    assert "content-encoding" not in client.get("/api/session", headers=PACKED).headers, "too small to be worth it"


def test_the_secret_of_a_packed_page_looks_different_each_time(client: TestClient) -> None:
    token = client.get("/api/session").json()["csrf"]
    shown = [client.get("/reports").text.partition('name="csrf" content="')[2].partition('"')[0] for _ in range(3)]
    assert len(set(shown)) == 3 and {unmasked(one) for one in [*shown, token]} == {token}
    assert masked("") == "" and {unmasked(wrong) for wrong in ("", "xyz", "é", "00")} == {""}
    for wrong in (shown[0][:-2], shown[0][:64], "0" * 128, "0" * 64, "é" * 64):
        assert client.post("/log-out", headers={b"X-CSRF-Token": wrong.encode()}).status_code == 403
    for right in (shown[0], token):
        assert client.post("/log-out", headers={"X-CSRF-Token": right}).status_code == 303


@pytest.mark.parametrize(
    "path", ["/reports", "/jobs", "/api/reports", "/static/app.css", "/no/such/page", "/api/jobs/x"]
)
def test_head_is_get_without_a_body(client: TestClient, path: str) -> None:
    whole, head = client.get(path), client.head(path)
    assert head.content == b"" and head.status_code == whole.status_code
    for name in ("content-type", "cache-control", "vary", "content-security-policy"):
        assert head.headers.get(name) == whole.headers.get(name)


def test_a_step_that_fails_is_told_when_somebody_asks(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warming, "_MODULES", ("tracescribe.no_such_module",))
    app.openapi_schema = None
    warming.warm(app).join(300)
    assert app.openapi_schema is not None, "the last step was taken"


def test_warming_up_ends_with_the_server(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    reached, go_on, after = threading.Event(), threading.Event(), threading.Event()
    monkeypatch.setattr(warming, "_steps", lambda _: (reached.set, lambda: go_on.wait(300), after.set))
    thread = warming.warm(app)
    assert reached.wait(300)
    for end in app.state.on_stop:
        end()
    go_on.set()
    thread.join(300)
    assert not after.is_set()


def test_what_is_imported_ahead_is_there() -> None:
    ours = [name for name in warming._MODULES if name.startswith("tracescribe.")]
    assert ours and [name for name in ours if find_spec(name) is None] == []
