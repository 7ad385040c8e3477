"""The full attribution graph in a real browser: what is drawn is what the server has, and what is clicked is what is there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.browser.axe import axe_source, violations
from tests.browser.chromium import intercept, told
from tests.browser.conftest import OpenWindow
from tests.browser.reviewer import Reviewer
from tests.browser.site import PATIENCE, Site
from tracescribe.runs.benchmarks.large_graph import large_graph
from tracescribe.runs.benchmarks.review_site import large_report_folder

N_NODES, N_EDGES = 5_000, 100_000
CANVAS = "canvas.graph-canvas"

__all__ = ["axe_source"]  # a fixture


@pytest.fixture(scope="module")
def large_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A report of a graph of 5,000 nodes and 100,000 edges."""
    folder: Path = tmp_path_factory.mktemp("large")
    large_report_folder(folder / "report", large_graph(N_NODES, N_EDGES))
    (folder / "site").mkdir()
    site = Site(folder / "site", [folder / "report"])
    try:
        site.start()
        yield site
    finally:
        site.stop()


def graph_of(page: Any, view: str = "?view=graph", extra: str = "") -> Any:
    """Open the first report's graph; its canvas, once every edge is drawn and nothing else comes that could move it."""
    case = page.request.get("/api/reports").json()["reports"][0]["case_id"]
    page.goto(f"/reports/{case}{view}{extra}")
    page.locator("#report[data-ready]").wait_for()
    canvas = page.locator(CANVAS)
    canvas.wait_for()
    settle(canvas)
    canvas.scroll_into_view_if_needed()
    return canvas


def settle(canvas: Any) -> None:
    """Wait until no movement is on its way and all that was asked for is drawn: the canvas says so from the act on."""
    canvas.page.wait_for_function("canvas => canvas.dataset.settled === 'true'", arg=canvas.element_handle())


@contextmanager
def scrolling(page: Any) -> Iterator[None]:
    """What is done in here scrolls the page, and is over once the page has come to rest."""
    page.evaluate(
        """() => {
          window.__rested = false;
          addEventListener('scrollend', () => { window.__rested = true; }, {once: true});
        }"""
    )
    yield
    page.wait_for_function("() => window.__rested")


def selected(canvas: Any, expected: str | None = None) -> str:
    """Id of the selected node; waits for an expected one."""
    end, found = time.monotonic() + PATIENCE, ""
    while time.monotonic() < end:
        found = str(canvas.get_attribute("data-selected") or "")
        if expected is None or found == expected:
            return found
        canvas.page.wait_for_timeout(30)
    return found


def click_at_selected(canvas: Any, **options: Any) -> None:
    """Click where the canvas says that the selected node is."""
    x, y = (float(canvas.get_attribute(f"data-selected-{axis}")) for axis in "xy")
    canvas.click(position={"x": x, "y": y}, **options)


def shades(canvas: Any) -> int:
    """How many colours the canvas shows."""
    return int(
        canvas.evaluate(
            "c => new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size"
        )
    )


def test_all_of_a_large_graph_is_drawn(large_site: Site, open_window: OpenWindow) -> None:
    page = open_window(large_site).page
    canvas = graph_of(page)
    assert canvas.get_attribute("data-nodes") == str(N_NODES)
    assert canvas.get_attribute("data-edges") == str(N_EDGES)
    assert shades(canvas) > 200, "thousands of faint lines over one another have many shades"
    page.get_by_text("5,000 of 5,000 nodes").wait_for()


def test_what_is_clicked_after_zooming_is_what_is_there(large_site: Site, open_window: OpenWindow) -> None:
    page = open_window(large_site).page
    canvas = graph_of(page)
    graph = large_graph(N_NODES, N_EDGES)
    for node_id in (graph.node_ids[17], graph.node_ids[2_900], graph.node_ids[-1], "E_20_20"):
        page.evaluate("id => { location.hash = 'node:' + id }", node_id)
        assert selected(canvas, node_id) == node_id
        search = page.get_by_label("Find nodes", exact=False)
        search.fill(node_id)
        search.press("Enter")  # goes there, closely enough to tell neighbours apart
        settle(canvas)
        page.evaluate("location.hash = ''")
        assert selected(canvas, "") == ""
        click_at_selected(canvas)
        assert selected(canvas, node_id) == node_id
        assert page.url.endswith(f"#node:{node_id}")
        search.fill("")


def test_dragging_and_the_wheel_move_the_graph_and_not_the_choice(large_site: Site, open_window: OpenWindow) -> None:
    page = open_window(large_site).page
    canvas = graph_of(page, extra="#node:E_3_3")
    assert selected(canvas) == "E_3_3"
    before = float(canvas.get_attribute("data-selected-x"))
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 400, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 460, box["y"] + 190, steps=6)
    page.mouse.up()
    settle(canvas)
    assert float(canvas.get_attribute("data-selected-x")) - before == pytest.approx(60, abs=8)
    assert selected(canvas) == "E_3_3"
    scale = float(canvas.get_attribute("data-scale"))
    canvas.blur()
    top = page.evaluate("scrollY")
    with scrolling(page):
        page.mouse.wheel(0, -200)
    settle(canvas)
    assert page.evaluate("scrollY") < top, "without the focus the wheel is the page's"
    assert float(canvas.get_attribute("data-scale")) == scale
    canvas.focus()
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 400, box["y"] + 200)
    page.mouse.wheel(0, -200)
    page.wait_for_function(
        "([canvas, scale]) => Number(canvas.dataset.scale) > scale", arg=[canvas.element_handle(), scale]
    )
    settle(canvas)
    assert canvas.get_attribute("data-edges") == str(N_EDGES)


