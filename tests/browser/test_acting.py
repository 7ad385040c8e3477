"""Acting on a report in a real browser: what is dragged, typed and pressed is what the server has; files say the same."""

from __future__ import annotations

import re
import struct
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.browser.axe import axe_source, violations
from tests.browser.chromium import stand_still
from tests.browser.conftest import OpenWindow
from tests.browser.reviewer import Reviewer
from tests.browser.site import Site

__all__ = ["axe_source"]  # a fixture

HOSTILE = '</text><script>window.__xss=1</script><img src=x onerror="window.__xss=1">{{7*7}} \u202egnirts'


def opened(site: Site, open_window: OpenWindow, width: int = 1280) -> tuple[Any, Any]:
    """A window on the report of a site, ready, and the page in it."""
    window = open_window(site, width)
    window.page.goto(f"/reports/{site.cases()[0]['case_id']}")
    window.page.locator("#circuit-supernodes .drawing").wait_for()
    window.page.locator("#report[data-ready]").wait_for()
    return window, window.page


def saved(page: Any, version: int) -> None:
    """Wait until everything up to this version is saved."""
    page.locator("#review-bar").get_by_text(f"All saved, version {version}", exact=True).wait_for()


def look(site: Site) -> dict[str, Any]:
    """The review as the server has it."""
    with Reviewer(site.address, site.cases()[0]["case_id"]) as reviewer:
        return reviewer.look()


def groups(state: dict[str, Any]) -> dict[str, list[str]]:
    """Members by supernode, without those that are gone."""
    return {one["supernode_id"]: one["members"] for one in state["supernodes"] if not one["gone"]}


def drag(page: Any, source: str, target: str | tuple[float, float]) -> None:
    """Take one thing of the drawing and let go of it over another, or at a place in the drawing."""
    stand_still(page)  # what is measured here must still be there when the pointer comes
    circuit = page.locator("#circuit-supernodes .drawing")
    start = circuit.locator(source).bounding_box()
    if isinstance(target, str):
        box = circuit.locator(target).bounding_box()
        end = (box["x"] + 20, box["y"] + 12)
    else:
        whole = circuit.bounding_box()
        end = (whole["x"] + target[0], whole["y"] + target[1])
    page.mouse.move(start["x"] + 30, start["y"] + 10)
    page.mouse.down()
    page.mouse.move(*end, steps=10)
    page.mouse.up()


def test_features_and_supernodes_are_dragged_where_they_belong(fresh_site: Site, open_window: OpenWindow) -> None:
    _, page = opened(fresh_site, open_window)
    before = groups(look(fresh_site))
    (capital,), (texas,), (austin,) = before["s3"], before["s2"], before["s1"]

    page.keyboard.press("v")
    drag(page, f'[data-node="{capital}"]', '[data-target="supernode:s2"]')
    saved(page, 1)
    assert groups(look(fresh_site)) == {"s1": [austin], "s2": [texas, capital]}
    followed = {
        f"edge:{one['source']}>{one['destination']}" for one in look(fresh_site)["edges"] if one["origin"] == "graph"
    }
    drawn = page.locator(".link.changed").evaluate_all("all => all.map((one) => one.dataset.target)")
    assert followed, "the links of the merged features are the graph's"
    assert set(drawn) == followed

    # out onto empty ground: what becomes of it is asked
    drag(page, f'[data-node="{capital}"]', (300, 60))
    dialog = page.get_by_role("dialog", name=re.compile("Split"))
    dialog.get_by_label("Label of the new supernode").fill("capital city")
    dialog.get_by_role("button", name="Split").click()
    saved(page, 2)
    assert groups(look(fresh_site)) == {"s1": [austin], "s2": [texas], "n2": [capital]}
    page.locator('[data-target="supernode:n2"] text.label').get_by_text("capital city").wait_for()

    # onto another: merged, after a question that can be declined
    drag(page, '[data-target="supernode:n2"]', '[data-target="supernode:s1"]')
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    drag(page, '[data-target="supernode:n2"]', '[data-target="supernode:s1"]')
    page.get_by_role("dialog").get_by_role("button", name="Merge", exact=True).click()
    saved(page, 3)
    assert groups(look(fresh_site)) == {"s1": [austin, capital], "s2": [texas]}

    # undone to the beginning, and done again
    for version in (4, 5, 6):
        page.keyboard.press("u")
        saved(page, version)
    assert groups(look(fresh_site)) == before
    page.keyboard.press("Control+Shift+z")
    saved(page, 7)
    assert groups(look(fresh_site)) == {"s1": [austin], "s2": [texas, capital]}

    # where a box stands is this viewer's affair, and no act
    stand_still(page)
    place = page.locator('.box[data-target="supernode:s1"]').bounding_box()
    drag(page, '[data-target="supernode:s1"]', (300, 100))
    stand_still(page)
    moved = page.locator('.box[data-target="supernode:s1"]').bounding_box()
    assert abs(moved["x"] - place["x"]) > 50
    page.reload()
    page.locator("#report[data-ready]").wait_for()
    page.keyboard.press("v")
    stand_still(page)
    again = page.locator('.box[data-target="supernode:s1"]').bounding_box()
    assert abs(again["x"] - moved["x"]) < 30
    assert look(fresh_site)["version"] == 7


