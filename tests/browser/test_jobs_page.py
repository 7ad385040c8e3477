"""Pages of jobs while real workers run: figures come by themselves, through kills of worker, job and server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.browser.chromium import Window, intercept
from tests.browser.conftest import Team
from tests.browser.site import PATIENCE, TRACESCRIBE, Site

OpenWindow = Callable[..., Window]
JOB = """
name: watched <b>job</b>
prompts: {gold: oracle, limit: 16}
budget: {case: {experiments: 1}}
"""


JOB_PATIENCE = 5 * PATIENCE
"""As PATIENCE, for what comes of whole cases: on a busy machine one case takes a minute, and there are sixteen."""


@pytest.fixture
def watched(fresh_site: Site) -> Iterator[tuple[Site, str]]:
    """A server, and a job in its store that nobody works on yet."""
    (fresh_site.folder / "job.yaml").write_text(JOB, encoding="utf-8")
    said = fresh_site.run("jobs", "submit", "job.yaml", "--yes", "--store", str(fresh_site.store))
    found = re.search(r"job (\w+) is submitted", said)
    assert found is not None, said
    yield fresh_site, found[1]


@pytest.fixture
def work_on() -> Iterator[Callable[[Site, str], subprocess.Popen[bytes]]]:
    """Runs jobs in processes of their own: `work_on(site, job)`. All of them are gone when the test ends, however it does."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(site: Site, job: str) -> subprocess.Popen[bytes]:
        with (site.folder / "work.txt").open("ab") as output:
            working = subprocess.Popen(
                [*TRACESCRIBE, "jobs", "resume", job, "--store", str(site.store)],
                cwd=site.folder,
                env=site._environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(working)
        return working

    yield begin
    for working in started:
        if working.poll() is None:
            os.killpg(working.pid, signal.SIGKILL)
            working.wait()


def done_cases(site: Site, job: str) -> int:
    """How many cases are done in the store."""
    answer = httpx.get(f"{site.address}/api/jobs/{job}/cases", params={"status": "done"}, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["total"])


def finished(page: Any) -> int:
    """How many cases the page says are finished."""
    found = re.search(r"([\d,]+) of [\d,]+ cases finished", page.locator("#job-now").inner_text())
    assert found is not None
    return int(found[1].replace(",", ""))


def wait_for(what: Callable[[], bool], told: Callable[[], str]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + JOB_PATIENCE
    while not what():
        assert time.monotonic() < end, told()
        time.sleep(0.1)


def test_a_job_is_watched_through_kills_to_its_end(
    watched: tuple[Site, str], open_window: OpenWindow, work_on: Callable[[Site, str], subprocess.Popen[bytes]]
) -> None:
    site, job = watched
    window = open_window(site)
    page = window.page
    page.goto("/jobs")
    page.get_by_role("link", name="watched <b>job</b>").click()
    page.wait_for_url(f"**/jobs/{job}")
    now = page.locator("#job-now")
    now.get_by_text("nobody works on it").wait_for()
    page.locator("#job-link").get_by_text("live").wait_for()

    def told() -> str:
        return f"{now.inner_text()} {(site.folder / 'work.txt').read_text(errors='replace')}"

    # workers come, cases finish, and the page tells without being asked; they are held there, lest they be done too soon
    working = work_on(site, job)
    wait_for(lambda: done_cases(site, job) >= 2, told)
    os.killpg(working.pid, signal.SIGSTOP)
    wait_for(lambda: finished(page) >= 2, told)
    assert now.locator(".job-status").inner_text() == "running"

    # everybody who works on it is killed: the page stays, and tells that nobody works
    os.killpg(working.pid, signal.SIGKILL)
    working.wait()
    before = finished(page)
    assert before < 16

    # the server is killed and comes back at the same address: the page follows again by itself
    window.allow(r"ERR_|Failed to load resource|interrupted")
    port = int(site.address.rpartition(":")[2])
    site.stop(signal.SIGKILL)
    page.locator("#job-link").get_by_text("cannot be reached").wait_for()
    site.start(port)
    again = work_on(site, job)
    wait_for(lambda: now.locator(".job-status").inner_text() == "done", told)
    assert again.wait(PATIENCE) == 0
    assert finished(page) == 16
    page.locator("#job-sums").get_by_text("Claims:").wait_for()
    wait_for(lambda: page.locator("#job-link").inner_text() == "", told)

    # when they finished: in a table, and the same read off the plot. Figures, sums and cases are asked for once more at the
    # end, and each is there when it is there
    told_by_table = page.locator("#job-rate tbody td")
    wait_for(lambda: sum(int(n) for n in told_by_table.all_text_contents()) == 16, told)
    page.locator("#job-rate .u-over").hover()
    wait_for(lambda: " from " in page.locator(".job-rate-read").inner_text(), told)

    # a finished case leads to its report
    reports = page.locator("#job-cases tbody a")
    wait_for(lambda: reports.count() == 16, told)
    reports.first.click()
    page.locator("#report[data-ready]").wait_for()


def test_a_job_that_ends_after_its_last_case_is_told_to_its_end(demo_site: Site, open_window: OpenWindow) -> None:
    page = open_window(demo_site).page
    job = demo_site.cases()[0]["job_id"]
    over = page.request.get(f"/api/jobs/{job}").json()
    # every case is finished, and the job is not over yet
    running = {**over, "over": False, "job": {**over["job"], "status": "running"}}
    sums = page.request.get(f"/api/jobs/{job}/summary").json()
    asked: list[Any] = []

    def sum_up(route: Any) -> None:
        asked.append(route)
        route.fulfill(json={**sums, "final": len(asked) > 1})

    told = "".join(f"event: progress\ndata: {json.dumps(state)}\n\n" for state in (running, over))
    told += "event: end\ndata: {}\n\n"
    intercept(page, "**/events", lambda route: route.fulfill(body=told, content_type="text/event-stream"))
    intercept(page, "**/summary", sum_up)
    page.goto(f"/jobs/{job}")
    page.locator("#job-sums").get_by_text("15 supported").wait_for()
    page.locator("#job-sums").get_by_text("Cases are still missing").wait_for(state="detached")
    assert len(asked) == 2


def test_a_stopping_server_does_not_wait_for_open_streams(watched: tuple[Site, str], open_window: OpenWindow) -> None:
    site, job = watched
    window = open_window(site)
    window.allow(r"ERR_|Failed to load resource|interrupted")
    window.page.goto(f"/jobs/{job}")
    window.page.locator("#job-link").get_by_text("live").wait_for()
    assert site.stop(signal.SIGTERM) in (0, 143, -signal.SIGTERM)


def test_a_viewer_watches_and_sees_no_prompt(team: Team, open_window: OpenWindow) -> None:
    window = open_window(team.site)
    window.log_in(team.tokens["vera"])
    page = window.page
    page.goto("/jobs")
    page.locator(".job-card a").first.click()
    page.locator("#job-now").get_by_text("1 of 1 cases finished").wait_for()
    page.get_by_text("Single cases and their prompts are shown to reviewers").wait_for()
    page.locator("#job-sums").get_by_text("15 supported").wait_for()
    assert "Dallas" not in page.locator("#job").inner_text() and page.locator("#job-cases").count() == 0


def test_the_audit_trail_is_filtered_and_verified(fresh_site: Site, open_window: OpenWindow, tmp_path: Path) -> None:
    window = open_window(fresh_site)
    page = window.page
    case = fresh_site.cases()[0]["case_id"]
    page.goto(f"/reports/{case}")
    page.locator("#report[data-ready]").wait_for()
    page.goto(f"/audit?subject={case}")
    assert "report opened" in page.locator(".audit-table tbody tr").first.inner_text()
    page.get_by_role("button", name="Verify now").click()
    page.locator("#verification").get_by_text("whole").wait_for()
    page.locator(".audit-details summary").first.click()
    assert "somebody read a single report" in page.locator(".audit-details").first.inner_text()
    page.get_by_label("Act").select_option("verdict")
    page.get_by_role("button", name="Find").click()
    page.wait_for_url("**act=verdict**")
    assert page.locator(".audit-table tbody th").all_inner_texts() == ["verdict"] * page.locator("tbody tr").count()
