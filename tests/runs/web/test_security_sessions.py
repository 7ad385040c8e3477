"""Logging in: cookies that scripts and other sites do not get, sessions that end, and no way out to other hosts."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.exc import IntegrityError

from tests.runs.web.visitors import log_in, new_token, team_app, visitor
from tracescribe.runs.access.tokens import revoke_token
from tracescribe.runs.audit.looking import Wanted, find_entries
from tracescribe.runs.store.database import Store
from tracescribe.runs.web import session_store
from tracescribe.runs.web.own_paths import START, own_path

OUTSIDE = (
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "https:evil.example",
    "https://evil.example",
    "http:///evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "/\\/evil.example",
    "///evil.example",
    "/%0d%0aLocation:%20//evil.example\r\n",
    " //evil.example",
    "\x00//evil.example",
    "reports",
    "@evil.example",
    ".evil.example",
    "/log-out",
    "",
)


@pytest.fixture(scope="module")
def app(store: Store) -> FastAPI:
    """Where visitors log in."""
    return team_app(store)


@pytest.fixture(scope="module")
def token(store: Store) -> str:
    """Of a reviewer."""
    return new_token(store, "rosa", "reviewer")


@pytest.fixture
def client(app: FastAPI, request: pytest.FixtureRequest) -> TestClient:
    """A browser that nobody logged in with yet, at an address of its own."""
    return visitor(app, come_from=request.node.name)


def cookies_of(answer: object) -> dict[str, str]:
    """Set-Cookie headers by name, in lower case."""
    headers = answer.headers.get_list("set-cookie")  # type: ignore[attr-defined]
    return {header.partition("=")[0]: header.lower() for header in headers}


def test_a_session_is_begun_used_and_ended(client: TestClient, token: str, store: Store) -> None:
    answer = log_in(client, token, next="/reports?q=a")
    assert (answer.status_code, answer.headers["location"]) == (303, "/reports?q=a")
    assert client.get("/api/session").json()["name"] == "token:rosa"
    stolen = dict(client.cookies)
    page = client.get("/reports")
    csrf = page.text.partition('name="csrf" content="')[2].partition('"')[0]
    assert client.post("/log-out", data={"csrf": csrf}).status_code == 303
    for name, value in stolen.items():
        client.cookies.set(name, value)
    assert client.get("/api/session").status_code == 401, "the cookie is worth nothing once its owner logged out"
    told = find_entries(store, Wanted(acts=("logged in", "logged out")))
    assert [(entry.act, entry.actor) for entry in told][-2:] == [
        ("logged in", "token:rosa"),
        ("logged out", "token:rosa"),
    ]


def test_cookies_are_out_of_reach(client: TestClient, token: str, store: Store) -> None:
    answer = log_in(client, token)
    session = next(text for name, text in cookies_of(answer).items() if "session" in name)
    assert {"httponly", "samesite=strict", "path=/"} <= {part.strip() for part in session.split(";")}
    assert "domain" not in session
    value = next(value for name, value in client.cookies.items() if "session" in name)
    assert len(value) >= 43
    with store.engine.connect() as connection:
        held = connection.exec_driver_sql("select * from web_sessions").fetchall()
    assert value not in str(held), "the store holds a hash alone"


def test_cookies_go_over_tls_alone_where_there_is_tls(store: Store, token: str) -> None:
    secure = visitor(team_app(store, secure_cookies=True), come_from="tls", base_url="https://localhost:8321")
    found = cookies_of(log_in(secure, token))
    assert found and all(name.startswith("__Host-") and "; secure" in text for name, text in found.items())
    assert secure.get("/api/session").headers["strict-transport-security"].startswith("max-age=")


def test_what_was_put_into_the_browser_before_is_never_a_session(client: TestClient, token: str) -> None:
    client.get("/log-in")
    name = next(iter(client.cookies)).replace("visitor", "session")
    client.cookies.set(name, "A" * 43, domain="localhost.local", path="/")
    assert client.get("/api/session").status_code == 401
    log_in(client, token)
    assert client.cookies[name] != "A" * 43
    assert client.get("/api/session").status_code == 200


def test_a_session_ends_with_its_token(app: FastAPI, store: Store) -> None:
    client = visitor(app, come_from="revoked")
    log_in(client, new_token(store, "rolf", "admin"))
    assert client.get("/api/session").status_code == 200
    revoke_token(store, "rolf")
    assert client.get("/api/session").status_code == 401
    assert client.get("/reports").headers["location"].startswith("/log-in?next=")


def test_a_session_ends_after_its_time(client: TestClient, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1e9]
    monkeypatch.setattr("tracescribe.runs.web.session_store.time.time", lambda: now[0])
    log_in(client, token)
    assert client.get("/api/session").status_code == 200
    now[0] += session_store.SESSION_SECONDS + 1
    assert client.get("/api/session").status_code == 401


def test_wrong_tokens_are_refused_in_the_same_words_and_not_for_long(client: TestClient, store: Store) -> None:
    real = new_token(store, "victim", "admin")
    told = {log_in(client, text).text.partition('role="alert"')[2][:200] for text in ("ts_nope", real[:-1] + "x", "")}
    assert len(told) == 1
    assert [e for e in find_entries(store, Wanted(acts=("token refused",))) if "victim" in e.actor]
    codes = [log_in(client, "ts_nope").status_code for _ in range(12)]
    assert codes[0] == 401 and codes[-1] == 429
    noted = len(find_entries(store, Wanted(acts=("token refused",))))
    wrong = client.get("/api/session", headers={"Authorization": f"Bearer {real[:-1]}x"})
    assert wrong.status_code == 429 and len(find_entries(store, Wanted(acts=("token refused",)))) == noted
    # others come from the same address: what one of them does wrong, or an old program, must not lock them out
    assert client.get("/api/session", headers={"Authorization": f"Bearer {real}"}).json()["name"] == "token:victim"
    assert log_in(client, real).status_code == 303


def test_the_form_needs_its_own_token(client: TestClient, token: str) -> None:
    client.get("/log-in")
    assert client.post("/log-in", data={"token": token}).status_code == 403
    assert client.post("/log-in", data={"token": token, "csrf": "0" * 64}).status_code == 403


@pytest.mark.parametrize("goal", OUTSIDE)
def test_nobody_is_sent_elsewhere(app: FastAPI, token: str, goal: str) -> None:
    assert own_path(goal) == START
    client = visitor(app, come_from="redirects")
    assert log_in(client, token, next=goal).headers["location"] == START
    again = client.get("/log-in", params={"next": goal})
    assert again.headers.get("location", START) == START


@pytest.mark.parametrize(
    "path", ["//evil.example/", "/\\evil.example", "///evil.example/%2e%2e", "/reports//evil.example"]
)
def test_no_path_makes_the_server_redirect_elsewhere(app: FastAPI, token: str, path: str) -> None:
    answer = visitor(app, token).get(f"http://localhost:8321{path}")
    assert answer.headers.get("location", "/").startswith("/") and not answer.headers.get("location", "/").startswith(
        "//"
    )
    nobody = visitor(app).get(f"http://localhost:8321{path}")
    if "location" in nobody.headers:
        goal = nobody.headers["location"].partition("next=")[2]
        assert nobody.headers["location"].startswith("/log-in?next=") and "//" not in goal


def test_deep_links_outlive_the_log_in(client: TestClient, token: str) -> None:
    goal = "/reports/abc.0?view=graph&review=x"
    asked = client.get(goal).headers["location"]
    form = client.get(asked)
    assert 'value="/reports/abc.0?view=graph&amp;review=x"' in form.text
    assert log_in(client, token, next=goal).headers["location"] == goal


def test_a_link_from_elsewhere_finds_who_is_logged_in(client: TestClient, token: str) -> None:
    """Strict cookies are not sent when another site's link is followed: the form page asks once more, by itself."""
    first = client.get("/log-in?next=/reports", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
    assert first.headers["refresh"] == "0; url=/log-in?next=%2Freports"
    log_in(client, token)
    assert client.get("/log-in?next=/reports").headers["location"] == "/reports"


def test_two_servers_that_start_at_once_make_one_key(store: Store) -> None:
    theirs: list[bytes] = []

    class Beaten:
        """The store, as whoever comes second by a moment finds it."""

        def write(self, work: Any) -> Any:
            if not theirs:
                theirs.append(session_store.web_key(store))
                raise IntegrityError("insert", {}, Exception("there is one"))
            return store.write(work)

    assert session_store.web_key(Beaten()) == theirs[0]  # type: ignore[arg-type]
