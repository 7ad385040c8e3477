"""A whole review with the keyboard alone: nothing is clicked, nothing is reached by a pointer, and the focus is always seen."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import OpenWindow
from tests.browser.site import Site

PROMPT = "the capital of the state containing Dallas is"
LABEL = "Texas, the state"
MOST_TABS = 400
ACTIVE = """() => {
  const one = document.activeElement;
  if (!one || one === document.body) return ['', true];
  const name = one.getAttribute('aria-label') || one.labels?.[0]?.textContent || one.textContent || one.getAttribute('title') || '';
  const styles = [one, one.parentElement, one.closest('label')].filter(Boolean).map(at => getComputedStyle(at));
  const seen = styles.some(style => (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== 'none')
    || one.namespaceURI.endsWith('svg') || one.tabIndex < 0; // what cannot be operated needs no ring
  return [one.tagName.toLowerCase() + ' ' + name.trim().replace(/\\s+/g, ' ').slice(0, 120), seen];
}"""


class Keyboard:
    """All that this reviewer has: keys, and eyes."""

    def __init__(self, page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise AssertionError("the pointer was used in a walk with the keyboard alone")

        for name in ("click", "dblclick", "move", "down", "up", "wheel"):
            monkeypatch.setattr(page.mouse, name, refuse)
        kinds = (type(page), type(page.locator("body")))
        for kind in kinds:
            for name in ("click", "dblclick", "hover", "tap", "check", "uncheck", "drag_to", "select_option", "fill"):
                if hasattr(kind, name):
                    monkeypatch.setattr(kind, name, refuse)
        self._page = page
        self.unseen: set[str] = set()

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            self._page.keyboard.press(key)

    def type(self, text: str) -> None:
        """Type a text."""
        self._page.keyboard.type(text)

    def focused(self) -> str:
        """What has the focus: its tag and name."""
        name, seen = self._page.evaluate(ACTIVE)
        if name and not seen:
            self.unseen.add(name)
        return str(name)

    def tab_to(self, pattern: str, key: str = "Tab") -> None:
        """Press Tab until what has the focus is named like this.

        Raises:
            AssertionError: it is not reached.
        """
        passed: list[str] = []
        for _ in range(MOST_TABS):
            if re.search(pattern, self.focused(), re.IGNORECASE):
                return
            passed.append(self.focused())
            self.press(key)
        raise AssertionError(f"Tab never comes to {pattern!r}: {passed[-60:]}")


def test_a_review_with_the_keyboard_alone(
    fresh_site: Site, open_window: OpenWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = fresh_site.cases()[0]["case_id"]
    page = open_window(fresh_site).page
    keys = Keyboard(page, monkeypatch)
    bar, inspector = page.locator("#review-bar"), page.locator("#inspector")

    # find the report
    page.goto("/")
    keys.press("/")
    keys.type("Dallas")
    keys.press("Enter")
    page.wait_for_url("**q=Dallas*")
    page.locator("#results:not([aria-busy])").wait_for()
    page.get_by_role("link", name=PROMPT).first.wait_for()
    keys.tab_to(f"a .*{PROMPT}")
    keys.press("Enter")
    page.wait_for_url(f"**/reports/{case}*")
    page.locator("#report[data-ready]").wait_for()

    # the sheet of keys opens and closes, and the focus comes back
    keys.press("?")
    page.get_by_role("dialog").wait_for()
    keys.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")

    # the circuit, the full graph and back
    keys.press("g")
    page.locator("#circuit-graph canvas").first.wait_for()
    keys.press("g")
    page.locator('.box[data-target="supernode:s2"]').wait_for()
    for _ in range(10):
        keys.press("s")
        if page.evaluate("location.hash") == "#supernode:s2":  # what playwright knows of the address may be older
            break
    inspector.get_by_role("heading", name=re.compile("Texas")).wait_for()

    # what is known of a feature of it
    keys.press("i")
    keys.tab_to("^a Texas")
    keys.press("Enter")
    page.wait_for_url("**#node:0_86_7")
    inspector.get_by_role("link", name="this feature in all texts").wait_for()
    keys.press("i")
    keys.tab_to("this feature in all texts")
    keys.press("Enter")
    inspector.locator("mark").first.wait_for()

    # correct the label, then the grouping
    page.goto(f"/reports/{case}#supernode:s2")
    inspector.locator(".kicker", has_text="Supernode").wait_for()  # the feature is called Texas, too
    inspector.get_by_role("heading", name=re.compile("Texas")).wait_for()
    keys.press("e")
    assert keys.focused().startswith("input Label of supernode")
    # the old label is selected
    page.wait_for_function("() => document.activeElement.selectionEnd > document.activeElement.selectionStart")
    keys.type(LABEL)
    keys.press("Enter")
    bar.get_by_text("All saved, version 1").wait_for()
    keys.press("M")
    page.get_by_role("dialog").wait_for()
    keys.tab_to("capital")
    keys.press("Space")
    keys.tab_to("^button Merge")
    keys.press("Enter")
    bar.get_by_text("All saved, version 2").wait_for()

    # undo and redo, accept, comment
    keys.press("u")
    bar.get_by_text("All saved, version 3").wait_for()
    keys.press("U")
    bar.get_by_text("All saved, version 4").wait_for()
    keys.press("a")
    bar.get_by_text("All saved, version 5").wait_for()
    keys.press("c")
    assert keys.focused().startswith("textarea Comment on supernode")
    keys.type("its texts name Texan cities")
    keys.press("Control+Enter")
    bar.get_by_text("All saved, version 6").wait_for()
    before = page.url
    keys.press("n")
    page.wait_for_function("before => location.href !== before", arg=before)

    # a live ablation
    keys.press("l")
    keys.tab_to("^button Run")
    keys.press("Enter")
    page.locator("#live .live-result-line").first.wait_for(timeout=120_000)

    # close the review and save the gold
    keys.tab_to("^button Close review")
    keys.press("Enter")
    page.get_by_role("dialog").wait_for()
    keys.type("checked with the keyboard")
    keys.tab_to("^button Accept the report")
    keys.press("Enter")
    bar.get_by_text("All saved, version 7").wait_for()
    keys.tab_to("^button Save as")
    keys.press("Enter")
    page.get_by_role("dialog").wait_for()
    keys.tab_to("Save: Gold circuit")
    with page.expect_download() as caught:
        keys.press("Enter")
    gold = tmp_path / "gold.json"
    caught.value.save_as(gold)
    labels = [supernode["label"] for supernode in json.loads(gold.read_text(encoding="utf-8"))["supernodes"]]
    assert LABEL in labels
    assert not keys.unseen, f"the focus is not seen on {sorted(keys.unseen)}"


def test_the_first_tab_skips_to_the_content(demo_site: Site, open_window: OpenWindow) -> None:
    page = open_window(demo_site).page
    page.goto("/reports")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
