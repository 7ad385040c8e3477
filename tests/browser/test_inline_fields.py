"""A label or a comment is written in the same field, whether a key or a button opens it, and the focus comes back from there."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.chromium import intercept, told, wait_until
from tests.browser.conftest import OpenWindow
from tests.browser.site import Site
from tests.browser.test_acting import look, opened, saved

FOCUSED = (
    "() => document.activeElement.closest('[data-target], [data-do], #inspector-name')?.outerHTML.slice(0, 300) ?? ''"
)
LABEL = re.compile("^Label of supernode")


def _key(page: Any, key: str, _: str) -> None:
    page.keyboard.press(key)


def _pointer(page: Any, _: str, button: str) -> None:
    page.locator("#inspector").get_by_role("button", name=re.compile(f"^{button}")).click()


@pytest.mark.parametrize("way", [_key, _pointer], ids=["key", "pointer"])
def test_a_label_is_edited_where_it_stands(
    way: Callable[[Any, str, str], None], fresh_site: Site, open_window: OpenWindow
) -> None:
    _, page = opened(fresh_site, open_window)
    inspector = page.locator("#inspector")
    page.keyboard.press("s")
    page.keyboard.press("s")
    page.wait_for_url("**#supernode:s2")
    before = page.evaluate(FOCUSED)
    assert 'data-target="supernode:s2"' in before
    old = look(fresh_site)["supernodes"][1]["label"]

    way(page, "e", "Edit label")
    assert page.get_by_role("dialog").count() == 0
    field = inspector.get_by_label(LABEL)
    assert field.input_value() == old
    assert field.evaluate("one => one === document.activeElement")
    assert field.evaluate("one => one.value.slice(one.selectionStart, one.selectionEnd)") == old, "typing replaces it"
    page.keyboard.type("a r e c m")  # keys that do something elsewhere
    page.keyboard.press("Escape")
    field.wait_for(state="detached")
    came_back = 'data-target="supernode:s2"' if way is _key else 'data-do="edit"'
    assert came_back in page.evaluate(FOCUSED)
    assert page.url.endswith("#supernode:s2"), "Escape gives up the field, not the choice"
    assert look(fresh_site)["version"] == 0

    way(page, "e", "Edit label")
    assert field.input_value() == "a r e c m", "Escape may have been a slip"
    field.fill("the state of Texas")
    page.keyboard.press("Enter")
    saved(page, 1)
    assert came_back in page.evaluate(FOCUSED)
    inspector.get_by_role("heading", name="the state of Texas", exact=True).wait_for()
    assert look(fresh_site)["supernodes"][1]["label"] == "the state of Texas"

    way(page, "c", "Comment")
    note = inspector.get_by_label(re.compile("^Comment on supernode"))
    assert note.evaluate("one => one === document.activeElement")
    page.keyboard.type("as the texts say")
    page.keyboard.press("Control+Enter")
    saved(page, 2)
    assert [one["text"] for one in look(fresh_site)["comments"]] == ["as the texts say"]


def test_what_is_typed_before_a_feature_is_read_is_its_label(fresh_site: Site, open_window: OpenWindow) -> None:
    _, page = opened(fresh_site, open_window)
    waiting: list[Any] = []
    intercept(page, "**/features/2/55", lambda route: waiting.append(route), times=1)
    page.evaluate("location.hash = 'feature:2/55'")
    page.locator("#inspector.is-open").wait_for()  # the page hears of a new address a moment later
    page.keyboard.press("e")
    page.keyboard.type("a ear")
    field = page.locator("#inspector").get_by_label(re.compile("^Label of"))
    assert field.input_value() == "a ear"
    wait_until(page, lambda: bool(waiting))
    waiting[0].continue_()
    page.locator("#inspector").get_by_role("heading", name="Where it fires").wait_for()
    assert field.input_value() == "a ear"
    assert field.evaluate("one => one === document.activeElement"), "what arrives disturbs nobody"
    page.keyboard.type("ly")
    page.keyboard.press("Enter")
    saved(page, 1)
    page.locator("#inspector").get_by_role("heading", name="a early", exact=True).wait_for()
    page.keyboard.press("u")
    saved(page, 2)
    page.locator("#inspector").get_by_role("heading", name="say Austin", exact=True).wait_for()


def test_what_has_no_label_gets_no_field(demo_site: Site, open_window: OpenWindow) -> None:
    page = open_window(demo_site).page
    page.goto(f"/reports/{demo_site.cases()[0]['case_id']}#claim:c1")
    page.locator("#report[data-ready]").wait_for()
    page.keyboard.press("e")
    told(page, "This has no label to edit.")
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    told(page, "Select something first")
    assert page.locator("#inspector").get_by_role("textbox").count() == 0


def test_a_field_that_is_opened_while_a_dialog_goes_keeps_the_focus(fresh_site: Site, open_window: OpenWindow) -> None:
    _, page = opened(fresh_site, open_window)
    page.keyboard.press("s")
    page.locator("#review-bar").get_by_role("button", name="History").click()
    page.get_by_role("dialog", name="History of this review").wait_for()
    # a dialog tells that it is closed a moment later, and a busy page hears of a quick key before that
    page.evaluate(
        """() => {
          document.querySelector('dialog[open]').close();
          document.dispatchEvent(new KeyboardEvent('keydown', {key: 'c'}));
        }"""
    )
    page.get_by_role("dialog").wait_for(state="detached")
    page.keyboard.type("a r e c m")
    assert page.locator("#inspector").get_by_label(re.compile("^Comment on")).input_value() == "a r e c m"
