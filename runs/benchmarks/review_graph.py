"""The page of a large graph in a real browser: first paint, and frames per second while it is moved, as the browser's
own tracing has them."""

# Playwright is an extra: the type check runs without it too
# pyright: reportMissingImports=false

from __future__ import annotations

import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracescribe.runs.benchmarks.figures import Figure, FigureBench
from tracescribe.runs.benchmarks.large_graph import large_graph
from tracescribe.runs.benchmarks.limits import Limit, missed_limits
from tracescribe.runs.benchmarks.machine import describe_machine
from tracescribe.runs.benchmarks.review_site import large_report_folder, serving
from tracescribe.tracer.errors import InputError, WorkError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, CDPSession, Page

BROWSER_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
    "--no-first-run",
)
"""Headless and without a graphics card, as continuous integration runs it."""
WIDTH, HEIGHT = 1280, 900
_CATEGORIES = ["benchmark", "cc", "disabled-by-default-devtools.timeline.frame"]
_REST_MS = 1500
_COUNT = (
    "window.benchFrames = 0; window.benchGo = true;"
    "(function next() { window.benchFrames++; if (window.benchGo) requestAnimationFrame(next) })()"
)
_PATIENCE_SECONDS = 60.0
PAINT_MS, FRAMES_PER_SECOND = 2000.0, 30.0
"""First paint of a graph of 5,000 nodes and 100,000 edges stays below the one, its movement does not fall below the other."""
Progress = Callable[[str, int, int, str], None]
_Row = tuple[dict[str, Figure], Limit | None]
ACTS = ("drag", "zoom")
"""A mouse that drags sideways and back, and a wheel that zooms in and out."""
_DRAG_PIXELS, _DRAG_STEPS = 250, 60
_WHEEL = {"xDistance": 0, "speed": 300, "gestureSourceType": "mouse", "preventFling": True}
_WHEEL_PIXELS = 300


@dataclass(frozen=True)
class Frames:
    """Frames while something was done.

    Attributes:
        per_second: presented with news from the page, as the browser traced them.
        late_ms: 95th percentile of the time between two of them.
        script_per_second: calls of `requestAnimationFrame`, counted in the page, as a cross-check.
    """

    per_second: float
    late_ms: float
    script_per_second: float


def bench_review_graph(
    nodes: int = 5_000,
    edges: int = 100_000,
    *,
    repeats: int = 3,
    gestures: int = 6,
    paint_ms: float = PAINT_MS,
    frames_per_second: float = FRAMES_PER_SECOND,
    chromium: Path = Path("/usr/bin/chromium"),
    progress: Progress | None = None,
) -> FigureBench:
    """Serve a report of a large graph and look at it with Chromium.

    Args:
        nodes, edges: of the graph.
        repeats: loads of the page; the first is told on its own, since the server reads the graph then.
        gestures: of each kind, about a second each.
        paint_ms: what every first paint has to stay below.
        frames_per_second: the least that the browser has to present while the graph is moved.
        chromium: the browser.

    Raises:
        InputError: no browser, or Playwright is not installed.
        WorkError: the page did not come up.
    """
    if not chromium.is_file():
        raise InputError(
            f"there is no browser at {chromium}; install Debian's chromium, or give another with --chromium"
        )
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise InputError("Playwright is not installed; 'pip install tracescribe[browser]' brings it") from None
    tell = progress or (lambda *_: None)
    rows: list[_Row] = []
    paint = Limit("value", "ms", below=paint_ms)
    frames = Limit("value", "frames per second", least=frames_per_second)
    with tempfile.TemporaryDirectory(prefix="tracescribe-bench-") as name:
        folder = Path(name)
        tell("report of a large graph", 0, 1, "")
        large_report_folder(folder / "report", large_graph(nodes, edges))
        with serving([folder / "report"], folder / "store") as site, sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=str(chromium), args=list(BROWSER_FLAGS))
            try:
                rows += _loads(browser, site.report_address(), repeats, paint)
                page = _opened(browser, site.report_address())
                for number, act in enumerate(ACTS):
                    tell("frames", number, len(ACTS), act)
                    found = _frames(browser, page, act, gestures)
                    rows.append(_row(f"frames per second, {act}", found.per_second, found.late_ms, frames))
                    rows.append(
                        _row(f"frames per second, {act}, by the page's own count", found.script_per_second, None)
                    )
                rows += [_row("edges drawn", float(_data(page, "edges") or 0), None)]
            finally:
                browser.close()
    return FigureBench(
        bench="review graph",
        settings={
            "nodes": nodes,
            "edges": edges,
            "repeats": repeats,
            "gestures": gestures,
            "paint_ms": paint_ms,
            "frames_per_second": frames_per_second,
            "window": [WIDTH, HEIGHT],
        },
        machine=describe_machine(1),
        clock="wall",
        rows=tuple(row for row, _ in rows),
        missed=missed_limits(rows, "what"),
        notes=(
            "First paint: from the beginning of the navigation to the first frame with nodes and the strongest edges.",
            "Frames: those that Chromium presented with news from the page (PipelineReporter in its trace).",
            "late_ms: the 95th percentile of the time between two such frames.",
        ),
    )


