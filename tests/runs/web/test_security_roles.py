"""Who may open what: one table for every route, tried by every kind of visitor. A route that is not in it fails."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from fastapi import FastAPI

from tests.runs.web.visitors import all_routes, filled, new_token, team_app, visitor
from tracescribe.runs.access.roles import ALLOWED, Permission
from tracescribe.runs.access.tokens import find_token, revoke_token
from tracescribe.runs.audit.looking import Wanted, find_entries
from tracescribe.runs.store.database import Store
from tracescribe.runs.web.refused import EVERY

ANYONE, LOGGED_IN, FORM = "anyone", "logged in", "our own form"
TABLE: dict[tuple[str, str], str] = {
    ("GET", "/"): ANYONE,
    ("GET", "/log-in"): ANYONE,
    ("POST", "/log-in"): FORM,
    ("POST", "/log-out"): LOGGED_IN,
    ("GET", "/api/session"): LOGGED_IN,
    ("GET", "/api/docs"): ANYONE,
    ("GET", "/reports"): "open reports",
    ("GET", "/reports/{case_id}"): "open reports",
    ("GET", "/reports/{case_id}/gold"): "open reports",
    ("GET", "/api/reports"): "open reports",
    ("POST", "/api/reports"): "run jobs",
    ("GET", "/api/reports/{case_id}/circuit"): "open reports",
    ("GET", "/api/reports/{case_id}/graph"): "open reports",
    ("GET", "/api/reports/{case_id}/graph/nodes/{node_id}"): "open reports",
    ("GET", "/api/reports/{case_id}/features/{layer}/{feature}"): "see evidence",
    ("GET", "/api/reports/{case_id}/review"): "open reports",
    ("GET", "/api/reports/{case_id}/review/version"): "open reports",
    ("GET", "/api/reports/{case_id}/reviews"): "open reports",
    ("GET", "/api/reports/{case_id}/review/history"): "open reports",
    ("GET", "/api/reports/{case_id}/agreement"): "open reports",
    ("POST", "/api/reports/{case_id}/review/acts"): "review",
    ("POST", "/api/reports/{case_id}/export/{form}"): "export reports",
    ("GET", "/api/reports/{case_id}/live"): "review",
    ("POST", "/api/reports/{case_id}/live"): "review",
    ("GET", "/compare"): "open reports",
    ("GET", "/api/compare"): "open reports",
    ("GET", "/jobs"): "see jobs",
    ("GET", "/jobs/{job_id}"): "see jobs",
    ("GET", "/api/jobs"): "see jobs",
    ("GET", "/api/jobs/{job_id}"): "see jobs",
    ("GET", "/api/jobs/{job_id}/events"): "see jobs",
    ("GET", "/api/jobs/{job_id}/rate"): "see jobs",
    ("GET", "/api/jobs/{job_id}/cases"): "open reports",
    ("GET", "/api/jobs/{job_id}/summary"): "see scores",
    ("GET", "/leaderboard"): "see scores",
    ("GET", "/api/leaderboard"): "see scores",
    ("GET", "/audit"): "see audit log",
    ("GET", "/api/audit"): "see audit log",
    ("GET", "/api/audit/state"): "see audit log",
    ("GET", "/api/audit/verification"): "see audit log",
    ("POST", "/api/audit/verification"): "see audit log",
}
"""What each route asks for. `see evidence` and the others are permissions of `runs.access.roles`."""
VISITORS = ("nobody", "revoked", "expired", "viewer", "reviewer", "admin")


@pytest.fixture(scope="module")
def app(store: Store) -> FastAPI:
    """Where visitors log in."""
    return team_app(store)


@pytest.fixture(scope="module")
def tokens(store: Store) -> dict[str, str | None]:
    """Of each kind of visitor."""
    found: dict[str, str | None] = {role: new_token(store, role, role) for role in ("viewer", "reviewer", "admin")}
    found["nobody"] = None
    found["revoked"] = new_token(store, "revoked", "admin")
    revoke_token(store, "revoked")
    found["expired"] = new_token(store, "expired", "admin", seconds=1e-6)
    assert find_token(store, "expired").expires_at is not None
    return found


def test_the_table_has_every_route_and_no_other_thing() -> None:
    missing = [route for route in all_routes() if route not in TABLE]
    assert not missing, f"say in TABLE who may use {missing}"


@pytest.mark.parametrize("who", VISITORS)
def test_every_route_lets_in_whom_the_table_names(app: FastAPI, tokens: dict[str, str | None], who: str) -> None:
    wrong = []
    for number, (method, path) in enumerate(all_routes()):
        needed = TABLE[method, path]
        # a new one each time, from elsewhere: no cookie and no count of refused tokens goes from route to route
        client = visitor(app, tokens[who], come_from=f"192.0.2.{number}")
        answer = client.request(method, filled(path), json=None if method == "GET" else {})
        expected = _expected(who, needed, path)
        seen = "in" if answer.status_code not in (401, 403) else str(answer.status_code)
        if answer.status_code == 303 and answer.headers["location"].startswith("/log-in?"):
            seen = "log-in page"
        if seen != expected or answer.status_code >= 500:
            wrong.append((method, path, expected, answer.status_code, answer.text[:120]))
    assert not wrong


def _expected(who: str, needed: str, path: str) -> str:
    if who in ("revoked", "expired"):
        return "401"  # a token that is not valid is refused wherever it is shown
    if needed == FORM:
        return "403" if who == "nobody" else "401"  # without the form's token; with a form that holds no access token
    if needed == ANYONE:
        return "in"
    if who == "nobody":
        return "401" if path.startswith("/api/") or path == "/log-out" else "log-in page"
    if needed == LOGGED_IN:
        return "in"
    allowed: frozenset[Permission] = ALLOWED[who]  # type: ignore[index]
    return "in" if needed in allowed else "403"


def test_a_refusal_is_in_the_audit_log_with_the_path_alone(
    app: FastAPI, store: Store, tokens: dict[str, str | None]
) -> None:
    assert visitor(app, tokens["viewer"]).get("/reports?q=the+secret+search").status_code == 403
    found = [entry for entry in find_entries(store, Wanted(acts=("access refused",))) if entry.subject == "/reports"]
    assert found and found[-1].actor == "token:viewer"
    assert "secret" not in str(found)


def test_many_refusals_are_a_few_entries_and_a_number(store: Store) -> None:
    client = visitor(team_app(store), new_token(store, "tireless", "viewer"))
    now = [0.0]
    client.app.state.context.refused._clock = lambda: now[0]  # type: ignore[attr-defined]
    for number in range(5):
        assert client.get(f"/api/reports/nosuchcase00.{number}/reviews").status_code == 403
    assert client.get("/reports").status_code == 403
    now[0] = EVERY
    assert client.get("/api/reports/nosuchcase00.0/reviews").status_code == 403
    found = [
        entry for entry in find_entries(store, Wanted(acts=("access refused",))) if entry.actor == "token:tireless"
    ]
    told = [(entry.subject, json.loads(entry.details).get("more_since_the_last_entry")) for entry in found]
    reviews = "/api/reports/nosuchcase00.0/reviews"
    assert sorted(told, key=str) == sorted([(reviews, None), ("/reports", None), (reviews, 4)], key=str)


@pytest.mark.parametrize(("role", "status", "reads"), [("reviewer", 403, False), ("admin", 422, True)])
def test_a_body_is_read_only_of_who_may_send_it(store: Store, role: str, status: int, reads: bool) -> None:
    app = team_app(store)
    read: list[bytes] = []
    told: list[int] = []

    async def receive() -> dict[str, Any]:
        read.append(b"--x--\r\n")
        return {"type": "http.request", "body": read[-1], "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            told.append(message["status"])

    headers = {
        "host": "localhost:8321",
        "authorization": f"Bearer {new_token(store, f'uploading {role}', role)}",
        "content-type": "multipart/form-data; boundary=x",
    }
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/api/reports",
        "raw_path": b"/api/reports",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("192.0.2.1", 50_000),
        "server": ("localhost", 8321),
    }
    asyncio.run(app(scope, receive, send))
    assert told == [status]
    assert bool(read) == reads