def test_sliders_hide_the_weak_and_say_how_many(large_site: Site, open_window: OpenWindow) -> None:
    page = open_window(large_site).page
    canvas = graph_of(page)
    page.get_by_label("Edges", exact=True).fill("60")
    settle(canvas)
    drawn = int(canvas.get_attribute("data-edges"))
    assert drawn == 1_000, "ten to the power of 60 % of five"
    page.get_by_text("99,000 weak edges of 100,000 hidden").wait_for()
    page.get_by_label("Influence kept").fill("20")
    settle(canvas)
    assert int(canvas.get_attribute("data-edges")) < drawn
    graph = large_graph(N_NODES, N_EDGES)
    influence = graph.nodes.influence.astype("float64")  # as the page compares
    assert canvas.get_attribute("data-nodes") == str(int((~(influence > 0.2)).sum()))


def test_pinned_nodes_stand_alone_and_outlive_a_reload(demo_site: Site, open_window: OpenWindow) -> None:
    page = open_window(demo_site).page
    canvas = graph_of(page, extra="#node:2_55_8")
    click_at_selected(canvas, modifiers=["Control"])
    page.get_by_role("button", name="Pinned only (1)").wait_for()
    assert page.url.endswith("#node:2_55_8"), "pinning selects nothing else"
    canvas.focus()
    page.keyboard.press("[")
    assert selected(canvas, "0_86_7") == "0_86_7", "the strongest edge into it"
    page.keyboard.press("p")
    page.get_by_role("button", name="Pinned only (2)").click()
    settle(canvas)
    assert (canvas.get_attribute("data-nodes"), canvas.get_attribute("data-edges")) == ("2", "1")
    page.reload()
    page.locator("#report[data-ready]").wait_for()
    settle(canvas)
    page.get_by_role("button", name="Pinned only (2)").wait_for()
    page.get_by_role("button", name="Unpin all").click()
    assert page.get_by_role("button", name="Pinned only").is_disabled()


def test_keys_walk_the_graph_and_say_where_they_are(demo_site: Site, open_window: OpenWindow) -> None:
    page = open_window(demo_site).page
    canvas = graph_of(page)
    canvas.focus()
    page.keyboard.press("ArrowDown")
    assert selected(canvas, "5_79_8") == "5_79_8", "the first key chooses the answer"
    said = page.locator(".graph-hint")
    assert "Austin" in said.inner_text()
    assert "probability >99.9 %" in said.inner_text()
    page.keyboard.press("[")
    assert selected(canvas, "2_55_8") == "2_55_8"
    page.keyboard.press("ArrowLeft")
    assert selected(canvas) != "2_55_8"
    page.keyboard.press("]")
    page.go_back()
    page.go_back()
    assert selected(canvas, "2_55_8") == "2_55_8", "the browser's own back walks back"


def test_the_table_has_the_same_nodes_and_the_same_choice(demo_site: Site, open_window: OpenWindow) -> None:
    page = open_window(demo_site).page
    canvas = graph_of(page)
    page.get_by_text("Nodes as a table").click()
    table = page.get_by_role("region", name="Nodes of the graph")
    page.get_by_text("49 nodes.").wait_for()
    page.get_by_label("Find nodes", exact=False).fill("feature dallas")
    page.get_by_text("found for").wait_for()
    page.get_by_label("Find nodes", exact=False).fill("2/55")
    page.get_by_text("1 node found for").wait_for()
    table.get_by_role("button", name="say Austin", exact=True).click()
    assert selected(canvas, "2_55_8") == "2_55_8"
    assert page.url.endswith("#node:2_55_8")
    assert table.get_by_role("button", name="say Austin", exact=True).get_attribute("aria-pressed") == "true"
    assert page.evaluate("document.activeElement.textContent") == "say Austin", "the focus stays where it was"


def test_a_graph_that_cannot_be_had_is_told_in_its_place(demo_site: Site, open_window: OpenWindow) -> None:
    window = open_window(demo_site)
    window.allow("503|Failed to load resource")
    page = window.page
    intercept(
        page,
        "**/graph",
        lambda route: route.fulfill(status=503, json={"error": "busy", "message": "The store is busy."}),
    )
    case = page.request.get("/api/reports").json()["reports"][0]["case_id"]
    page.goto(f"/reports/{case}?view=graph")
    page.locator("#circuit-graph").get_by_text("The store is busy.").wait_for()
    page.unroute("**/graph")
    page.get_by_role("button", name="Try again").click()
    settle(page.locator(CANVAS))


def test_a_change_behind_the_dialog_of_a_supernode_is_a_conflict(
    fresh_site: Site, open_window: OpenWindow, axe_source: str
) -> None:
    case = fresh_site.cases()[0]["case_id"]
    window = open_window(fresh_site)
    window.allow("status of 409")
    page = window.page
    page.goto(f"/reports/{case}")
    page.evaluate(f"sessionStorage.setItem('tracescribe-pins:{case}', '[\"2_55_8\"]')")
    page.goto(f"/reports/{case}?view=graph")
    page.locator("#report[data-ready]").wait_for()
    page.get_by_role("button", name="Make a supernode…").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("what leads to Austin")
    assert not violations(page, axe_source)
    with Reviewer(fresh_site.address, case) as elsewhere:
        elsewhere.act({"kind": "rename supernode", "supernode": "s2", "text": "the state of Texas"})
        told(page, "your view is up to date")
        page.get_by_role("button", name="Make it").click()
        page.get_by_role("dialog").get_by_role("button", name="Keep those, drop these").click()
        page.get_by_role("dialog").wait_for(state="detached")
        assert elsewhere.look()["version"] == 1, "made only by who has seen what was changed"
    page.get_by_role("button", name="Make a supernode…").click()
    assert page.get_by_role("dialog").get_by_role("textbox").input_value() == "what leads to Austin"
