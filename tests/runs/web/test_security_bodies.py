"""Bodies and queries that no program of ours sends: too large, too deep, no text, no number; refused, and never a fault."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import fastapi
import pytest
from fastapi.exceptions import RequestValidationError
from fastapi.testclient import TestClient

from tracescribe.runs.web.body_limit import MAX_BODY_BYTES


def kinds(answers: list[Any]) -> set[tuple[int, str]]:
    """Status and kind of answers of the API, or the status alone."""
    return {
        (a.status_code, a.json()["error"] if a.headers["content-type"] == "application/json" else "") for a in answers
    }


def test_large_bodies_are_refused_before_and_while_they_are_read(client: TestClient, csrf: dict[str, str]) -> None:
    path = "/api/reports/nosuchcase00.0/review/acts"
    headers = {**csrf, "Content-Type": "application/json"}
    told = client.post(path, content=b" " * (MAX_BODY_BYTES + 1), headers=headers)
    lied = client.post(path, content=b"{}", headers={**headers, "Content-Length": "99999999999999999999"})
    read = [0]

    def chunks() -> Iterator[bytes]:
        for _ in range(200):
            read[0] += 1
            yield b" " * (64 << 10)

    streamed = client.post(path, content=chunks(), headers=headers)
    assert kinds([told, streamed]) == {(413, "too large")}
    assert lied.status_code in (400, 413)
    upload = client.post("/api/reports", files={"report": b"x" * (5 << 20)}, headers=csrf)
    assert kinds([upload]) == {(413, "too large")}
    assert client.post(path, content=b" " * 1000 + b"{}", headers=headers).status_code == 422


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b'{"expected_version": 1e999}',
        b'{"expected_version": NaN}',
        b'{"expected_version": true, "act": {"kind": "undo"}}',
        b'{"expected_version": "0", "act": {"kind": "undo"}}',
        b'{"expected_version": 1.0, "act": {"kind": "undo"}}',
        b'{"expected_version": ' + b"9" * 5000 + b"}",
        b'{"expected_version": 0, "act": {"kind": "comment", "target": "report", "text": "\\ud800"}}',
        b'{"expected_version": 0, "act": {"kind": "undo"}, "why": "\\udfff"}',
        b'{"expected_version": 0, "act": {"kind": "undo"}, "more": 1}',
        b"[" * 100_000,
        b"\xff\xfe{}",
        b'{"expected_version": 0, "act": {"kind": "no such act"}}',
        b'{"__proto__": {}, "constructor": 1}',
    ],
)
def test_bodies_that_are_no_act_are_told_where(client: TestClient, csrf: dict[str, str], content: bytes) -> None:
    answer = client.post(
        "/api/reports/nosuchcase00.0/review/acts",
        content=content,
        headers={**csrf, "Content-Type": "application/json"},
    )
    assert answer.status_code in (400, 422), answer.text
    assert set(answer.json()) >= {"error", "message"} and "\n" not in answer.json()["message"]


@pytest.mark.parametrize(
    "query",
    ["q=%00", "q=%ff", "page=99999999999999999999999", "page=-1", "per_page=1000", "page=1e5", "score_min=nan",
     "score_min=inf", "sort=../x", "status=%F0%9F%92%A9", "q=" + "a" * 9000, "q=%ED%A0%80", "verdict[]=x", "page=1&page=2"],
)  # fmt: skip
def test_strange_queries_are_no_fault_of_the_server(client: TestClient, query: str) -> None:
    for path in ("/api/reports", "/reports"):
        assert client.get(f"{path}?{query}").status_code < 500, (path, query)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("review/acts", {"expected_version": 0, "act": {"kind": "move nodes", "to": None, "nodes": [1] * 50_000}}),
        ("review/acts", {"expected_version": 0, "act": {"kind": "merge supernodes", "into": "s1", "supernodes": [1] * 50_000}}),
        ("review/acts", {"expected_version": 0, "act": {"kind": "undo"} | {str(n): 0 for n in range(20_000)}}),
        ("review/acts", {str(n): 0 for n in range(20_000)}),
        ("live", {"act": "ablate", "nodes": [1] * 50_000, "doses": ["a"] * 50_000}),
    ],
)  # fmt: skip
def test_a_body_with_many_faults_makes_few(
    client: TestClient, csrf: dict[str, str], path: str, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fault costs the server time and memory, while nobody else is answered."""
    made: list[int] = []

    class Counting(RequestValidationError):
        def __init__(self, errors: Sequence[Any], **more: Any) -> None:
            made.append(len(errors))
            super().__init__(errors, **more)

    monkeypatch.setattr(fastapi.routing, "RequestValidationError", Counting)
    answer = client.post(f"/api/reports/nosuchcase00.0/{path}", json=body, headers=csrf)
    assert kinds([answer]) == {(422, "invalid")}
    assert 0 < made[0] < 10


def test_methods_that_nobody_offers_are_told(client: TestClient, csrf: dict[str, str]) -> None:
    answers = [client.request(method, "/api/session", headers=csrf) for method in ("PUT", "DELETE", "PATCH")]
    assert kinds(answers) == {(405, "wrong method")}
    assert client.request("TRACE", "/api/session", headers=csrf).status_code == 405
    assert {answer.headers["allow"] for answer in answers} == {"GET, HEAD"}
    told = {path: client.request("PUT", path, headers=csrf).headers["allow"] for path in ("/api/reports", "/log-out")}
    assert told == {"/api/reports": "GET, HEAD, POST", "/log-out": "POST"}


def test_faults_are_told_in_words_of_the_app(client: TestClient, csrf: dict[str, str]) -> None:
    text = client.post("/api/reports", files={"report": (None, "{}")}, headers=csrf)
    act = {"nodes": ["2_55_8"], "act": "scale"}
    checked = client.post("/api/reports/nosuchcase00.0/live", json=act, headers=csrf)
    assert kinds([text, checked]) == {(422, "invalid")}
    assert "it must be a file" in text.json()["message"]
    assert "body: a multiplier belongs to the act 'scale'" in checked.json()["message"]
    assert "<class" not in text.text and "Value error" not in checked.text
