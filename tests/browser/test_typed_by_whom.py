"""What was typed belongs to who typed it, and to the review as they saw it; it is saved once, or comes back."""

from __future__ import annotations

import re
from typing import Any

from tests.browser.axe import axe_source, violations
from tests.browser.chromium import intercept, told, try_now
from tests.browser.conftest import OpenWindow, Team
from tests.browser.reviewer import Reviewer
from tests.browser.test_acting import look, opened, saved
from tests.browser.test_acting_together import COMMENT, RENAME, do_not_look, elsewhere, texts

__all__ = ["axe_source"]  # a fixture

SECRET = "this is only mine"


def _log_in(page: Any, token: str) -> None:
    page.goto("/log-in")
    page.get_by_label(re.compile("token", re.IGNORECASE)).first.fill(token)
    page.get_by_role("button", name=re.compile("log in", re.IGNORECASE)).click()
    page.get_by_role("button", name="Log out").wait_for()


def test_what_waits_is_saved_under_nobody_elses_name(team: Team, open_window: OpenWindow) -> None:
    site, tokens = team.site, team.tokens
    case = site.cases(Authorization=f"Bearer {tokens['ada']}")[0]["case_id"]
    window = open_window(site)
    window.allow("ERR_|Failed to load resource|status of 40")
    window.log_in(tokens["rosa"])
    page = window.page
    page.goto(f"/reports/{case}#supernode:s1")
    page.locator("#report[data-ready]").wait_for()
    intercept(page, "**/review/acts", lambda route: route.abort())
    page.keyboard.press("c")
    page.keyboard.type(SECRET)
    page.keyboard.press("Control+Enter")
    bar = page.locator("#review-bar")
    bar.get_by_text("1 change not saved").wait_for()

    other = window.open_tab()
    other.goto("/reports")
    other.get_by_role("button", name="Log out").click()
    other.wait_for_url("**/log-in*")
    _log_in(other, tokens["rolf"])
    page.unroute("**/review/acts")
    try_now(page)
    bar.get_by_text("rolf is logged in in this browser now").wait_for()
    page.reload()  # rolf, in the tab where it waits
    told(page, "rosa has changes in this tab that are not saved")
    page.locator("#report[data-ready]").wait_for()
    page.keyboard.press("c")
    assert page.locator("#inspector").get_by_label(re.compile("^Comment on")).input_value() == ""
    for name in ("rosa", "rolf"):
        with Reviewer(site.address, case, tokens[name]) as reviewer:
            assert reviewer.look()["version"] == 0, f"nothing is saved as {name}"

    other.goto("/reports")
    other.get_by_role("button", name="Log out").click()
    other.wait_for_url("**/log-in*")
    _log_in(page, tokens["rosa"])
    page.goto(f"/reports/{case}")
    saved(page, 1)
    with Reviewer(site.address, case, tokens["rosa"]) as reviewer:
        done = reviewer.look()["history"]
    assert [(one["actor"], one["act"]["text"]) for one in done] == [("token:rosa", SECRET)]


def test_a_change_behind_an_open_field_is_a_conflict(fresh_site: Any, open_window: OpenWindow, axe_source: str) -> None:
    _, page = opened(fresh_site, open_window)
    page.locator('.box[data-target="supernode:s2"]').click()
    page.locator("#inspector").get_by_role("button", name=re.compile("Edit label")).wait_for()
    page.keyboard.press("e")
    page.keyboard.type("words of mine")
    elsewhere(fresh_site, RENAME)
    told(page, "your view is up to date")
    assert not violations(page, axe_source), "a message is for everyone"
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="You changed this review in another window")
    assert "the state of Texas" in dialog.inner_text()
    assert not violations(page, axe_source)
    dialog.get_by_role("button", name="Keep those, drop these").click()
    field = page.locator("#inspector").get_by_role("textbox")
    field.wait_for()
    assert field.input_value() == "words of mine"
    page.wait_for_function("() => document.activeElement !== document.body")  # focus is not lost with the dialogs
    assert look(fresh_site)["supernodes"][1]["label"] == "the state of Texas"


def test_words_that_the_server_changes_are_saved_once(fresh_site: Any, open_window: OpenWindow) -> None:
    window, page = opened(fresh_site, open_window)
    window.allow("ERR_|Failed to load resource")

    def lose_the_answer(route: Any) -> None:
        route.fetch()
        route.abort()

    intercept(page, "**/review/acts", lose_the_answer, times=1)
    page.keyboard.press("s")
    page.keyboard.press("c")
    page.keyboard.type("see the key AKIAIOSFODNN7EXAMPLE")
    page.keyboard.press("Control+Enter")
    saved(page, 1)
    assert page.get_by_role("dialog").count() == 0
    stored = texts(fresh_site)
    assert len(stored) == 1
    assert "AKIA" not in stored[0]


def test_what_was_typed_in_a_dialog_comes_back(fresh_site: Any, open_window: OpenWindow) -> None:
    window, page = opened(fresh_site, open_window)
    window.allow("409")
    do_not_look(page)
    page.locator("#review-bar").get_by_role("button", name="Close review…").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("because of s2")
    elsewhere(fresh_site, COMMENT)
    page.get_by_role("button", name="Accept the report").click()
    page.get_by_role("button", name="Keep those, drop these").click()
    saved(page, 1)
    page.locator("#review-bar").get_by_role("button", name="Close review…").click()
    assert page.get_by_role("dialog").get_by_role("textbox").input_value() == "because of s2"
    page.keyboard.press("Escape")

    page.keyboard.press("s")
    page.keyboard.press("c")
    page.keyboard.type("half a thought")
    page.keyboard.press("Escape")
    page.reload()
    page.locator("#report[data-ready]").wait_for()
    page.locator("#inspector").get_by_label(re.compile("^Comment on")).wait_for()
    assert page.locator("#inspector").get_by_label(re.compile("^Comment on")).input_value() == "half a thought"
