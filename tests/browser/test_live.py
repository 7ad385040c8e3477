"""The live panel against a real server with the real weights: what it shows is what the command line computes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.browser.axe import axe_source, violations
from tests.browser.chromium import Window
from tests.browser.site import PATIENCE, Site

__all__ = ["axe_source"]  # a fixture
OpenWindow = Callable[..., Window]
STOWE = "the capital of the state containing Stowe is"


def open_panel(window: Window, case: str, target: str = "#supernode:s2", query: str = "") -> Any:
    """The panel on a report's page."""
    window.page.goto(f"/reports/{case}{query}{target}")
    live = window.page.locator("#live")
    live.get_by_role("button", name="Run").wait_for()
    return live


def run(live: Any) -> Any:
    """Press the button; the newest result once it is there."""
    before = live.locator(".live-result").count()
    live.get_by_role("button", name="Run").click()
    live.locator(".live-result").nth(before).wait_for(timeout=120_000)
    return live.locator(".live-result").first


def shown_as_percent(probability: float) -> str:
    """As the panel writes it."""
    value = 100 * probability
    if 99.95 <= value < 100:
        return "> 99.999 %" if value >= 99.9995 else f"{value:.3f} %"
    if value >= 10:
        return f"{value:.1f} %"
    return f"{float(f'{value:.2g}'):.6f}".rstrip("0").rstrip(".") + " %" if value >= 0.001 else "< 0.001 %"


def test_an_ablation_shows_the_numbers_of_the_command_that_it_names(
    demo_site: Site, open_window: OpenWindow, axe_source: str
) -> None:
    window = open_window(demo_site)
    case = demo_site.cases()[0]["case_id"]
    live = open_panel(window, case)
    live.get_by_label("dose curve").check()
    result = run(live)
    command = result.locator(".live-command").text_content()
    program, *words = shlex.split(command)
    assert program == "tracescribe" and words[:2] == ["intervene", "--prompt"]
    told = json.loads(demo_site.run(*words, "--json"))
    rows = result.locator(".live-tokens tbody tr")
    assert rows.count() == len(told["tokens"]) == 10
    for place, token in enumerate(told["tokens"]):
        cells = rows.nth(place)
        assert cells.locator("bdi").inner_text() == token["token"]
        assert shown_as_percent(token["after"]) in cells.locator("td").nth(1).inner_text()
        assert str(token["rank_after"]) in cells.locator("td").nth(2).inner_text()
    assert result.locator(".strip .dot").count() == 199
    assert (
        "none of 199 matched random interventions moved it as much, up or down (p\u00a0=\u00a0.005)"
        in result.inner_text()
    )
    assert result.locator(".live-doses .dose").count() == 14
    assert violations(window.page, axe_source) == []
    # nothing that was tried changed the report
    assert window.page.get_by_text("Nothing here changes the report").is_visible()


def test_a_donor_prompt_changes_the_answer_and_can_be_noted(fresh_site: Site, open_window: OpenWindow) -> None:
    window = open_window(fresh_site)
    case = fresh_site.cases()[0]["case_id"]
    live = open_panel(window, case, "#supernode:s1")
    live.get_by_label("swap in from another prompt").check()
    live.get_by_role("button", name="Run").click()
    assert "Write the prompt" in live.get_by_role("alert").inner_text()
    live.get_by_label("Prompt whose activations").fill(STOWE)
    result = run(live)
    assert "Montpelier" in result.locator(".live-result-line").inner_text()
    result.get_by_role("button", name="Note as comment").click()
    window.page.get_by_text("Noted as a comment").first.wait_for()
    state = httpx.get(f"{fresh_site.address}/api/reports/{case}/review").json()
    (comment,) = state["comments"]
    assert comment["target"] == "supernode:s1" and "Montpelier" in comment["text"]
    assert "tracescribe intervene" in comment["text"] and STOWE in comment["text"]