def _loads(browser: Browser, address: str, repeats: int, paint: Limit) -> Iterator[_Row]:
    found = [_load(browser, address) for _ in range(repeats + 1)]
    yield _row("first paint, first visit, ms", found[0][0], None, paint)
    yield _row("first paint, median, ms", statistics.median(first for first, _ in found[1:]), None)
    yield _row("first paint, worst, ms", max(first for first, _ in found[1:]), None, paint)
    yield _row("all edges drawn, median, ms", statistics.median(whole for _, whole in found[1:]), None)


def _load(browser: Browser, address: str) -> tuple[float, float]:
    """Milliseconds to the first paint, and to the last edge; with an empty profile."""
    page = _opened(browser, address)
    marks = page.evaluate("performance.getEntriesByType('mark').map(mark => [mark.name, mark.startTime])")
    page.context.close()
    by_name = {str(name): float(at) for name, at in reversed(marks)}
    return by_name["graph-first-paint"], by_name["graph-settled"]


def _opened(browser: Browser, address: str) -> Page:
    page = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}).new_page()
    page.goto(address)
    page.locator("canvas.graph-canvas").wait_for(timeout=_PATIENCE_SECONDS * 1000)
    end = time.monotonic() + _PATIENCE_SECONDS
    while _data(page, "settled") != "true":
        if time.monotonic() > end:
            raise WorkError(f"the graph at {address} was not drawn in {_PATIENCE_SECONDS:g} s; look at it in a browser")
        page.wait_for_timeout(50)
    return page


def _data(page: Page, name: str) -> str | None:
    told: str | None = page.locator("canvas.graph-canvas").get_attribute(f"data-{name}")
    return told


def _frames(browser: Browser, page: Page, act: str, times: int) -> Frames:
    canvas = page.locator("canvas.graph-canvas")
    canvas.scroll_into_view_if_needed()
    canvas.focus()  # the wheel zooms then
    box = canvas.bounding_box()
    if box is None:
        raise WorkError("the graph has no place on its page; look at it in a browser")
    middle = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 3}
    page.wait_for_timeout(_REST_MS)
    driver, tracer = page.context.new_cdp_session(page), browser.new_browser_cdp_session()
    with _traced(page, tracer) as events:
        page.evaluate(_COUNT)
        begun = time.monotonic()
        for number in range(times):
            sign = 1 if number % 2 else -1
            if act == "zoom":
                driver.send("Input.synthesizeScrollGesture", {**middle, **_WHEEL, "yDistance": sign * _WHEEL_PIXELS})
                continue
            page.mouse.move(middle["x"], middle["y"])
            page.mouse.down()
            # each move is answered once the page has had it, at the rate of its frames
            page.mouse.move(middle["x"] + sign * _DRAG_PIXELS, middle["y"], steps=_DRAG_STEPS)
            page.mouse.up()
        took = time.monotonic() - begun
        counted = int(page.evaluate("window.benchGo = false, window.benchFrames"))
    tracer.detach()
    driver.detach()
    presented = presented_frames(events)
    gaps = sorted(after - before for before, after in itertools.pairwise(presented))
    late = gaps[int(0.95 * (len(gaps) - 1))] if gaps else float("inf")
    return Frames(len(presented) / took, late, counted / took)


@contextmanager
def _traced(page: Page, session: CDPSession) -> Iterator[list[dict[str, Any]]]:
    """The browser's trace events of the time within; they are all there once it is over."""
    events: list[dict[str, Any]] = []
    over: list[bool] = []
    session.on("Tracing.dataCollected", lambda part: events.extend(part["value"]))
    session.on("Tracing.tracingComplete", lambda _: over.append(True))
    config = {"includedCategories": _CATEGORIES, "excludedCategories": ["*"]}
    session.send("Tracing.start", {"transferMode": "ReportEvents", "traceConfig": config})
    yield events
    session.send("Tracing.end")
    end = time.monotonic() + _PATIENCE_SECONDS
    while not over and time.monotonic() < end:
        page.wait_for_timeout(20)


def presented_frames(events: list[dict[str, Any]]) -> list[float]:
    """Times, in milliseconds, at which frames with news from the page's main thread were presented, ascending.

    Args:
        events: of a trace with the category `cc`: a frame is a pair of `PipelineReporter` events with one id.
    """
    states: dict[str, str] = {}
    found: list[float] = []
    for event in events:
        if event.get("name") != "PipelineReporter":
            continue
        key = json.dumps([event.get("pid"), event.get("id2") or event.get("id")])
        told = event.get("args", {})
        reporter = told.get("frame_reporter") or told.get("chrome_frame_reporter")  # the older name
        if reporter:
            states[key] = str(reporter.get("state"))
        # ids are used again, so that each end belongs to the last beginning
        if event.get("ph") == "e" and states.pop(key, "") == "STATE_PRESENTED_ALL":
            found.append(float(event["ts"]) / 1000)
    return sorted(found)


def _row(what: str, value: float, late_ms: float | None, limit: Limit | None = None) -> _Row:
    told: dict[str, Figure] = {
        "what": what,
        "value": round(value, 1),
        "late_ms": None if late_ms is None else round(late_ms, 1),
        "limit": limit.told if limit else "",
    }
    return told, limit
