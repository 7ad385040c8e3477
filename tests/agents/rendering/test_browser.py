"""The page in a real browser: no sideways scrolling, no text outside its box, at phone and desk width."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tracescribe.agents.rendering import EvidenceLookup, render_html
from tracescribe.agents.report import CircuitReport

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless", "--hide-scrollbars", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip
MEASURE = """
const frames = [...document.querySelectorAll('iframe')];
const measure = frame => {
  const page = frame.contentDocument, root = page.documentElement;
  page.querySelectorAll('details').forEach(item => { item.open = true; });
  const outside = [];
  page.querySelectorAll('.circuit .step, .circuit .token, .circuit .output').forEach(group => {
    const box = group.querySelector('rect').getBoundingClientRect();
    group.querySelectorAll('text').forEach(text => {
      const own = text.getBoundingClientRect();
      if (own.width && (own.left < box.left - 1 || own.right > box.right + 1)) outside.push(text.textContent);
    });
  });
  const clipped = [...page.querySelectorAll('td, th, p, li, dd, h1, h2, h3')].filter(item => {
    const own = item.getBoundingClientRect();
    return own.width > 1 && own.right > root.clientWidth + 1 && !item.closest('.scroller') && !item.closest('.sr');
  }).map(item => item.tagName + ' ' + item.textContent.slice(0, 40));
  const sizes = [...page.querySelectorAll('.circuit text, .strip text')]
    .map(text => parseFloat(frame.contentWindow.getComputedStyle(text).fontSize)
      * (text.getScreenCTM() ? text.getScreenCTM().a : 1));
  const plain = [...page.querySelectorAll('body *')].filter(item => item.childElementCount === 0
    && item.textContent.trim() && item.getClientRects().length)
    .map(item => parseFloat(frame.contentWindow.getComputedStyle(item).fontSize));
  return {width: root.clientWidth, needed: root.scrollWidth, outside, clipped,
          smallest: Math.min(...sizes), smallestText: Math.min(...plain),
          font: frame.contentWindow.getComputedStyle(page.querySelector('h1')).fontSize};
};
addEventListener('load', () => {
  document.body.textContent = 'MEASURED' + JSON.stringify(frames.map(measure)) + 'END';
});
"""


@pytest.fixture(scope="module")
def browser() -> str:
    """A Chromium on this machine."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium on this machine; install the package `chromium` to run these tests")


@pytest.mark.parametrize("which", ["dallas", "hostile", "untested"])
def test_page_fits_phone_and_desk(
    which: str,
    browser: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    report: CircuitReport = request.getfixturevalue(f"{which}_report")
    stores = {"dallas": "store", "hostile": "hostile_store"}
    store: EvidenceLookup | None = request.getfixturevalue(stores[which]) if which in stores else None
    page = html.escape(render_html(report, evidence=store), quote=True)
    frames = "".join(
        f'<iframe srcdoc="{page}" width="{width}" height="800" style="border:0"></iframe>' for width in (390, 1280)
    )
    file = tmp_path / "measure.html"
    file.write_text(f"<!DOCTYPE html><meta charset=utf-8><body>{frames}<script>{MEASURE}</script>", encoding="utf-8")
    command = [browser, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom"]
    done = subprocess.run([*command, file.as_uri()], capture_output=True, text=True, timeout=300, check=True)
    found = re.search(r"MEASURED(.*)END", done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    measured = json.loads(html.unescape(found[1]))
    assert [item["width"] for item in measured] == [390, 1280]
    for item in measured:
        assert item["needed"] <= item["width"], f"scrolls sideways at {item['width']} px"
        assert item["outside"] == []
        assert item["clipped"] == []
        assert item["smallest"] >= 11
        assert item["smallestText"] >= 11
    assert measured[0]["font"] != measured[1]["font"], "styles did not apply"
