"""The whole job as a reviewer has it: from the demo to gold that another agent is scored by."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.browser.conftest import OpenWindow
from tests.browser.site import Site

PROMPT = "the capital of the state containing Dallas is"
LABEL = "Texas, the state"


def _saved(page: Any, version: int) -> None:
    """Wait until the review bar says that this version is saved."""
    page.locator("#review-bar").get_by_text(f"All saved, version {version}").wait_for()


def test_from_the_demo_to_gold(fresh_site: Site, second_folder: Path, open_window: OpenWindow, tmp_path: Path) -> None:
    case = fresh_site.cases()[0]["case_id"]
    page = open_window(fresh_site).page

    # find the report
    page.goto("/")
    page.get_by_label("Search").first.fill("Dallas capital")
    page.get_by_role("button", name="Search").click()
    page.locator("#results:not([aria-busy])").wait_for()  # rows that give way to new ones cannot be clicked
    page.get_by_role("link", name=PROMPT).first.click()
    page.wait_for_url(f"**/reports/{case}*")
    page.locator("#report[data-ready]").wait_for()

    # open the circuit: supernodes first, the full graph one key away
    circuit, inspector = page.locator("#circuit-supernodes"), page.locator("#inspector")
    circuit.locator('[data-target="supernode:s2"]').first.wait_for()
    page.keyboard.press("g")
    page.locator("#circuit-graph canvas").first.wait_for()
    page.keyboard.press("g")

    # inspect a supernode, and a feature of it with the texts in which it fires
    circuit.locator('[data-target="supernode:s2"]').first.click()
    inspector.get_by_role("heading", name=re.compile("Texas")).wait_for()
    inspector.locator('a[href="#node:0_86_7"], a[href="#feature:0/86"]').first.click()
    inspector.get_by_role("link", name="this feature in all texts").click()
    inspector.locator("mark").first.wait_for()
    assert "Dallas" in inspector.inner_text()
    assert inspector.locator("mark").count() > 0, "texts are shaded by activation"

    # a live ablation
    page.goto(f"/reports/{case}#supernode:s2")
    inspector.locator(".kicker", has_text="Supernode").wait_for()
    live = page.locator("#live")
    live.get_by_label("switch off (ablate)").check()
    live.get_by_role("button", name="Run").click()
    result = live.locator(".live-result-line").first
    result.wait_for(timeout=120_000)
    before, after = re.findall(r"([<>]?[\d.]+)\s?%", result.inner_text())[:2]
    assert float(before.strip("<>")) > 99, result.inner_text()
    assert float(after.strip("<>")) < 50, result.inner_text()

    # correct a label
    inspector.get_by_role("button", name=re.compile("Edit label")).click()
    field = inspector.get_by_role("textbox").first
    field.fill(LABEL)
    field.press("Enter")
    _saved(page, 1)
    circuit.locator('[data-target="supernode:s2"]').filter(has_text="Texas, the").first.wait_for()

    # correct the grouping: one supernode into another, by hand
    target = circuit.locator('.box[data-target="supernode:s2"]')
    target.scroll_into_view_if_needed()
    box = circuit.locator('.box[data-target="supernode:s3"]')
    box.drag_to(target, source_position={"x": 30, "y": 12}, target_position={"x": 40, "y": 20})
    page.get_by_role("dialog").get_by_role("button", name="Merge").click()
    _saved(page, 2)

    # accept one supernode, reject none, and the report as a whole
    page.goto(f"/reports/{case}#supernode:s2")
    inspector.get_by_role("button", name=re.compile("^Accept")).click()
    _saved(page, 3)
    bar = page.locator("#review-bar")
    bar.get_by_role("button", name=re.compile("Close review")).click()
    page.get_by_role("dialog").get_by_role("textbox").fill("the texts of 0/86 are Texan cities")
    page.get_by_role("dialog").get_by_role("button", name="Accept the report").click()
    _saved(page, 4)

    # export gold, and score another agent's report against it
    bar.get_by_role("button", name="Save as").click()
    with page.expect_download() as caught:
        page.get_by_role("button", name="Save: Gold circuit").click()
    gold = tmp_path / "gold.json"
    caught.value.save_as(gold)
    document = json.loads(gold.read_text(encoding="utf-8"))
    groups = {supernode["label"]: supernode for supernode in document["supernodes"]}
    assert LABEL in groups
    assert len(groups[LABEL]["members"]) == 2
    own = _scores(fresh_site, fresh_site.reports[0], gold)
    other = _scores(fresh_site, second_folder, gold)
    assert own and other
    assert own != other

    # the audit trail has it, and is whole
    page.goto("/audit")
    page.get_by_label("Act").select_option("human review")
    page.get_by_role("button", name="Find").click()
    page.wait_for_url("**act=human*")
    assert page.get_by_role("row").filter(has_text="human review").count() == 4
    page.get_by_role("button", name="Verify now").click()
    page.locator("#verification").get_by_text("whole").wait_for()
    fresh_site.run("audit", "verify", "--store", str(fresh_site.store))
    shown = fresh_site.run(
        "audit", "show", "--act", "human review", "--limit", "0", "--json", "--store", str(fresh_site.store)
    )
    assert len(json.loads(shown)) == 4

    # the list says so
    page.goto("/reports?status=accepted")
    page.get_by_role("link", name=PROMPT).first.wait_for()


def _scores(site: Site, report: Path, gold: Path) -> dict[str, Any]:
    """Scores of a report against gold, by the command line."""
    told: dict[str, Any] = json.loads(site.run("score", str(report), str(gold), "--json"))
    found: dict[str, Any] = told["values"]
    return found
