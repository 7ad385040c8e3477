"""axe-core in a page, and what else a page must be for everyone: no sideways scrolling, nothing cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

AXE = Path(__file__).resolve().parents[2] / "runs/web/frontend/node_modules/axe-core/axe.min.js"
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
RUN = """async rules => {
  const found = await axe.run(document, {runOnly: {type: 'tag', values: rules}, resultTypes: ['violations']});
  return found.violations.map(one => one.id + ': ' + one.help + '\\n    ' + one.nodes.slice(0, 5).map(node =>
    node.target.join(' ') + '  ' + node.html.slice(0, 160) + '  ' + (node.any[0] || node.all[0] || node.none[0] || {}).message
  ).join('\\n    '));
}"""
SIDEWAYS = """() => {
  const wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= wide) return [];
  const scrolls = element => {
    for (let at = element.parentElement; at && at !== document.body; at = at.parentElement)
      if (/auto|scroll|hidden|clip/.test(getComputedStyle(at).overflowX)) return true;
    return false;
  };
  return [...document.querySelectorAll('body *')].filter(element => {
    const box = element.getBoundingClientRect();
    return box.width && box.right > wide + 1 && !scrolls(element);
  }).slice(0, 8).map(element => element.tagName + '.' + element.className + ' ' + element.textContent.trim().slice(0, 40));
}"""


@pytest.fixture(scope="session")
def axe_source() -> str:
    """The text of axe-core, out of the front end's packages."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed; run `npm ci --ignore-scripts` in runs/web/frontend")
    return AXE.read_text(encoding="utf-8")


def violations(page: Any, source: str, *, rules: tuple[str, ...] = RULES) -> list[str]:
    """What axe-core finds wrong with the page as it is now, each rule with the first elements that break it."""
    page.evaluate(source)
    found: list[str] = page.evaluate(RUN, list(rules))
    return found


def sideways(page: Any) -> list[str]:
    """Elements that make the page scroll sideways; empty where it does not."""
    found: list[str] = page.evaluate(SIDEWAYS)
    return found
