"""Makes the pictures of docs/review.md anew: a real server over the demo's report, and the system's Chromium.

PYTHONPATH=. .venv/bin/python scripts/make_review_pictures.py [docs/images]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.browser.chromium import FLAGS, Window, find_chromium
from tests.browser.site import TRACESCRIBE, Site

PROMPTS = ("the capital of the state containing Dallas is", "the opposite of hot is")
SIZE = (1180, 860)


def main(folder: Path) -> None:
    """Make all pictures.

    Args:
        folder: where they go.
    """
    with tempfile.TemporaryDirectory() as made:
        site = Site(Path(made), _reports(Path(made)))
        try:
            site.start()
            cases = site.cases()
            case = next(row["case_id"] for row in cases if row["prompt"] == PROMPTS[0] and row["agent"] == "offline")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
                for picture in (_list, _report, _graph, _claim, _conflict):
                    window = Window(browser, site.address, *SIZE)
                    picture(window.page, case, folder)
                    window.close()
                browser.close()
        finally:
            site.stop()


def _reports(folder: Path) -> list[Path]:
    """Reports to show: two prompts, and one of them by another agent too."""
    found = [folder / "dallas", folder / "influence", folder / "opposite"]
    calls = (("offline", PROMPTS[0]), ("influence", PROMPTS[0]), ("offline", PROMPTS[1]))
    for out, (agent, prompt) in zip(found, calls, strict=True):
        words = ["interpret", "--prompt", prompt, "--agent", agent, "--out", str(out)]
        subprocess.run([*TRACESCRIBE, *words], check=True, capture_output=True, timeout=600)
    return found


def _open(page: Any, path: str) -> None:
    page.goto(path, wait_until="networkidle")
    if page.locator("#report").count():
        page.locator("#report[data-ready]").wait_for()
    page.wait_for_timeout(500)


def _list(page: Any, case: str, folder: Path) -> None:
    _open(page, "/reports")
    page.screenshot(path=folder / "review-reports.png", clip={"x": 0, "y": 0, "width": SIZE[0], "height": 640})


def _report(page: Any, case: str, folder: Path) -> None:
    _open(page, f"/reports/{case}#supernode:s2")
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=folder / "review-report.png")


def _graph(page: Any, case: str, folder: Path) -> None:
    _open(page, f"/reports/{case}?view=graph#node:2_55_8")
    page.evaluate("document.getElementById('circuit').scrollIntoView()")
    page.wait_for_timeout(300)
    page.screenshot(path=folder / "review-graph.png")


def _claim(page: Any, case: str, folder: Path) -> None:
    _open(page, f"/reports/{case}#claim:c1")
    page.locator('article[data-target="claim:c1"]').scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    page.locator('article[data-target="claim:c1"]').screenshot(path=folder / "review-claim.png")


def _conflict(page: Any, case: str, folder: Path) -> None:
    other = page.context.new_page()
    # this page hears nothing of the other one until it saves
    unchanged = json.dumps({"review_id": None, "version": 0})
    page.route("**/review/version*", lambda route: route.fulfill(content_type="application/json", body=unchanged))
    for one in (page, other):
        _open(one, f"/reports/{case}#supernode:s2")
    for one, label in ((other, "the state of Texas"), (page, "what is Texan")):
        one.locator("#inspector").get_by_role("button", name="Edit label").click()
        field = one.locator("#inspector").get_by_role("textbox").first
        field.fill(label)
        field.press("Enter")
        one.wait_for_timeout(800)
    page.get_by_role("dialog").wait_for()
    page.get_by_role("dialog").screenshot(path=folder / "review-conflict.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images"))
