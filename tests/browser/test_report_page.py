"""The report page in a real browser: links to everything, walking along edges, filters, plots, and the sheet of paper."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.browser.chromium import stand_still
from tests.browser.conftest import OpenWindow
from tests.browser.reviewer import Reviewer
from tests.browser.site import Site


@pytest.fixture
def page(demo_site: Site, open_window: OpenWindow) -> Any:
    """The demo's report, ready."""
    opened = open_window(demo_site).page
    opened.goto(f"/reports/{demo_site.cases()[0]['case_id']}")
    opened.locator("#report[data-ready]").wait_for()
    return opened


def _heading(page: Any) -> Any:
    return page.locator("#inspector h2")


@pytest.mark.parametrize(
    ("target", "title"),
    [
        ("supernode:s2", "Texas"),
        ("edge:s2%3Es1", "Texas → say Austin"),
        ("node:2_55_8", "say Austin"),
        ("feature:0/86", "Texas"),
        ("claim:c2", "Switching off 'Texas'"),
        ("sentence:4", "'say Austin' (at 'is')"),
    ],
)
def test_a_link_leads_to_everything(page: Any, target: str, title: str) -> None:
    page.goto("about:blank")
    page.go_back()
    page.goto(page.url.partition("#")[0] + f"#{target}")
    page.reload()
    page.locator("#report[data-ready]").wait_for()
    _heading(page).get_by_text(title, exact=False).wait_for()
    page.keyboard.press("Escape")
    _heading(page).get_by_text("Nothing is selected").wait_for()
    assert "#" not in page.url


def test_edges_are_walked_and_walked_back(page: Any) -> None:
    page.locator("#circuit-supernodes [data-target='supernode:s1']").first.click()
    _heading(page).get_by_text("say Austin").wait_for()
    page.locator("#inspector .link-list").first.get_by_role("link", name="Texas").click()
    _heading(page).get_by_text("Texas").wait_for()
    page.locator("#inspector .member-list").get_by_role("link", name="Texas").click()
    page.locator("#inspector .kicker", has_text="Feature node").wait_for()
    page.locator("#inspector .link-list").first.get_by_role("link", name="Dallas").first.click()
    page.locator("#inspector .kicker", has_text="embedding").wait_for()
    page.go_back()
    page.go_back()
    page.locator("#inspector .kicker", has_text="Supernode").wait_for()
    assert page.url.endswith("#supernode:s2")


def test_a_sentence_lights_up_what_it_speaks_of(page: Any) -> None:
    sentence = page.locator("#story li[data-about='supernode:s1']").first
    sentence.locator(".sentence-text").first.hover()
    page.locator("#circuit [data-target='supernode:s1'].is-about").first.wait_for()
    assert page.locator("#circuit [data-target='supernode:s2'].is-about").count() == 0
    sentence.locator(".chip").first.click()
    page.locator("article.claim.is-selected").wait_for()
    page.wait_for_function(  # the page may glide there
        """() => {
          const box = document.querySelector("article.claim.is-selected").getBoundingClientRect();
          return box.bottom > 0 && box.top < innerHeight;
        }"""
    )


def test_claims_are_filtered_and_found_again_by_a_link(page: Any) -> None:
    shown = page.locator("article.claim:visible")
    every = shown.count()
    page.locator("#filter-kind").select_option("necessity")
    assert 0 < shown.count() < every
    assert all("Switching off" in text for text in shown.locator("h4").all_inner_texts())
    page.locator("#filter-words").fill("texas")
    page.locator("#filter-count", has_text=f"1 of {every} claims").wait_for()
    assert shown.count() == 1
    page.locator("#story .chip", has_text=re.compile("c12")).first.click()
    page.locator("article.claim.is-selected", has_text="c12").wait_for()
    page.locator("#filter-count").get_by_text(f"{every} claims", exact=True).wait_for()
    assert shown.count() == every


def test_a_plot_is_read_with_the_keyboard(page: Any) -> None:
    plot = page.locator("article.claim svg.strip[data-values]").first
    values = plot.get_attribute("data-values").split()
    plot.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    shown = float(plot.locator(".dot-value").text_content().split(": ")[1].replace("−", "-"))
    assert shown == pytest.approx(float(values[1]))
    page.keyboard.press("Tab")
    assert plot.locator(".dot-value").count() == 0


def test_texts_of_a_feature_are_shaded_and_told(page: Any) -> None:
    page.goto(page.url.partition("#")[0] + "#feature:2/55")
    texts = page.locator("#inspector .examples > li")
    texts.first.wait_for()
    assert texts.first.locator("mark.peak").count() == 1
    assert "strongest" in texts.first.locator("mark.peak").text_content()
    before = texts.count()
    page.locator("#inspector").get_by_role("button", name=re.compile("weaker texts")).click()
    assert texts.count() > before


def test_on_paper_everything_is_open_and_nothing_can_be_pressed(page: Any) -> None:
    page.emulate_media(media="print")
    for hidden in ("#inspector", ".report-toc", "#review-bar", "#live-section", ".claim-filter", ".view-switch"):
        assert not page.locator(hidden).first.is_visible(), hidden
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".report details:not([open])").count() == 0
    assert page.locator("article.claim pre").first.is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator(".report details:not([open])").count() > 0


