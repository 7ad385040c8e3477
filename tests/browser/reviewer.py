"""A person who reviews through the API, as the page does: with cookies, the page's token against forged requests, versions."""

from __future__ import annotations

import html
import re
import time
from typing import Any, Self

import httpx

from tests.browser.site import PATIENCE

CSRF = re.compile(r'<meta name="csrf" content="([^"]*)">')


class Reviewer:
    """One session with a server; a context, at whose end its connections are closed.

    Attributes:
        http: the client with its cookies.
        case_id: of the report that is reviewed.
        review_id: of the review; None before its first act.
        version: that this person has seen.
    """

    def __init__(self, address: str, case_id: str, token: str | None = None) -> None:
        self.http = httpx.Client(base_url=address, timeout=PATIENCE, headers={"Origin": address})
        self.case_id = case_id
        self.review_id: str | None = None
        self.version = 0
        page = self.http.get("/log-in" if token else "/reports")
        if token:
            form = {"token": token, "csrf": self._csrf(page.text)}
            answer = self.http.post("/log-in", data=form)
            assert answer.status_code in (302, 303), (answer.status_code, answer.text)
            page = self.http.get("/reports")
        self.http.headers["X-CSRF-Token"] = self._csrf(page.text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.http.close()

    @staticmethod
    def _csrf(page: str) -> str:
        found = CSRF.search(page)
        assert found is not None, page[:2000]
        return html.unescape(found.group(1))

    @property
    def path(self) -> str:
        """Of the report in the API."""
        return f"/api/reports/{self.case_id}"

    def look(self) -> dict[str, Any]:
        """The review as the server has it; this person has then seen its version."""
        query = {"review": self.review_id} if self.review_id else {}
        answer = self.http.get(f"{self.path}/review", params=query)
        assert answer.status_code == 200, answer.text
        state: dict[str, Any] = answer.json()
        self._saw(state)
        return state

    def post(self, act: dict[str, Any], why: str = "") -> httpx.Response:
        """Send an act; whatever the server answers. The version that this person has seen stays."""
        body = {"review_id": self.review_id, "expected_version": self.version, "act": act, "why": why}
        return self.http.post(f"{self.path}/review/acts", json=body)

    def act(self, act: dict[str, Any], why: str = "") -> dict[str, Any]:
        """Save an act.

        Raises:
            AssertionError: it was not saved.
        """
        answer = self.post(act, why)
        assert answer.status_code == 200, (act, answer.status_code, answer.text)
        state: dict[str, Any] = answer.json()
        self._saw(state)
        return state

    def act_at_last(self, act: dict[str, Any], why: str = "", patience: float = PATIENCE) -> dict[str, Any]:
        """Save an act, waiting where too many were sent.

        Raises:
            AssertionError: it was not saved.
        """
        end = time.monotonic() + patience
        while True:
            answer = self.post(act, why)
            if answer.status_code != 429 or time.monotonic() > end:
                assert answer.status_code == 200, (act, answer.status_code, answer.text)
                state: dict[str, Any] = answer.json()
                self._saw(state)
                return state
            time.sleep(float(answer.headers.get("retry-after", "1")))

    def _saw(self, state: dict[str, Any]) -> None:
        self.review_id, self.version = state["review_id"], state["version"]
