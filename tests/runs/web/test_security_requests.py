"""Requests that no page of ours makes: of other sites, under other names, too large, or with paths in their words."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from tests.runs.web.visitors import all_routes, filled, log_in, new_token, team_app, visitor
from tracescribe.runs.store.database import Store
from tracescribe.runs.web.app import create_app
from tracescribe.runs.web.hosts import host_name
from tracescribe.runs.web.security_headers import CONTENT_SECURITY_POLICY

CHANGES = [(method, path) for method, path in all_routes() if method != "GET"]
TRAVERSALS = (
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%252f..%252fetc%252fpasswd",
    "%2fetc%2fpasswd",
    "..%5c..%5cwindows",
    "....//....//etc/passwd",
    "%00",
    "a%00.json",
    "%ff%fe",
    "%c0%ae%c0%ae%2f",
    "%2e%2e",
    "%2e",
    "~root",
    "C:%5c",
    "file:%2f%2f%2fetc%2fpasswd",
    "a" * 5000,
    "%F0%9F%92%A9",
    "'%20or%201=1--",
    "${jndi:ldap:%2f%2fx}",
    "{{7*7}}",
)
SINGLE = ("/reports/{case_id}", "/static/{case_id}", "/api/reports/{case_id}/graph")
"""Templates that every traversal is tried on; the others have the same patterns and get some."""


def test_every_answer_has_the_headers(client: TestClient) -> None:
    paths = [filled(path) for method, path in all_routes() if method == "GET"]
    for path in [*paths, "/nope", "/api/nope", "/static/app.css", "/static/nope", "/a%00"]:
        answer = client.get(path)
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY, path
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.headers["referrer-policy"] == "no-referrer", path
        assert answer.headers["cross-origin-resource-policy"] == "same-origin", path
        assert answer.headers["cache-control"] in ("no-store", "no-cache", "private, no-cache"), path
        assert "access-control-allow-origin" not in answer.headers, path
        assert "server" not in answer.headers, path
    assert "'unsafe" not in CONTENT_SECURITY_POLICY and "http" not in CONTENT_SECURITY_POLICY


def test_static_files_are_asked_for_again_by_their_tag(client: TestClient) -> None:
    first = client.get("/static/app.css")
    again = client.get("/static/app.css", headers={"If-None-Match": first.headers["etag"]})
    assert (first.status_code, again.status_code) == (200, 304)


def test_changes_need_the_token_of_a_page(client: TestClient, csrf: dict[str, str]) -> None:
    for method, path in CHANGES:
        for headers in (
            {},
            {"X-CSRF-Token": ""},
            {"X-CSRF-Token": "0" * 64},
            {"X-CSRF-Token": csrf["X-CSRF-Token"][:-1]},
        ):
            assert client.request(method, filled(path), json={}, headers=headers).status_code == 403, (path, headers)
        assert client.request(method, filled(path), json={}, headers=csrf).status_code != 403, path


@pytest.mark.parametrize(
    "foreign",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999"},
        {"Origin": "https://localhost:8321"},
        {"Origin": "http://localhost:8321.evil.example"},
        {"Origin": "http://evil.example#http://localhost:8321"},
        {"Origin": "http://localhost:8321@evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:8321"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
    ],
)
def test_changes_of_other_sites_are_refused_even_with_the_token(
    client: TestClient, csrf: dict[str, str], foreign: dict[str, str]
) -> None:
    for method, path in CHANGES:
        assert client.request(method, filled(path), json={}, headers={**csrf, **foreign}).status_code == 403, path


def test_our_own_pages_may_change_things(client: TestClient, csrf: dict[str, str]) -> None:
    own = {**csrf, "Origin": "http://localhost:8321", "Sec-Fetch-Site": "same-origin"}
    answer = client.post("/api/reports/nosuchcase00.0/review/acts", json={}, headers=own)
    assert answer.status_code == 422
    form = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}  # a form of a page that sends no referrer
    assert client.post("/log-out", data={"csrf": csrf["X-CSRF-Token"]}, headers=form).status_code == 303


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "text/plain; charset=application/json", "image/png", ""]
)
def test_simple_types_cannot_pass_as_json(client: TestClient, csrf: dict[str, str], kind: str) -> None:
    content = b'{"expected_version": 0, "act": {"kind": "undo"}}'
    answer = client.post(
        "/api/reports/nosuchcase00.0/review/acts", content=content, headers={**csrf, "Content-Type": kind}
    )
    assert answer.status_code in (403, 415)


def test_a_csrf_token_is_of_one_session(store: Store) -> None:
    app = team_app(store)
    ours, theirs = visitor(app, come_from="a"), visitor(app, come_from="b")
    for client, name in ((ours, "ours"), (theirs, "theirs")):
        log_in(client, new_token(store, name, "reviewer"))
    taken = theirs.get("/api/session").json()["csrf"]
    path = "/api/reports/nosuchcase00.0/review/acts"
    assert ours.post(path, json={}, headers={"X-CSRF-Token": taken}).status_code == 403
    assert theirs.post(path, json={}, headers={"X-CSRF-Token": taken}).status_code == 422


def test_a_restarted_server_takes_the_token_of_an_open_page(store: Store, csrf: dict[str, str]) -> None:
    restarted = visitor(create_app(store))
    assert restarted.get("/api/session").json()["csrf"] == csrf["X-CSRF-Token"]


@pytest.mark.parametrize(
    "fetch",
    [
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
)
def test_other_sites_embed_nothing(client: TestClient, fetch: dict[str, str]) -> None:
    for path in ("/reports", "/api/reports", "/static/app.css"):
        assert client.get(path, headers=fetch).status_code == 403


def test_other_sites_may_link_to_pages_and_not_to_the_api(client: TestClient) -> None:
    follow = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/reports", headers=follow).status_code == 200
    assert client.get("/api/reports", headers=follow).status_code == 403


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "evil.example:8321",
        "127.0.0.1.nip.example",
        "0.0.0.0:8321",
        "localhost:8321@evil.example",
        "localhost:8321, evil.example",
        "localhost evil",
        "localhost:",
        "localhost:port",
        "[::2]",
        "",
        "local%68ost",
        "\xfflocalhost",
    ],
)
def test_other_names_get_nothing(client: TestClient, host: str) -> None:
    for path in ("/reports", "/api/session", "/static/app.css"):
        answer = client.get(path, headers={b"Host": host.encode("latin-1")})
        assert answer.status_code in (400, 421), host
        assert "csrf" not in answer.text or 'content=""' in answer.text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8321", "[::1]:8321", "localhost."])
def test_our_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/api/session", headers={"Host": host}).status_code == 200


def test_two_hosts_are_refused(client: TestClient) -> None:
    twice = [("Host", "localhost"), ("Host", "evil.example")]
    assert client.get("/api/session", headers=twice).status_code == 400
    assert host_name(b"a" * 300 + b"!") is None


@pytest.mark.parametrize(
    "name",
    ["X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "Forwarded", "X-Real-IP", "Via", "CF-Connecting-IP"],
)
def test_strangers_behind_a_proxy_are_not_the_person_at_this_machine(
    client: TestClient, store: Store, name: str
) -> None:
    assert client.get("/api/session", headers={name: "198.51.100.7"}).status_code == 403
    assert visitor(team_app(store)).get("/log-in", headers={name: "198.51.100.7"}).status_code == 200


def test_no_path_leads_out(client: TestClient) -> None:
    templates = [path for method, path in all_routes() if method == "GET"] + ["/static/{case_id}"]
    for template in templates:
        for name in re.findall(r"\{(\w+)\}", template):
            around = filled(template.replace(f"{{{name}}}", "HERE"))
            for bad in TRAVERSALS if name == "case_id" and template in SINGLE else TRAVERSALS[:6]:
                answer = client.get(around.replace("HERE", bad))
                assert 400 <= answer.status_code < 500, (template, bad, answer.status_code)
                assert "root:" not in answer.text
