"""States of the review app's pages that a person brings about: open fields and dialogs, answers that do not come, nothing to
show, everything unfolded, paper. Beside the scenes of `scenes.py`, they are for axe-core alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.browser.chromium import intercept, stand_still, told
from tests.browser.scenes import Scene

S2, TOKEN, FEATURE = "/reports/{case}#supernode:s2", "/reports/{case}#node:0_86_7", "/reports/{case}#feature:2/55"
GRAPH = "/reports/{case}?view=graph"
Prepare = Callable[[Any], None]


def refuse(page: Any, pattern: str, status: int = 503) -> None:
    """From now on the server does not do what addresses like this ask for, and says so."""
    body = {"error": "busy", "message": "The store is busy; try again in a minute."}
    intercept(page, pattern, lambda route: route.fulfill(status=status, json=body))


def _inspector(page: Any) -> Any:
    inspector = page.locator("#inspector")
    inspector.get_by_role("heading").first.wait_for()
    return inspector


def _press(*keys: str, shows: str = "") -> Prepare:
    """Keys, after which a dialog or, where a selector is given, that is there."""

    def prepare(page: Any) -> None:
        _inspector(page)
        for key in keys:
            page.keyboard.press(key)
        page.locator(shows or "dialog[open]").first.wait_for()

    return prepare


def _unfolded(page: Any) -> None:
    page.evaluate("() => document.querySelectorAll('main details').forEach(one => { one.open = true; })")


def _on_paper(page: Any) -> None:
    _unfolded(page)
    page.emulate_media(media="print")


def _moved_nowhere(page: Any) -> None:
    """The form of a single feature, refused as the new supernode has no label."""
    _press("m")(page)
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Move to").select_option("a new supernode")
    dialog.get_by_role("button", name="Move").click()
    dialog.get_by_text("Give the new supernode a label.").wait_for()


def _refused_dialog(key: str, button: str, says: str) -> Prepare:
    def prepare(page: Any) -> None:
        _press(key)(page)
        page.get_by_role("dialog").get_by_role("button", name=button, exact=True).click()
        page.get_by_role("dialog").get_by_text(says).wait_for()

    return prepare


def _tool(button: str, says: str, refused: str = "") -> Prepare:
    """A button of the review bar, and what its dialog says."""

    def prepare(page: Any) -> None:
        if refused:
            refuse(page, refused)
        page.locator("#review-bar").get_by_role("button", name=re.compile(f"^{button}")).click()
        page.get_by_role("dialog").get_by_text(says).first.wait_for()

    return prepare


def _gold_refused(page: Any) -> None:
    _tool("Save as", "Gold circuit")(page)
    page.locator('[data-export="gold"]').click()
    page.get_by_role("dialog").get_by_text("close it as accepted").wait_for()


def _told(key: str, says: str) -> Prepare:
    """A message at the edge of the page."""

    def prepare(page: Any) -> None:
        page.keyboard.press(key)
        told(page, says)

    return prepare


def _merging(page: Any) -> None:
    """One box dragged onto another."""
    stand_still(page)
    drawing = page.locator("#circuit-supernodes .drawing")
    boxes = [drawing.locator(f'.box[data-target="supernode:{one}"]').bounding_box() for one in ("s3", "s2")]
    page.mouse.move(boxes[0]["x"] + 30, boxes[0]["y"] + 10)
    page.mouse.down()
    page.mouse.move(boxes[1]["x"] + 20, boxes[1]["y"] + 12, steps=10)
    page.mouse.up()
    page.get_by_role("dialog", name="Merge two supernodes?").wait_for()


def _lost_inspector(page: Any) -> None:
    refuse(page, "**/features/*/*")
    page.evaluate("location.hash = 'feature:2/55'")
    page.locator("#inspector").get_by_role("button", name="Try again").wait_for()


def _loading_inspector(page: Any) -> None:
    intercept(page, "**/features/*/*", lambda route: None)  # never answered
    page.evaluate("location.hash = 'feature:2/55'")
    page.locator("#inspector .skeleton").first.wait_for()


def _live(page: Any) -> Any:
    live = page.locator("#live")
    live.get_by_role("button", name="Run").wait_for()
    return live


def _live_problem(page: Any) -> None:
    live = _live(page)
    live.get_by_label("swap in from another prompt").check()
    live.get_by_role("button", name="Run").click()
    live.get_by_text("Write the prompt").wait_for()


def _live_refused(page: Any) -> None:
    live = _live(page)
    refuse(page, "**/live")
    live.get_by_role("button", name="Run").click()
    live.locator(".live-status").get_by_text("The store is busy").wait_for()


def _live_running(page: Any) -> None:
    live = _live(page)
    intercept(page, "**/live", lambda route: None if route.request.method == "POST" else route.continue_())
    live.get_by_role("button", name="Run").click()
    live.locator(".live-status").get_by_text("Running").wait_for()


def _graph(page: Any) -> Any:
    canvas = page.locator("canvas.graph-canvas")
    canvas.wait_for()
    return canvas


def _graph_pinned(page: Any) -> None:
    _graph(page).focus()
    page.keyboard.press("p")
    page.get_by_role("button", name="Pinned only (1)").click()
    page.get_by_text("Nodes as a table").click()
    page.get_by_role("region", name="Nodes of the graph").wait_for()


def _graph_group(page: Any) -> None:
    _graph(page).focus()
    page.keyboard.press("p")
    page.get_by_role("button", name="Make a supernode…").click()
    page.get_by_role("dialog").get_by_role("button", name="Make it").click()
    page.get_by_role("dialog").get_by_text("Write something").wait_for()


def _graph_pointed_at(page: Any) -> None:
    canvas = _graph(page)
    page.wait_for_function("canvas => canvas.dataset.settled === 'true'", arg=canvas.element_handle())
    canvas.hover(position={name: float(canvas.get_attribute(f"data-selected-{name}")) for name in "xy"})
    page.locator(".graph-tooltip").wait_for()


def _nothing_found(page: Any) -> None:
    page.get_by_label("Find nodes", exact=False).fill("no node is called like this")
    page.get_by_text("Nodes as a table").click()
    page.get_by_text("found for").first.wait_for()


def _bring_in(page: Any) -> None:
    page.get_by_role("button", name="Bring in a report").click()
    dialog = page.get_by_role("dialog")
    broken = {"name": "report.json", "mimeType": "application/json", "buffer": b"{}"}
    dialog.get_by_label("report.json").set_input_files(broken)
    dialog.get_by_role("button", name="Bring in").click()
    dialog.get_by_role("alert").get_by_text(re.compile(r"\w")).wait_for()


def _chosen(page: Any) -> None:
    page.locator(".choose input").first.check()


def _job_cut_off(page: Any) -> None:
    page.locator("#job-cases").get_by_text("Show").wait_for()
    refuse(page, "**/cases?*")
    page.get_by_label("Show").select_option("failed")
    page.get_by_text("The store is busy").first.wait_for()


def _no_case(page: Any) -> None:
    page.get_by_label("Show").select_option("failed")
    page.get_by_text("No case stands so.").wait_for()


STATES: tuple[Scene, ...] = (
    Scene("report unfolded", "/reports/{case}", _unfolded),
    Scene("report on paper", "/reports/{case}", _on_paper),
    Scene("report filled", S2, _press("f", shows=".is-filled")),
    Scene("report with all features drawn", S2, _press("v", shows="#circuit-supernodes [data-node]")),
    Scene("gold unfolded", "/reports/{case}/gold", _unfolded),
    Scene("gold on paper", "/reports/{case}/gold", _on_paper),
    Scene("edge", "/reports/{case}#edge:s2>s1", lambda page: _inspector(page).get_by_text("direct effect").wait_for()),
    Scene("sentence", "/reports/{case}#sentence:1", lambda page: _inspector(page).wait_for()),
    Scene("token", GRAPH + "#node:E_163_7", lambda page: _inspector(page).get_by_text("Feeds").first.wait_for()),
    Scene("output", GRAPH + "#node:5_79_8", lambda page: _inspector(page).get_by_text("Fed by").first.wait_for()),
    Scene("inspector without an answer", "/reports/{case}", _lost_inspector),
    Scene("inspector that waits", "/reports/{case}", _loading_inspector),
    Scene("field of a label", S2, _press("e", shows="#inspector .review-field input")),
    Scene("field of a feature's label", FEATURE, _press("e", shows="#inspector .review-field input")),
    Scene("field of a comment", S2, _press("c", shows="#inspector .review-field textarea")),
    Scene("move one feature", TOKEN, _press("m")),
    Scene("move one feature, refused", TOKEN, _moved_nowhere),
    Scene("merge, refused", S2, _refused_dialog("M", "Merge", "Tick at least one supernode.")),
    Scene("merge by dragging", "/reports/{case}", _merging),
    Scene("empty history", "/reports/{case}", _tool("History", "Nothing was done yet")),
    Scene("reviewers without an answer", "/reports/{case}", _tool("Reviewers", "The store is busy", "**/agreement*")),
    Scene("gold of an open review", "/reports/{case}", _gold_refused),
    Scene("nothing selected", "/reports/{case}", _told("e", "Select something first")),
    Scene("nothing to undo", "/reports/{case}", _told("u", "There is nothing to undo.")),
    Scene("live without a prompt", S2, _live_problem),
    Scene("live refused", S2, _live_refused),
    Scene("live running", S2, _live_running),
    Scene("graph pinned, as a table", GRAPH + "#node:2_55_8", _graph_pinned),
    Scene("graph with a supernode without a label", GRAPH + "#node:2_55_8", _graph_group),
    Scene("graph pointed at", GRAPH + "#node:2_55_8", _graph_pointed_at),
    Scene("graph in which nothing is found", GRAPH, _nothing_found),
    Scene("reports with a filter that is none", "/reports?score_min=much&page=9&sort=colour"),
    Scene("reports beyond the last page", "/reports?page=900"),
    Scene("reports, one chosen", "/reports", _chosen),
    Scene("report that cannot be brought in", "/reports", _bring_in),
    Scene("compare one", "/compare?a={case}"),
    Scene("compare with nothing", "/compare?a={case}&b=job_none.0", status=422),
    Scene("jobs on paper", "/jobs", _on_paper),
    Scene("job without such a case", "/jobs/{job}", _no_case),
    Scene("job whose cases do not come", "/jobs/{job}", _job_cut_off),
    Scene("job on paper", "/jobs/{job}", _on_paper),
    Scene("no such job", "/jobs/none", status=404),
    Scene("leaderboard unfolded", "/leaderboard", _unfolded),
    Scene("audit unfolded", "/audit", _unfolded),
    Scene("audit without an entry", "/audit?subject=nothing"),
    Scene("audit of no day", "/audit?since=yesterdayish", status=422),
    Scene("API unfolded", "/api/docs", _unfolded),
)
"""Of a server with the demo's report, without log-in; nothing is saved by them."""

REFUSED_FROM_THE_START: tuple[tuple[str, str, str], ...] = (
    ("circuit", "/reports/{case}", "**/circuit"),
    ("review", "/reports/{case}", "**/review*"),
    ("graph", GRAPH, "**/graph"),
    ("live", "/reports/{case}", "**/live"),
)
"""Parts of a report whose data do not come: name, page, addresses."""

EMPTY: tuple[Scene, ...] = (
    Scene("no reports", "/reports"),
    Scene("no jobs", "/jobs"),
    Scene("no leaderboard", "/leaderboard"),
    Scene("nothing to compare", "/compare"),
    Scene("empty log", "/audit"),
)
"""Of a server whose store is empty."""
