"""What a person brings about is for everyone, too: axe-core finds nothing in open dialogs, errors, empty lists and on paper."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.browser.axe import axe_source, sideways, violations
from tests.browser.chromium import intercept, stand_still, try_now
from tests.browser.conftest import OpenWindow, Team
from tests.browser.reviewer import Reviewer
from tests.browser.scenes import Scene
from tests.browser.site import Site
from tests.browser.states import EMPTY, REFUSED_FROM_THE_START, STATES, refuse

__all__ = ["axe_source"]  # a fixture

LOOKS = ((1280, 900, "light"), (390, 844, "dark"))
PAPER = ((718, 1047, "light"),)
"""A4 within a printer's margins."""
REFUSED = r"status of (404|409|422|503)|Failed to load resource"


def look(page: Any, name: str, axe: str) -> list[str]:
    """What is wrong with a page as it is now, at desk width in light and at a phone's in dark colours, or on paper."""
    found: list[str] = []
    for width, height, colours in PAPER if page.evaluate("matchMedia('print').matches") else LOOKS:
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=colours)
        stand_still(page)
        found += [f"{name} {width} {colours}: {fault}" for fault in violations(page, axe)]
        found += [f"{name} {width}: sticks out: {fault}" for fault in sideways(page)]
    return found


@pytest.mark.parametrize("scene", STATES, ids=lambda scene: scene.name)
def test_axe_finds_nothing_in_any_state(
    scene: Scene, demo_site: Site, open_window: OpenWindow, axe_source: str
) -> None:
    window = open_window(demo_site)
    window.allow(REFUSED)
    row = demo_site.cases()[0]
    scene.open(window.page, case=row["case_id"], job=row["job_id"])
    faults = look(window.page, scene.name, axe_source)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("part", REFUSED_FROM_THE_START, ids=lambda part: part[0])
def test_axe_finds_nothing_where_data_do_not_come(
    part: tuple[str, str, str], demo_site: Site, open_window: OpenWindow, axe_source: str
) -> None:
    name, path, addresses = part
    window = open_window(demo_site)
    window.allow(REFUSED)
    refuse(window.page, addresses)
    window.page.goto(path.format(case=demo_site.cases()[0]["case_id"]))
    window.page.locator("main").get_by_text("The store is busy").first.wait_for()
    faults = look(window.page, name, axe_source)
    assert not faults, "\n".join(faults)


def test_axe_finds_nothing_where_nothing_is(tmp_path: Path, open_window: OpenWindow, axe_source: str) -> None:
    site = Site(tmp_path)
    try:
        site.start()
        window = open_window(site)
        faults: list[str] = []
        for scene in EMPTY:
            scene.open(window.page, case="", job="")
            faults += look(window.page, scene.name, axe_source)
        assert not faults, "\n".join(faults)
    finally:
        site.stop()


