"""Several people, and servers that go away: nothing is overwritten in silence, and nothing that was typed is lost."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.browser.chromium import intercept, told, try_now
from tests.browser.conftest import OpenWindow, Team
from tests.browser.reviewer import Reviewer
from tests.browser.site import Site
from tests.browser.test_acting import look, opened, saved

COMMENT = {"kind": "comment", "target": "claim:c1", "text": "from the other window"}
RENAME = {"kind": "rename supernode", "supernode": "s2", "text": "the state of Texas"}


def do_not_look(page: Any) -> None:
    """Let the page believe that nobody else has done anything, as in the seconds between two looks."""
    stale = json.dumps({"review_id": None, "version": 0})
    intercept(page, "**/review/version*", lambda route: route.fulfill(body=stale, content_type="application/json"))


def texts(site: Site) -> list[str]:
    """What the comments say that the server has."""
    return [one["text"] for one in look(site)["comments"]]


def elsewhere(site: Site, *acts: dict[str, Any]) -> None:
    """The same person acts in another window."""
    with Reviewer(site.address, site.cases()[0]["case_id"]) as reviewer:
        reviewer.look()
        for act in acts:
            reviewer.act(act)


@pytest.mark.parametrize("on_top", [True, False], ids=["on top", "dropped"])
def test_a_conflict_is_told_and_decided(fresh_site: Site, open_window: OpenWindow, on_top: bool) -> None:
    window, page = opened(fresh_site, open_window)
    window.allow("409")
    do_not_look(page)
    elsewhere(fresh_site, COMMENT, RENAME)
    page.locator('.box[data-target="supernode:s2"]').click()
    inspector = page.locator("#inspector")
    inspector.get_by_role("button", name=re.compile("^Comment")).click()
    inspector.get_by_label(re.compile("^Comment on")).fill("a long thought of mine")
    page.keyboard.press("Control+Enter")

    dialog = page.get_by_role("dialog", name="You changed this review in another window")
    theirs = dialog.locator("section", has_text="Saved in the other window").inner_text()
    assert "from the other window" in theirs and "the state of Texas" in theirs
    assert "a long thought of mine" in dialog.locator("section", has_text="Not saved yet").inner_text()
    assert texts(fresh_site) == ["from the other window"], "nothing is saved before it is decided"
    if on_top:
        dialog.get_by_role("button", name="Keep those, do these on top").click()
        saved(page, 3)
        assert texts(fresh_site) == ["from the other window", "a long thought of mine"]
    else:
        dialog.get_by_role("button", name="Keep those, drop these").click()
        saved(page, 2)
        assert texts(fresh_site) == ["from the other window"]
        assert inspector.get_by_label(re.compile("^Comment on")).input_value() == "a long thought of mine"
    page.locator('[data-target="supernode:s2"] text.label', has_text="the state of").wait_for()


def test_an_undo_does_not_take_back_what_somebody_else_did(fresh_site: Site, open_window: OpenWindow) -> None:
    window, page = opened(fresh_site, open_window)
    window.allow("409")
    do_not_look(page)
    page.keyboard.press("s")
    page.keyboard.press("a")
    saved(page, 1)
    elsewhere(fresh_site, RENAME)
    page.keyboard.press("u")
    dialog = page.get_by_role("dialog", name="You changed this review in another window")
    dialog.get_by_role("button", name="Keep those, do these on top").click()
    told(page, "would have taken back the other person's change")
    state = look(fresh_site)
    assert state["version"] == 2 and state["supernodes"][1]["label"] == "the state of Texas"


def test_what_others_do_is_seen_without_a_reload(fresh_site: Site, open_window: OpenWindow) -> None:
    _, page = opened(fresh_site, open_window)
    page.locator('.box[data-target="supernode:s2"]').click()
    inspector = page.locator("#inspector")
    inspector.get_by_role("button", name=re.compile("^Comment")).click()
    inspector.get_by_label(re.compile("^Comment on")).fill("half a sen")
    elsewhere(fresh_site, RENAME)
    told(page, "your view is up to date")
    saved(page, 1)
    page.locator('[data-target="supernode:s2"] text.label', has_text="the state of").wait_for()
    assert inspector.get_by_label(re.compile("^Comment on")).input_value() == "half a sen", "typing goes on undisturbed"
    page.reload()
    page.locator(".drawing").wait_for()
    assert inspector.get_by_label(re.compile("^Comment on")).input_value() == "half a sen"


def test_acts_wait_while_the_server_is_away_and_survive_a_reload(fresh_site: Site, open_window: OpenWindow) -> None:
    window, page = opened(fresh_site, open_window)
    window.allow("ERR_|Failed to load resource")
    port = int(fresh_site.address.rpartition(":")[2])
    fresh_site.stop()
    page.keyboard.press("s")
    page.keyboard.press("a")
    page.keyboard.press("e")
    page.keyboard.type("kept through it all")
    page.keyboard.press("Enter")
    page.locator("#review-bar").get_by_text(re.compile("2 changes not saved: the server cannot be reached")).wait_for()
    told(page, "Not saved yet: the server cannot be reached")  # on a phone, too
    intercept(page, "**/review/acts", lambda route: route.abort())
    fresh_site.start(port)
    page.reload()
    page.locator("#review-bar").get_by_text(re.compile("2 changes not saved")).wait_for()
    page.unroute("**/review/acts")
    try_now(page)
    saved(page, 2)
    state = look(fresh_site)
    assert state["supernodes"][0]["decision"] == "accepted" and state["supernodes"][0]["label"] == "kept through it all"
    assert [one["act"]["kind"] for one in state["history"]] == ["judge", "rename supernode"]


def test_an_answer_that_was_lost_is_not_done_twice(fresh_site: Site, open_window: OpenWindow) -> None:
    window, page = opened(fresh_site, open_window)
    window.allow("ERR_|Failed to load resource|409")

    def lose_the_answer(route: Any) -> None:
        route.fetch()  # the server saves it
        route.abort()  # and the page never hears of it

    intercept(page, "**/review/acts", lose_the_answer, times=1)
    page.keyboard.press("s")
    page.keyboard.press("a")
    saved(page, 1)
    assert [one["act"]["kind"] for one in look(fresh_site)["history"]] == ["judge"]


def test_two_reviewers_and_how_far_they_agree(team: Team, open_window: OpenWindow) -> None:
    site, tokens = team.site, team.tokens
    case = site.cases(Authorization=f"Bearer {tokens['ada']}")[0]["case_id"]
    labels = [f"label:{one}" for one in ("2/55", "0/86", "0/60")]
    with Reviewer(site.address, case, tokens["rosa"]) as rosa:
        for target in labels:
            rosa.act({"kind": "judge", "target": target, "decision": "accepted"})
    with Reviewer(site.address, case, tokens["rolf"]) as rolf:
        for target, decision in zip(labels, ("accepted", "accepted", "rejected"), strict=True):
            rolf.act({"kind": "judge", "target": target, "decision": decision})
        rolf.act({"kind": "merge supernodes", "supernodes": ["s3"], "into": "s2"})
    window = open_window(site)
    window.log_in(tokens["rosa"])
    page = window.page
    page.goto(f"/reports/{case}")
    saved(page, 3)
    page.get_by_role("button", name="Reviewers").click()
    dialog = page.get_by_role("dialog", name="Reviewers and agreement")
    dialog.get_by_role("row", name=re.compile("rosa.*you")).wait_for()
    card = dialog.locator("section", has_text="rosa and rolf")
    card.get_by_text("Cohen's kappa").first.wait_for()
    assert re.search(r"Labels.*\n?.*\d", card.inner_text())
    card.get_by_role("button", name="0/60").click()
    page.wait_for_url("**#feature:0/60")
    page.get_by_role("button", name="Reviewers").click()
    dialog.get_by_role("row", name=re.compile("rolf")).get_by_role("link", name="Open").click()
    page.locator("#review-bar").get_by_text("Review of rolf").wait_for()
    saved(page, 4)
    page.get_by_role("button", name="Save as…").click()
    assert page.get_by_role("dialog").locator('[data-export="gold"]').count() == 0, "a reviewer takes no report out"
