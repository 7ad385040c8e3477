"""Every page opens without a fault, alone and from the first one, and says what it is."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenWindow
from tests.browser.site import Site

PAGES = ("/", "/reports", "/compare", "/jobs", "/leaderboard", "/audit", "/api/docs")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_opens_without_a_fault(path: str, demo_site: Site, open_window: OpenWindow) -> None:
    page = open_window(demo_site).page
    answer = page.goto(path, wait_until="networkidle")
    assert answer.status == 200
    assert "tracescribe" in page.title()
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.locator("main").count() == 1


def test_the_first_page_leads_to_the_report(demo_site: Site, open_window: OpenWindow) -> None:
    page = open_window(demo_site).page
    demo_site.cases()
    page.goto("/")
    page.get_by_role("link", name="the capital of the state containing Dallas is").first.click()
    page.wait_for_url("**/reports/*")
    assert "Dallas" in page.get_by_role("heading", level=1).inner_text()