def test_every_correction_from_the_keyboard(fresh_site: Site, open_window: OpenWindow, axe_source: str) -> None:
    _, page = opened(fresh_site, open_window)
    before = groups(look(fresh_site))
    press = page.keyboard.press

    press("s")  # the first supernode
    press("a")
    saved(page, 1)
    press("r")
    saved(page, 2)
    press("o")
    saved(page, 3)
    press("e")
    page.keyboard.type("answer: Austin")
    press("Enter")
    saved(page, 4)
    press("c")
    page.keyboard.type("fires at the last token only")
    press("Control+Enter")
    saved(page, 5)
    press("m")  # its feature to the next supernode
    press("Enter")
    saved(page, 6)
    state = look(fresh_site)
    assert state["supernodes"][0]["label"] == "answer: Austin"
    assert state["supernodes"][0]["gone"] and len(groups(state)["s2"]) == 2
    assert [one["text"] for one in state["comments"]] == ["fires at the last token only"]

    press("Escape")
    press("s")
    press("x")  # split: the first feature ticked, a label, save
    page.get_by_role("dialog", name=re.compile("^Split")).wait_for()
    for colours in ("light", "dark"):
        page.emulate_media(color_scheme=colours)
        assert not violations(page, axe_source)
    press("Space")
    page.get_by_role("dialog").get_by_label("Label of the new supernode").focus()
    page.keyboard.type("half")
    press("Enter")
    saved(page, 7)
    press("M")  # and back: the first other one ticked
    page.get_by_role("dialog", name=re.compile("Merge into")).get_by_label(re.compile("half")).focus()
    press("Space")
    press("Enter")
    saved(page, 8)
    assert len(groups(look(fresh_site))["s2"]) == 2
    for version in range(9, 17):
        press("u")
        saved(page, version)
    state = look(fresh_site)
    assert groups(state) == before and not state["can_undo"]
    assert state["comments"] == [] and all(one["decision"] == "open" for one in state["supernodes"])

    press("Escape")
    press("n")
    page.wait_for_url("**#supernode:s1")
    press("H")
    history = page.get_by_role("dialog", name="History of this review")
    assert history.locator("li").count() == 16
    assert history.locator("li.undone").count() == 8
    press("Escape")
    press("?")
    sheet = page.get_by_role("dialog", name="Keys").inner_text()
    for words in ("Next supernode", "Accept", "Merge other supernodes", "Split features off", "Undo"):
        assert words in sheet


