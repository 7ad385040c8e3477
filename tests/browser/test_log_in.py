"""Logging in as a person does: back to where the link led, out again, and from another site's link."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.conftest import Team


@pytest.fixture
def elsewhere() -> Iterator[Callable[[str], str]]:
    """Another site, with a page that links here: gives the page's address."""
    linked = [""]

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f'<!doctype html><title>x</title><a href="{linked[0]}">read this</a>'.encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.2", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def linking(address: str) -> str:
        linked[0] = address
        return f"http://127.0.0.2:{server.server_address[1]}/"

    yield linking
    server.shutdown()
    thread.join()
    server.server_close()


def _fill(page: Any, token: str) -> None:
    page.fill("#token", token)
    page.click(".log-in-form button")


def test_a_deep_link_outlives_the_log_in(team: Team, open_window: Callable[..., Any]) -> None:
    page = open_window(team.site).page
    page.goto(f"{team.site.address}/reports?q=dallas&sort=prompt#claim:c1")
    assert page.title().startswith("Log in")
    _fill(page, team.tokens["rosa"])
    page.wait_for_url(f"{team.site.address}/reports?q=dallas&sort=prompt#claim:c1")
    page.click("text=Log out")
    page.wait_for_url("**/log-in*")
    page.goto(f"{team.site.address}/reports")
    page.wait_for_url("**/log-in?next=%2Freports")


def test_a_link_on_another_site_finds_who_is_logged_in(
    team: Team, open_window: Callable[..., Any], elsewhere: Callable[[str], str]
) -> None:
    window = open_window(team.site)
    page = window.page
    page.goto(f"{team.site.address}/log-in")
    _fill(page, team.tokens["rosa"])
    page.wait_for_url(lambda url: not url.endswith("/log-in"))
    window.allow(r"127\.0\.0\.2")
    page.goto(elsewhere(f"{team.site.address}/reports?sort=prompt"))
    page.click("a")
    page.wait_for_url(f"{team.site.address}/reports?sort=prompt")
    assert page.title().startswith("Reports")


def test_a_viewer_is_led_to_what_viewers_may_see(team: Team, open_window: Callable[..., Any]) -> None:
    page = open_window(team.site).page
    page.goto(team.site.address)
    _fill(page, team.tokens["vera"])
    page.wait_for_url("**/jobs")
    assert page.locator("nav >> text=Reports").count() == 0