def test_axe_finds_nothing_where_cases_fail(fresh_site: Site, open_window: OpenWindow, axe_source: str) -> None:
    prompts = ["the opposite of hot is", "the opposite of big is"]
    job = {"prompts": {"inline": prompts}, "agent": {"spec": f"exec:{sys.executable} -c 0"}}
    (fresh_site.folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    fresh_site.run("jobs", "run", "job.json", "--store", str(fresh_site.store), status=1)  # no case is done
    window = open_window(fresh_site)
    window.allow(r"status of 410")
    page = window.page
    jobs = page.request.get("/api/jobs").json()["jobs"]
    failed = next(one["job_id"] for one in jobs if not one["name"].startswith("brought in"))
    page.goto(f"/jobs/{failed}")
    page.locator(".job-failure").first.wait_for()
    faults = look(page, "job with failures", axe_source)
    page.goto("/jobs")
    faults += look(page, "jobs with failures", axe_source)
    case = page.request.get(f"/api/jobs/{failed}/cases").json()["cases"][0]["case_id"]
    page.goto(f"/reports/{case}")
    faults += look(page, "report of a failed case", axe_source)
    assert not faults, "\n".join(faults)


def test_axe_finds_nothing_in_a_review_that_was_worked_on(
    fresh_site: Site, open_window: OpenWindow, axe_source: str
) -> None:
    case = fresh_site.cases()[0]["case_id"]
    with Reviewer(fresh_site.address, case) as reviewer:
        state = reviewer.look()
        node = next(one for one in state["supernodes"] if one["supernode_id"] == "s3")["members"][0]
        for act in (
            {"kind": "judge", "target": "supernode:s1", "decision": "accepted"},
            {"kind": "judge", "target": "supernode:s2", "decision": "rejected"},
            {"kind": "judge", "target": "claim:c1", "decision": "rejected"},
            {"kind": "judge", "target": "edge:s2>s1", "decision": "rejected"},
            {"kind": "comment", "target": "supernode:s2", "text": "as the texts say"},
            {"kind": "rename supernode", "supernode": "s2", "text": "word " * 40},
            {"kind": "move nodes", "nodes": [node], "to": "s2"},
        ):
            reviewer.act(act, why="because")
        window = open_window(fresh_site)
        page = window.page
        faults: list[str] = []
        for target in ("supernode:s2", "supernode:s3", "edge:s2>s1", "claim:c1"):
            page.goto("about:blank")
            page.goto(f"/reports/{case}#{target}")
            page.locator("#report[data-ready]").wait_for()
            page.locator("#inspector").get_by_role("heading").first.wait_for()
            faults += look(page, f"corrected {target}", axe_source)
        page.goto(f"/reports/{case}#supernode:s2")
        page.locator("#inspector").get_by_role("button", name=re.compile("^Split")).click()
        page.get_by_role("dialog").get_by_role("button", name="Split", exact=True).click()
        page.get_by_role("dialog").get_by_text("Tick at least one feature.").wait_for()
        faults += look(page, "split, refused", axe_source)
        page.keyboard.press("Escape")
        page.keyboard.press("H")
        page.get_by_role("dialog", name="History of this review").locator("li").first.wait_for()
        faults += look(page, "long history", axe_source)
        page.keyboard.press("Escape")
        intercept(page, "**/review/acts", lambda route: route.abort())
        window.allow("ERR_|Failed to load resource")
        page.keyboard.press("a")
        page.locator("#review-bar").get_by_role("button", name="Try now").wait_for()
        faults += look(page, "not saved", axe_source)
        page.unroute("**/review/acts")
        try_now(page)
        page.locator("#review-bar").get_by_text("All saved, version 8", exact=True).wait_for()
        reviewer.look()
        reviewer.act({"kind": "close", "status": "rejected"}, why="it cannot be put right")
        page.reload()
        page.locator("#review-bar").get_by_role("button", name="Reopen").wait_for()
        faults += look(page, "closed", axe_source)
    assert not faults, "\n".join(faults)


def test_axe_finds_nothing_between_reviewers(team: Team, open_window: OpenWindow, axe_source: str) -> None:
    site = team.site
    case = site.cases(Authorization=f"Bearer {team.tokens['ada']}")[0]["case_id"]
    for name, decision in (("rosa", "accepted"), ("rolf", "rejected")):
        with Reviewer(site.address, case, team.tokens[name]) as reviewer:
            reviewer.look()
            reviewer.act({"kind": "judge", "target": "supernode:s1", "decision": decision})
            theirs = reviewer.review_id
    window = open_window(site)
    window.allow(r"status of 4\d\d")
    page = window.page
    page.goto("/log-in")
    page.get_by_label(re.compile("token", re.IGNORECASE)).first.fill("no such token")
    page.get_by_role("button", name=re.compile("log in", re.IGNORECASE)).click()
    page.get_by_role("alert").get_by_text("Not logged in").wait_for()
    faults = look(page, "not logged in", axe_source)
    window.log_in(team.tokens["rosa"])
    page.goto(f"/reports/{case}?review={theirs}")
    page.locator("#report[data-ready]").wait_for()
    faults += look(page, "another's review", axe_source)
    page.keyboard.press("u")
    page.get_by_role("dialog", name="Undo what somebody else did?").wait_for()
    faults += look(page, "undo another's act", axe_source)
    page.keyboard.press("Escape")
    page.locator("#review-bar").get_by_role("button", name="Reviewers").click()
    page.get_by_role("dialog").get_by_text("kappa").first.wait_for()
    faults += look(page, "agreement", axe_source)
    page.goto("/audit")
    faults += look(page, "refused", axe_source)
    assert not faults, "\n".join(faults)
