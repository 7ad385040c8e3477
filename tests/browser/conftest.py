"""A browser, servers with the demo's report, and windows that must not have seen a fault when a test ends."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import FLAGS, Window, find_chromium
from tests.browser.site import TRACESCRIBE, Site

HERE = Path(__file__).parent
OpenWindow = Callable[..., Window]
_OPENED = pytest.StashKey[list[Window]]()
_OWN_SERVERS = frozenset({"hostile_site", "large_site", "site"})
"""Fixtures of modules that are dear to make: each is made in one process."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs a browser. Tests that share what their module makes stay in one process; others go where one is
    free."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)
            shared = _OWN_SERVERS.intersection(getattr(item, "fixturenames", ()))
            if shared:
                item.add_marker(pytest.mark.xdist_group("-".join(sorted(shared))))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """A failure tells how the pages stood: most are seen on a machine where nobody can look."""
    report = yield
    if report.when == "call" and report.failed:
        for window in item.stash.get(_OPENED, []):
            report.sections.append(("window", window.tell()))
    return report


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The system's Chromium, headless."""
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium on this machine; install the package `chromium` to run these tests")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `tracescribe demo` writes: the report of the best-known prompt and its graph."""
    return _made_once(tmp_path_factory, "dallas", "demo")


@pytest.fixture(scope="session")
def second_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of another agent on the same prompt: the shipped baseline that goes by influence alone."""
    prompt = "the capital of the state containing Dallas is"
    return _made_once(tmp_path_factory, "influence", "interpret", "--prompt", prompt, "--agent", "influence")


def _made_once(factory: pytest.TempPathFactory, name: str, *words: str) -> Path:
    """The folder that a command writes, made by the first of the processes that share a run of tests; nobody writes there after."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared" / name
    folder.parent.mkdir(exist_ok=True)
    with (folder.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            command = [*TRACESCRIBE, *words, "--out", str(folder)]
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def demo_site(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with the demo's report; whoever reaches it is the person at this machine. Tests that read share it."""
    yield from _served(Site(tmp_path_factory.mktemp("site"), [demo_folder]))


@pytest.fixture
def fresh_site(demo_folder: Path, tmp_path: Path) -> Iterator[Site]:
    """The same with a store of the test's own, for tests that change what is in it."""
    yield from _served(Site(tmp_path, [demo_folder]))


class Team:
    """A server where people log in, and their tokens by name."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.tokens: dict[str, str] = {}
        for name, role in (("vera", "viewer"), ("rosa", "reviewer"), ("rolf", "reviewer"), ("ada", "admin")):
            self.tokens[name] = site.make_token(name, role)


@pytest.fixture
def team(demo_folder: Path, tmp_path: Path) -> Iterator[Team]:
    """A server where everybody logs in, with a viewer (vera), two reviewers (rosa, rolf) and an admin (ada)."""
    site = Site(tmp_path, [demo_folder], ["--log-in"])
    site.run("store", "init", "--store", str(site.store))
    made = Team(site)
    for _ in _served(site):
        yield made


@pytest.fixture
def open_window(browser: Any, request: pytest.FixtureRequest) -> Iterator[OpenWindow]:
    """Opens windows, each with an empty profile: `open_window(site, width=390)`. A fault in any of them fails the test."""
    opened: list[Window] = []
    request.node.stash[_OPENED] = opened

    def open_one(site: Site | str, width: int = 1280, height: int = 900, **options: Any) -> Window:
        address = site if isinstance(site, str) else site.address
        window = Window(browser, address, width, height, **options)
        opened.append(window)
        return window

    yield open_one
    faults = [fault for window in opened for fault in window.unexpected()]
    for window in opened:
        window.close()
    assert not faults, "\n".join(faults)


def _served(site: Site) -> Iterator[Site]:
    try:
        site.start()
        yield site
    finally:
        site.stop()
        print(site.said, file=sys.stderr)
