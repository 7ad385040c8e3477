"""The full attribution graph under fingers: a phone's page scrolls past it, and all that a mouse does there is done."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import OpenWindow
from tests.browser.site import Site
from tests.browser.test_full_graph import graph_of, scrolling, selected, settle

STEPS = 10
Point = tuple[float, float]


class Fingers:
    """Fingers on the canvas of a page, as the browser's own driver puts them there."""

    def __init__(self, canvas: Any) -> None:
        self._canvas = canvas
        self._driver = canvas.page.context.new_cdp_session(canvas.page)

    def middle(self) -> Point:
        """A point of the canvas far from its edges."""
        box = self._canvas.bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 3

    def slide(self, *ways: tuple[Point, Point]) -> None:
        """Put down a finger at the first point of each way, move all of them along, and lift them."""
        self._touch("touchStart", [start for start, _ in ways])
        for step in range(1, STEPS + 1):
            part = step / STEPS
            moved = [(x + (to_x - x) * part, y + (to_y - y) * part) for (x, y), (to_x, to_y) in ways]
            self._touch("touchMove", moved)
        self._touch("touchEnd", [])

    def _touch(self, kind: str, points: list[Point]) -> None:
        told = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        self._driver.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": told})


def _place(canvas: Any) -> Point:
    """Where the selected node is on the canvas."""
    settle(canvas)
    return float(canvas.get_attribute("data-selected-x")), float(canvas.get_attribute("data-selected-y"))


@pytest.mark.parametrize("phone", [True, False], ids=["phone", "desk with a touch screen"])
def test_fingers_move_the_page_and_the_graph(phone: bool, demo_site: Site, open_window: OpenWindow) -> None:
    options = {"is_mobile": True, "device_scale_factor": 2} if phone else {}
    page = open_window(demo_site, 390 if phone else 1280, 844, has_touch=True, **options).page
    canvas = graph_of(page)
    if phone:
        page.get_by_text("One finger moves the graph sideways and the page up and down").wait_for()
    page.evaluate("location.hash = 'node:2_55_8'")
    assert selected(canvas, "2_55_8") == "2_55_8"
    # the phone's sheet lies over half of it
    page.evaluate("document.getElementById('inspector').style.display = 'none'")
    canvas.scroll_into_view_if_needed()
    fingers = Fingers(canvas)

    # one finger up or down: the page scrolls past the graph, which stays as it is
    before, top = _place(canvas), page.evaluate("scrollY")
    x, y = fingers.middle()
    with scrolling(page):
        fingers.slide(((x, y), (x, y - 120)))
    below = page.evaluate("scrollY")
    assert below > top
    assert _place(canvas) == before

    # one finger sideways: the graph moves, the page does not, and nothing else is selected
    x, y = fingers.middle()
    fingers.slide(((x, y), (x + 90, y)))
    after = _place(canvas)
    assert after[0] - before[0] == pytest.approx(90, abs=25), (
        "less the way after which a finger counts as moving, if that"
    )
    assert page.evaluate("scrollY") == below
    assert selected(canvas) == "2_55_8"

    # two fingers apart: nearer; together and along: the graph moves in any direction
    scale = float(canvas.get_attribute("data-scale"))
    x, y = fingers.middle()
    fingers.slide(((x - 30, y), (x - 90, y)), ((x + 30, y), (x + 90, y)))
    _place(canvas)
    nearer = float(canvas.get_attribute("data-scale"))
    assert nearer / scale == pytest.approx(3, rel=0.25)
    before = _place(canvas)
    fingers.slide(((x - 30, y), (x - 30, y + 80)), ((x + 30, y), (x + 30, y + 80)))
    after = _place(canvas)
    assert after[1] - before[1] == pytest.approx(80, abs=25)
    assert float(canvas.get_attribute("data-scale")) == pytest.approx(nearer, rel=0.05)
    assert page.evaluate("scrollY") == below
    assert page.evaluate("visualViewport.scale") == 1, "the fingers are the graph's, not the browser's"


def test_a_node_is_tapped(demo_site: Site, open_window: OpenWindow) -> None:
    page = open_window(demo_site, 390, 844, has_touch=True, is_mobile=True).page
    canvas = graph_of(page)
    search = page.get_by_label("Find nodes", exact=False)
    search.fill("2/55")
    search.press("Enter")
    assert selected(canvas, "2_55_8") == "2_55_8"
    x, y = _place(canvas)
    page.evaluate("location.hash = ''")
    assert selected(canvas, "") == ""
    canvas.tap(position={"x": x, "y": y})
    assert selected(canvas, "2_55_8") == "2_55_8"
    page.locator("#inspector").get_by_role("heading", name="say Austin").wait_for()
