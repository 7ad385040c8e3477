"""The list of reports as a person uses it: typing, filters, keys, two chosen to compare, one brought in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.axe import axe_source, sideways, violations
from tests.browser.conftest import OpenWindow
from tests.browser.site import Site
from tests.evals.page_examples import example_board

__all__ = ["axe_source"]  # a fixture

DALLAS = "the capital of the state containing Dallas is"


@pytest.fixture(scope="module")
def site(demo_folder: Path, second_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two reports on one prompt, and a leaderboard with every part filled."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "bench").mkdir()
    (folder / "bench" / "leaderboard.json").write_text(json.dumps(example_board()), encoding="utf-8")
    opened = Site(folder, [demo_folder, second_folder], ["--no-live", "--bench", str(folder / "bench")])
    try:
        opened.start()
        yield opened
    finally:
        opened.stop()


def rows(page: Any) -> int:
    return int(page.locator(".report-link").count())


def test_typing_narrows_the_list_without_leaving_the_page(site: Site, open_window: OpenWindow) -> None:
    page = open_window(site).page
    page.goto("/reports")
    assert rows(page) == 2
    page.evaluate("window.stays = true")
    page.keyboard.press("/")
    page.keyboard.type("dallas nowhere")
    page.wait_for_url("**/reports?q=dallas+nowhere")  # who types slowly gets results for a part of it first
    page.get_by_role("heading", name="No report fits").wait_for()
    assert page.evaluate("document.activeElement.id") == "q", "typing goes on where it was"
    page.get_by_role("link", name="Show all reports").click()
    page.get_by_text("1–2 of 2 reports").wait_for()
    page.wait_for_function("() => document.getElementById('q').value === ''")
    assert page.evaluate("window.stays") is True
    page.go_back()
    page.get_by_role("heading", name="No report fits").wait_for()
    assert page.get_by_label("Search", exact=True).input_value() == "dallas nowhere"


def test_enter_right_after_typing_brings_the_results_once(site: Site, open_window: OpenWindow) -> None:
    page = open_window(site).page
    page.clock.install()
    page.goto("/reports")
    page.evaluate(
        """() => {
          const own = window.fetch;
          window.fetched = [];
          window.fetch = (address, ...more) => { window.fetched.push(address); return own(address, ...more); };
          const search = document.getElementById('q');
          search.value = 'dallas';
          search.dispatchEvent(new Event('input', {bubbles: true}));
          search.form.requestSubmit();
        }"""
    )
    page.locator("#results:not([aria-busy])").wait_for()
    page.evaluate("document.querySelector('.report-link').focus()")
    page.clock.run_for(2_000)  # longer than it waits for the next letter
    assert page.evaluate("window.fetched") == ["/reports?q=dallas"]
    page.evaluate("document.getElementById('filters').requestSubmit()")
    page.locator("#results:not([aria-busy])").wait_for()
    assert page.evaluate("document.activeElement.className") == "report-link", "the row that has the focus keeps it"


def test_filters_and_orders_are_in_the_address(site: Site, open_window: OpenWindow) -> None:
    page = open_window(site).page
    page.goto("/reports")
    assert page.get_by_label("Agent", exact=True).locator("option").all_inner_texts()[1:] == [
        "influence (1)",
        "offline (1)",
    ]
    page.get_by_label("Agent", exact=True).focus()
    page.get_by_label("Agent", exact=True).select_option("influence")
    page.wait_for_url("**/reports?agent=influence")
    assert rows(page) == 1
    assert page.evaluate("document.activeElement.id") == "filter-agent", "the renewed list of agents keeps the focus"
    page.reload()
    assert page.get_by_label("Agent", exact=True).input_value() == "influence"
    page.goto("/reports?sort=refuted")
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("Claims")
    page.get_by_role("link", name="Claims").click()
    page.locator("th[aria-sort=ascending]").wait_for()
    assert "reverse=true" in page.url
    page.get_by_label("Agent", exact=True).select_option("offline")
    page.wait_for_url("**agent=offline**")
    assert "sort=refuted" in page.url, "a filter keeps the order"


def test_two_rows_are_chosen_and_compared_by_keys_alone(site: Site, open_window: OpenWindow) -> None:
    page = open_window(site).page
    page.goto("/reports")
    button = page.locator("#compare-button")
    assert button.is_disabled()
    for key in "jxjx":
        page.keyboard.press(key)
    assert button.is_enabled()
    assert page.locator(".choose input:checked").count() == 2
    page.keyboard.press("c")
    page.wait_for_url("**/compare?a=*")
    assert DALLAS in page.get_by_role("heading", level=1).inner_text()
    page.get_by_role("heading", name="Claims").wait_for()
    assert "came out differently" in page.locator("main").inner_text()
    page.get_by_role("link", name="Swap sides").click()
    page.wait_for_load_state()
    assert "Features of both circuits" in page.locator("main").inner_text()


def test_a_row_is_opened_by_keys(site: Site, open_window: OpenWindow) -> None:
    page = open_window(site).page
    page.goto("/reports")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/reports/*")
    assert "Dallas" in page.get_by_role("heading", level=1).inner_text()


def test_the_sheet_of_keys_opens_and_gives_the_focus_back(site: Site, open_window: OpenWindow) -> None:
    page = open_window(site).page
    page.goto("/reports")
    page.keyboard.press("j")
    page.keyboard.press("?")
    sheet = page.get_by_role("dialog", name="Keys")
    sheet.wait_for()
    assert "Choose this row to compare" in sheet.inner_text()
    page.keyboard.press("x")
    assert page.locator(".choose input:checked").count() == 0, "a dialog has the keys to itself"
    page.keyboard.press("Escape")
    sheet.wait_for(state="detached")
    assert page.evaluate("document.activeElement.className") == "report-link"


def test_single_keys_can_be_turned_off(site: Site, open_window: OpenWindow) -> None:
    page = open_window(site).page
    page.goto("/reports")
    page.keyboard.press("?")
    page.get_by_label("Keys of a single letter or sign do something").uncheck()
    page.keyboard.press("Escape")
    page.reload()
    page.keyboard.press("x")
    page.keyboard.press("?")
    assert page.get_by_role("dialog").count() == 0
    page.get_by_role("button", name="Keys and help").click()
    page.get_by_label("Keys of a single letter or sign do something").check()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()


def test_the_chosen_colours_stay_and_are_there_before_the_first_paint(site: Site, open_window: OpenWindow) -> None:
    page = open_window(site).page
    page.goto("/reports")
    before = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    page.get_by_role("button", name="Switch to dark colours").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.goto("/compare", wait_until="commit")
    page.wait_for_function("() => document.body !== null")  # a function: the policy forbids eval
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.wait_for_load_state()
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") != before
    page.get_by_role("button", name="Switch to light colours").click()
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == before


def test_on_a_phone_the_filters_are_folded_and_nothing_is_wider_than_the_screen(
    site: Site, open_window: OpenWindow
) -> None:
    page = open_window(site, width=390, height=844).page
    first, second = (row["case_id"] for row in site.cases())
    for path in ("/reports", "/compare", "/leaderboard", f"/compare?a={first}&b={second}"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
    page.goto("/reports")
    assert not page.get_by_label("Agent", exact=True).is_visible()
    page.get_by_text("Filters", exact=True).click()
    assert page.get_by_label("Agent", exact=True).is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_comparison_and_leaderboard_are_for_everyone(
    scheme: str, site: Site, open_window: OpenWindow, axe_source: str
) -> None:
    first, second = (row["case_id"] for row in site.cases())
    for width in (1280, 390):
        page = open_window(site, width=width, color_scheme=scheme).page
        for path in (f"/compare?a={first}&b={second}", "/leaderboard", "/leaderboard?metric=causal.false_discoveries"):
            page.goto(path)
            page.evaluate("document.querySelectorAll('main details').forEach(one => { one.open = true; })")
            assert not violations(page, axe_source), path
            assert not sideways(page), path


def test_a_report_is_brought_in_through_the_page(
    demo_folder: Path, second_folder: Path, tmp_path: Path, open_window: OpenWindow
) -> None:
    site = Site(tmp_path, [second_folder])
    try:
        site.start()
        window = open_window(site)
        page = window.page
        page.goto("/reports")
        page.get_by_role("button", name="Bring in a report").click()
        dialog = page.get_by_role("dialog", name="Bring in a report")
        dialog.get_by_label("report.json").set_input_files(demo_folder / "graph.json")
        window.allow(r"422")
        dialog.get_by_role("button", name="Bring in").click()
        dialog.get_by_role("alert").get_by_text("report", exact=False).wait_for()
        dialog.get_by_label("report.json").set_input_files(demo_folder / "report.json")
        dialog.get_by_label("graph.json").set_input_files(demo_folder / "graph.json")
        dialog.get_by_role("button", name="Bring in").click()
        page.wait_for_url("**/reports/*")
        page.goto("/reports")
        page.get_by_text("1–2 of 2 reports").wait_for()
    finally:
        site.stop()


def test_without_scripts_the_list_is_searched_and_compared(site: Site, open_window: OpenWindow) -> None:
    page = open_window(site, java_script_enabled=False).page
    page.goto("/reports")
    page.get_by_label("Search", exact=True).fill("nowhere")
    page.get_by_role("button", name="Search").click()
    assert page.get_by_role("heading", name="No report fits").is_visible()
    page.goto("/reports")
    for box in page.locator(".choose input").all():
        box.check()
    page.get_by_role("button", name="Compare the two chosen").click()
    assert DALLAS in page.get_by_role("heading", level=1).inner_text()