def test_a_link_fills_the_form_and_runs_nothing(demo_site: Site, open_window: OpenWindow) -> None:
    window = open_window(demo_site, width=390)
    case = demo_site.cases()[0]["case_id"]
    posts: list[str] = []
    window.page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
    query = "?live=act%3Dscale%26nodes%3D0_86_7%252C2_55_8%26x%3D-1.5%26controls%3D199"
    live = open_panel(window, case, "", query)
    chosen = live.locator(".live-chip:has(:checked) bdi")
    assert chosen.all_inner_texts() == ["say Austin", "Texas"]
    assert live.get_by_label("turn up or down").is_checked()
    assert live.locator("#live-factor").input_value() == "-1.5" and not posts
    result = run(live)
    assert "× −1.5" in result.inner_text() and len(posts) == 1
    # still there after a reload, and still nothing runs
    window.page.reload()
    live.locator(".live-result").first.wait_for()
    assert len(posts) == 1
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert window.page.evaluate(wide) == 0


def test_hostile_links_are_text_or_nothing(demo_site: Site, open_window: OpenWindow) -> None:
    window = open_window(demo_site)
    case = demo_site.cases()[0]["case_id"]
    donor = "%253Cimg%2520src%253Dx%2520onerror%253Dalert(1)%253E"
    live = open_panel(window, case, "", f"?live=act%3Dswap%26nodes%3D0_86_7%26donor%3D{donor}")
    assert live.locator("#live-donor").input_value() == "<img src=x onerror=alert(1)>"
    window.allow(r"status of 422")
    live.get_by_role("button", name="Run").click()
    live.locator(".live-status").get_by_text(re.compile("not in the vocabulary")).wait_for(timeout=120_000)
    assert window.page.locator("img[src=x]").count() == 0
    open_panel(window, case, "", "?live=act%3Dablate%26nodes%3D../../etc")
    assert window.page.locator("#live .live-status").inner_text() == ""


def test_the_keyboard_alone_runs_an_intervention(demo_site: Site, open_window: OpenWindow) -> None:
    window = open_window(demo_site)
    case = demo_site.cases()[0]["case_id"]
    live = open_panel(window, case, "#supernode:s3")
    window.page.keyboard.press("l")
    assert window.page.evaluate("document.activeElement.closest('.live-chip')?.textContent") == "capital 1 feature"
    window.page.keyboard.press("Enter")
    live.locator(".live-result").first.wait_for(timeout=120_000)
    assert "“capital” switched off" in live.locator(".live-result").first.inner_text()


def test_a_killed_process_is_told_and_the_next_run_works(fresh_site: Site, open_window: OpenWindow) -> None:
    window = open_window(fresh_site)
    case = fresh_site.cases()[0]["case_id"]
    live = open_panel(window, case)
    run(live)
    killed = children_of(fresh_site)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    assert killed, "the weights are held by a process of their own"
    run(live)
    left = children_of(fresh_site)
    assert left and not set(left) & set(killed)
    # when the server is killed, the process that holds the weights does not outlive it
    fresh_site.stop(signal.SIGKILL)
    for pid in left:
        wait_until_gone(pid)


def test_without_a_model_the_panel_says_how_to_get_one(
    demo_folder: Path, tmp_path: Path, open_window: OpenWindow
) -> None:
    site = Site(tmp_path, [demo_folder], ["--no-live"])
    site.start()
    try:
        window = open_window(site)
        window.page.goto(f"/reports/{site.cases()[0]['case_id']}")
        window.page.locator("#report[data-ready]").wait_for()
        if window.page.locator("#live").count():
            assert "tracescribe serve --model" in window.page.locator("#live").inner_text()
    finally:
        site.stop()


def children_of(site: Site) -> list[int]:
    """Processes that hold weights for a site's server."""
    assert site._process is not None
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if b"tracescribe.runs.web.live_process" in words and int(parent) == site._process.pid:
            found.append(int(folder.name))
    return found


def goes_on(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:  # it may go between any two looks
        return False
    return state != "Z"


def wait_until_gone(pid: int) -> None:
    """Wait until a process has ended."""
    import time

    end = time.monotonic() + PATIENCE
    while goes_on(pid):
        assert time.monotonic() < end, f"process {pid} goes on"
        time.sleep(0.1)