def test_nothing_sticks_out_on_a_telephone(demo_site: Site, open_window: OpenWindow) -> None:
    page = open_window(demo_site, width=390).page
    page.goto(f"/reports/{demo_site.cases()[0]['case_id']}#supernode:s2")
    page.locator("#report[data-ready]").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    for part in (".report-head .answer", ".report-head .prompt-token", ".report-path a bdi"):
        page.locator(part).first.evaluate("one => { one.textContent = 'x'.repeat(300); }")
    assert page.evaluate("document.documentElement.scrollWidth") == 390, "however long a token is"
    sheet = page.locator("#inspector").bounding_box()
    assert sheet is not None and sheet["width"] == 390 and sheet["y"] > 200
    page.locator("#inspector .inspector-close").click()
    assert not page.locator("#inspector").is_visible()


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_what_is_selected_is_seen_above_the_sheet(demo_site: Site, open_window: OpenWindow, motion: str) -> None:
    page = open_window(demo_site, width=390, height=700, reduced_motion=motion).page
    page.goto(f"/reports/{demo_site.cases()[0]['case_id']}#supernode:s3")
    page.locator("#report[data-ready]").wait_for()
    for target in ("s3", "s1", "s2"):
        page.evaluate("target => { location.hash = target; }", f"supernode:{target}")
        page.wait_for_function(
            """target => {
              const box = document.querySelector(`#circuit-supernodes .box[data-target="${target}"]`);
              const seen = box.getBoundingClientRect();
              const drawing = document.querySelector(".circuit-scroll").getBoundingClientRect();
              const sheet = document.querySelector("#inspector.is-open").getBoundingClientRect();
              return seen.top >= Math.max(0, drawing.top) && seen.bottom <= Math.min(sheet.top, drawing.bottom)
                && seen.left >= drawing.left && seen.right <= drawing.right;
            }""",
            arg=f"supernode:{target}",
        )


def test_a_new_label_is_told_in_the_head_and_a_long_one_leaves_room(fresh_site: Site, open_window: OpenWindow) -> None:
    case = fresh_site.cases()[0]["case_id"]
    label = ("the state of Texas and all that lies in it " * 5)[:200].strip()
    with Reviewer(fresh_site.address, case) as reviewer:
        reviewer.act({"kind": "rename supernode", "supernode": "s2", "text": label})
    page = open_window(fresh_site, width=390).page
    page.goto(f"/reports/{case}#supernode:s2")
    page.locator("#report[data-ready]").wait_for()
    assert page.locator(".report-path a", has_text="Texas").inner_text() == label, "as the drawing below has it"
    in_the_head = page.locator(".report-path a", has_text="Texas")
    cut = in_the_head.bounding_box()["height"]
    assert cut < 60, "a line, so that the drawing stays near"
    page.locator(".report-path a").first.focus()
    page.keyboard.press("Tab")
    assert in_the_head.evaluate("one => one === document.activeElement")
    assert in_the_head.bounding_box()["height"] > 2 * cut, "seen whole where the focus is"
    title = page.locator("#inspector h2")
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 844})
        stand_still(page)
        few = title.bounding_box()["height"]
        more = page.locator("#inspector").get_by_role("button", name="More")
        more.wait_for()  # another width, other lines
        page.keyboard.press("i")  # to the title
        while more.evaluate("one => one !== document.activeElement"):
            assert page.evaluate("document.activeElement.closest('#inspector') !== null")
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        less = page.locator("#inspector").get_by_role("button", name="Less")
        assert less.get_attribute("aria-expanded") == "true"
        assert title.bounding_box()["height"] > few
        assert title.evaluate("one => one.scrollHeight <= one.clientHeight + 1"), "nothing of it is left out"
        page.keyboard.press("Enter")
        more.wait_for()
        assert title.bounding_box()["height"] == few
    page.goto(f"/reports/{case}#supernode:s1")
    page.locator("#inspector h2", has_text="say Austin").wait_for()
    assert page.locator("#inspector").get_by_role("button", name="More").count() == 0, "where nothing is left out"


def test_a_link_to_a_review_that_is_none_leads_to_ones_own(demo_site: Site, open_window: OpenWindow) -> None:
    case = demo_site.cases()[0]["case_id"]
    window = open_window(demo_site)
    window.allow("status of 404")
    window.page.goto(f"/reports/{case}?review=rev_aaaaaaaaaaaa#supernode:s2")
    window.page.get_by_role("link", name="Open your own review").click()
    window.page.locator("#report[data-ready]").wait_for()
    assert window.page.url.endswith(f"/reports/{case}#supernode:s2")


def test_an_answer_as_long_as_a_page_stays_in_the_page(demo_site: Site, open_window: OpenWindow) -> None:
    for width in (1280, 390):
        page = open_window(demo_site, width=width).page
        page.goto(f"/reports/{demo_site.cases()[0]['case_id']}")
        page.locator("#report[data-ready]").wait_for()
        answer = page.locator(".report-head .answer").first
        for token in ("x" * 300, "word " * 60):
            answer.evaluate("(one, token) => { one.textContent = token; }", token)
            assert page.evaluate("document.documentElement.scrollWidth") == width