def test_what_people_write_is_text_everywhere(fresh_site: Site, open_window: OpenWindow) -> None:
    _, page = opened(fresh_site, open_window)
    page.locator('.box[data-target="supernode:s2"]').click()
    inspector = page.locator("#inspector")
    inspector.get_by_role("button", name=re.compile("^Edit label")).click()
    inspector.get_by_label(re.compile("^Label of")).fill(HOSTILE)
    page.keyboard.press("Enter")
    saved(page, 1)
    inspector.get_by_role("button", name=re.compile("^Comment")).click()
    inspector.get_by_label(re.compile("^Comment on")).fill(HOSTILE)
    page.keyboard.press("Escape")  # a slip, as it is in a dialog
    inspector.get_by_label(re.compile("^Comment on")).wait_for(state="detached")
    inspector.get_by_role("button", name=re.compile("^Comment")).click()
    assert inspector.get_by_label(re.compile("^Comment on")).input_value() == HOSTILE
    inspector.get_by_role("button", name="Save comment").click()
    saved(page, 2)
    inspector.locator(".comment-text").get_by_text("<script>").wait_for()
    shown = page.locator('.box[data-target="supernode:s2"]').get_attribute("aria-label")
    assert "<script>" in shown and "\u202e" not in shown and "U+202E" in shown
    page.keyboard.press("H")
    page.get_by_role("dialog").get_by_text("</text><script>").first.wait_for()
    page.reload()
    page.locator(".drawing").wait_for()
    assert page.evaluate("window.__xss") is None


def test_files_say_what_the_review_says(fresh_site: Site, open_window: OpenWindow, tmp_path: Path) -> None:
    from tracescribe.evals.gold import parse_gold

    window, page = opened(fresh_site, open_window)
    window.allow("409")  # gold of a review that is not closed is refused

    def save(form: str) -> bytes:
        with page.expect_download() as told:
            page.locator(f'[data-export="{form}"]').click()
        path = tmp_path / told.value.suggested_filename
        assert re.fullmatch(r"[a-z-]+[A-Za-z0-9.]+\.(json|html|svg|png)", path.name), path.name
        told.value.save_as(path)
        content: bytes = path.read_bytes()
        return content

    page.keyboard.press("s")
    page.keyboard.press("e")
    page.keyboard.type("says the capital")
    page.keyboard.press("Enter")
    saved(page, 1)
    page.get_by_role("button", name="Save as…").click()
    page.locator('[data-export="gold"]').click()
    page.get_by_role("dialog").get_by_text("close it as accepted").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Close review…").click()
    page.get_by_label(re.compile("^Why")).fill("checked against the live model")
    page.get_by_role("button", name="Accept the report").click()
    saved(page, 2)
    page.get_by_role("button", name="Save as…").click()

    (gold,) = parse_gold(save("gold").decode(), "gold.json").circuits
    assert "says the capital" in [one.label for one in gold.supernodes]
    assert b"says the capital" in save("neuronpedia")
    assert b"says the capital" in save("html")
    assert b"says the capital" not in save("report"), "the report is never altered"

    drawing = ET.fromstring(save("svg").decode())
    assert {one.tag.rpartition("}")[2] for one in drawing.iter()} <= {
        "svg",
        "g",
        "rect",
        "path",
        "text",
        "title",
        "circle",
    }
    assert not any(
        name.startswith("on") or name in ("class", "style", "href", "id")
        for one in drawing.iter()
        for name in one.attrib
    )
    assert "says the capital" in "".join(drawing.itertext())
    faded = [one for one in drawing.iter() if float(one.attrib.get("opacity", 1)) < 0.3]
    assert not faded, "a figure does not tell what was selected when it was saved"
    png = save("png")
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    assert width == pytest.approx(2 * float(drawing.attrib["width"]), abs=2)
    assert height == pytest.approx(2 * float(drawing.attrib["height"]), abs=2)
    assert look(fresh_site)["history"][-1]["why"] == "checked against the live model"
    trail = fresh_site.run("audit", "show", "--store", str(fresh_site.store), "--limit", "50")
    assert trail.count("export") >= 4
