"""Every error has one form: JSON under /api/, a page elsewhere, and never what happened inside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.runs.web.visitors import new_token, team_app, visitor
from tracescribe.runs.access.errors import AccessDeniedError, TokenRefusedError
from tracescribe.runs.review.errors import ActRefusedError, BroughtInError, ReviewUnfinishedError
from tracescribe.runs.store.database import Store
from tracescribe.runs.store.errors import (
    ArtefactDamagedError,
    ArtefactMissingError,
    StoreBusyError,
    StoreReadOnlyError,
    StoreUnreachableError,
)
from tracescribe.runs.web.app import create_app
from tracescribe.runs.web.outage import REST_SECONDS
from tracescribe.runs.web.settings import WebSettings
from tracescribe.tracer.errors import (
    BudgetExceededError,
    EvidenceError,
    GraphFormatError,
    InterventionError,
    OutputError,
    ReportError,
    SettingError,
    TracescribeError,
    UnknownIdError,
)

SECRET = "the secret of a colleague"
STATUS: dict[type[TracescribeError], int] = {
    UnknownIdError: 404,
    SettingError: 422,
    GraphFormatError: 422,
    BroughtInError: 422,
    ActRefusedError: 422,
    InterventionError: 422,
    EvidenceError: 422,
    ReportError: 422,
    ReviewUnfinishedError: 409,
    TokenRefusedError: 401,
    AccessDeniedError: 403,
    ArtefactMissingError: 410,
    ArtefactDamagedError: 503,
    StoreBusyError: 503,
    StoreUnreachableError: 503,
    StoreReadOnlyError: 503,
    OutputError: 503,
    BudgetExceededError: 503,
}


@pytest.fixture(scope="module")
def failing(store: Store) -> Iterator[TestClient]:
    """The app with addresses that fail as the test says."""
    app: FastAPI = create_app(store)

    def fail(name: str) -> None:
        for kind in STATUS:
            if kind.__name__ == name:
                raise kind("what, where; what to do \ud800\n\x00 end")
        raise ZeroDivisionError(SECRET)

    app.get("/api/fail/{name}", response_model=None)(fail)
    app.get("/fail/{name}", response_model=None)(fail)
    app.state.context.outage.begin = lambda: None  # one error does not answer for the next
    yield visitor(app)


@pytest.mark.parametrize("kind", list(STATUS))
def test_every_kind_has_its_status_and_says_what_to_do(
    failing: TestClient, caplog: pytest.LogCaptureFixture, kind: type[TracescribeError]
) -> None:
    answer = failing.get(f"/api/fail/{kind.__name__}")
    assert answer.status_code == STATUS[kind]
    told = answer.json()
    assert set(told) == {"error", "message"} and "what to do" in told["message"] and "\n" not in told["message"]
    if answer.status_code == 503:
        assert int(answer.headers["Retry-After"]) > 0
        (record,) = [record for record in caplog.records if record.name.startswith("tracescribe.")]
        line = record.getMessage()
        assert "what to do" in line and "\n" not in line and line.encode(), "one line that a file can hold"
    page = failing.get(f"/fail/{kind.__name__}")
    if kind is TokenRefusedError:
        assert (page.status_code, page.headers["location"]) == (303, "/log-in?next=%2Ffail%2FTokenRefusedError")
    else:
        assert page.status_code == STATUS[kind] and "what to do" in page.text and "<h1" in page.text


def test_what_nobody_foresaw_is_logged_and_not_shown(failing: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    for path in ("/api/fail/other", "/fail/other"):
        caplog.clear()
        answer = failing.get(path)
        assert answer.status_code == 500
        assert SECRET not in answer.text and "Traceback" not in answer.text and "ZeroDivision" not in answer.text
        number = next(word for word in caplog.text.split() if len(word.rstrip(":")) == 8 and word.endswith(":"))
        assert number.rstrip(":") in answer.text, "the visitor can name the fault"
        assert SECRET in caplog.text and answer.headers["content-security-policy"]


def test_what_is_not_there_is_told_in_our_words(failing: TestClient) -> None:
    assert failing.get("/api/nothing").json()["error"] == "not found"
    page = failing.get("/<script>alert(1)</script>")
    assert page.status_code == 404 and "<script>alert" not in page.text


def test_strangers_are_not_told_where_the_store_lies(store: Store) -> None:
    where = store.address.shown
    for app, tells in ((create_app(store), True), (team_app(store), False)):

        def fail() -> None:
            raise StoreUnreachableError(
                f'the store {where} cannot be reached (connection to "10.0.0.7" failed (x)); is the server up?'
            )

        app.get("/api/fail")(fail)
        told = visitor(app).get("/api/fail").json()["message"]
        assert (
            (where in told) is ("10.0.0.7" in told) is tells
            and told.startswith("the store ")
            and "; is the server up?" in told
        )


@pytest.mark.parametrize("log_in", [True, False])
def test_while_the_store_is_away_nobody_waits_for_it_in_vain(store: Store, log_in: bool) -> None:
    app = create_app(store, WebSettings(log_in=log_in))
    token = new_token(store, f"vera {log_in}", "viewer")
    now = [1000.0]
    app.state.context.outage._clock = lambda: now[0]
    away = [True]
    asked = []

    def fail() -> str:
        asked.append(now[0])
        if away[0]:
            raise StoreUnreachableError("the store cannot be reached; start its server")
        return "there"

    app.get("/api/fail")(fail)
    vera, nobody = visitor(app, token), visitor(app)
    assert vera.get("/api/fail").status_code == 503 and len(asked) == 1
    for _ in range(3):
        assert vera.get("/api/fail").headers["retry-after"] == "5" and nobody.get("/log-in").status_code == 503
    assert len(asked) == 1 and nobody.get("/static/app.css").status_code == 200
    now[0] += REST_SECONDS + 0.1
    away[0] = False
    assert vera.get("/api/fail").json() == "there" and nobody.get("/log-in").status_code in (200, 303)
    assert not app.state.context.outage.is_on
