"""The system's Chromium, and windows that remember everything that went wrong in them."""

# Playwright is an extra: the type check runs without it too
# pyright: reportMissingImports=false

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
    "--no-first-run",
)
WATCH = """
document.addEventListener('securitypolicyviolation', event => {
  console.error('content security policy: ' + event.violatedDirective + ' ' + event.blockedURI + ' ' + event.sample);
});
window.__told = [];  // every message that the page has shown for some seconds
document.addEventListener('DOMContentLoaded', () => {
  const place = document.getElementById('toasts');
  if (place === null) return;
  const tell = all => { for (const one of all) window.__told.push(one.textContent); };
  tell(place.childNodes);
  new MutationObserver(changes => { for (const change of changes) tell(change.addedNodes); }).observe(place, {childList: true});
});
"""


def find_chromium() -> str | None:
    """Path of a Chromium on this machine; None where there is none."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


STILL = """() => Promise.race([
  new Promise(done => setTimeout(done, 5000)),
  new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))).then(() => Promise.all(
    document.getAnimations().filter(one => one.effect?.getComputedTiming().endTime !== Infinity)
      .map(one => one.finished.catch(() => null)))),
])"""


def stand_still(page: Any) -> None:
    """Wait until the page is laid out again after a change, what moves or fades is over, and a graph in it is drawn."""
    page.evaluate(STILL)
    for canvas in page.locator("canvas.graph-canvas:visible").all():
        page.wait_for_function("canvas => canvas.dataset.settled === 'true'", arg=canvas.element_handle())


IN_EFFECT = """async () => {
  const end = Date.now() + 90000;
  while (Date.now() < end) {
    const answer = await fetch('/static/app.css?intercepted', {cache: 'no-store'}).catch(() => null);
    if (answer?.status === 204) return;
    await new Promise(done => setTimeout(done, 20));
  }
  throw new Error('the interception is not in effect after 90 s');
}"""


def intercept(page: Any, pattern: str, handle: Callable[[Any], object], **how: Any) -> None:
    """Answer requests from here, from now on: like playwright's `page.route`, and certain on a page that is open, too.

    A page that is open goes on for a moment with the way to the network that it has, and a busy one for longer than a key
    takes to reach it. So one of its own requests is sent again and again, until it is answered from here.
    """
    page.route(pattern, handle, **how)
    if page.url.startswith("http"):
        probe = re.compile(r"\?intercepted$")
        page.route(probe, lambda route: route.fulfill(status=204))
        page.evaluate(IN_EFFECT)
        page.unroute(probe)


def try_now(page: Any) -> None:
    """Press the button that saves at once what waits, unless the page was faster: it tries by itself every few seconds."""
    from playwright.sync_api import TimeoutError as TookTooLong

    button = page.locator("#review-bar").get_by_role("button", name="Try now")
    while button.is_visible():
        with contextlib.suppress(TookTooLong):
            button.click(timeout=2000)
            return


def told(page: Any, words: str) -> None:
    """Wait until the page has shown a message with these words since it was loaded.

    A message goes by itself after some seconds, which on a busy machine may be before anybody looks.
    """
    page.wait_for_function("words => window.__told.some(one => one.includes(words))", arg=words)


def wait_until(page: Any, condition: Callable[[], bool], patience: float = 90.0) -> None:
    """Wait for something that this process sees, such as a request that it holds back, while the page goes on.

    Raises:
        AssertionError: it did not come about.
    """
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "what was waited for did not come about"
        page.wait_for_timeout(20)


class Window:
    """A browser context with an empty profile, and one page in it.

    Attributes:
        page: playwright's.
        context: the profile; `open_tab` makes another page in it.
        faults: errors on the console, uncaught errors, violations of the content security policy, requests to other
            hosts, dialogs of the old kind (`alert`), in the order in which they came.
        sent: what its pages changed or tried to change on the server: method, address, how it ended.
    """

    def __init__(self, browser: Any, address: str, width: int, height: int, **options: Any) -> None:
        self.address = address
        self.faults: list[str] = []
        self.sent: list[str] = []
        self._allowed: list[re.Pattern[str]] = []
        self.context = browser.new_context(
            viewport={"width": width, "height": height},
            base_url=address or None,
            accept_downloads=True,
            **options,
        )
        self.context.set_default_timeout(90_000)
        self.context.add_init_script(WATCH)
        self.context.on("request", self._check_host)
        self.context.on("response", lambda answer: self._note(answer.request, str(answer.status)))
        self.context.on("requestfailed", lambda request: self._note(request, str(request.failure)))
        self.context.on("page", self._watch)
        self.page = self.context.new_page()

    def _watch(self, page: Any) -> None:
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.faults.append(f"uncaught: {error}"))
        page.on("dialog", self._dismiss)
        page.on("crash", lambda _: self.faults.append("the page crashed"))

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            where = message.location or {}
            self.faults.append(f"console: {message.text} ({where.get('url', '')})")

    def _dismiss(self, dialog: Any) -> None:
        if dialog.type != "beforeunload":
            self.faults.append(f"dialog: {dialog.message}")
            dialog.dismiss()
        else:
            dialog.accept()

    def _check_host(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("data", "blob", "about", "file"):
            return
        if not self.address or f"{parts.scheme}://{parts.netloc}" != self.address:
            self.faults.append(f"request to another host: {request.url}")

    def _note(self, request: Any, end: str) -> None:
        if request.method != "GET":
            self.sent.append(f"{request.method} {request.url}: {end}")

    def tell(self) -> str:
        """How its pages stand, for the report of a test that failed."""
        from playwright.sync_api import Error

        told = [*self.sent, *self.faults]
        for page in self.context.pages:
            told.append(f"--- {page.url}")
            for part in ("*:focus", "dialog[open]", "#toasts", "#review-bar", "#inspector", "main"):
                try:
                    told += [f"[{part}] {page.locator(part).first.inner_text(timeout=2000)[:1500]}"]
                except Error as error:
                    told += [f"[{part}] {str(error).splitlines()[0]}"]
        return "\n".join(told)

    def open_tab(self) -> Any:
        """Another page of the same person in the same browser."""
        return self.context.new_page()

    def allow(self, pattern: str) -> None:
        """Faults in which this pattern is found are expected, such as the console's line of a refused request."""
        self._allowed.append(re.compile(pattern))

    def unexpected(self) -> list[str]:
        """The faults that nobody allowed."""
        return [fault for fault in self.faults if not any(pattern.search(fault) for pattern in self._allowed)]

    def log_in(self, token: str) -> None:
        """Log in through the page for it."""
        self.page.goto("/log-in")
        self.page.get_by_label(re.compile("token", re.IGNORECASE)).first.fill(token)
        self.page.get_by_role("button", name=re.compile("log in", re.IGNORECASE)).click()
        self.page.wait_for_url(lambda url: urlsplit(url).path != "/log-in")

    def close(self) -> None:
        """Close it and its profile."""
        self.context.close()
