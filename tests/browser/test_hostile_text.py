"""A hundred hostile texts in every field that takes text: none becomes markup, none runs, with and without the policy."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import OpenWindow
from tests.browser.hostile_evidence import write_hostile_evidence
from tests.browser.hostile_report import KEPT, hostile_fields_of, text_fields, write_hostile_folder
from tests.browser.payloads import PAYLOADS, texts
from tests.browser.reviewer import Reviewer
from tests.browser.site import Site
from tests.browser.tripwire import arm, come_to_rest, injected
from tracescribe.agents.report import CircuitReport

PARTS = 10
TARGETS = ("report", "supernode:s1", "claim:c1", "label:2/55", "edge:s2>s1")
SAID_CHARACTERS, SAID_LINES = 195, 3
"""What the message of a failure keeps of what an agent wrote last: of each line, and how many lines."""
AGENT = """import pathlib, sys
for place, said in enumerate({said!r}):
    try:
        (pathlib.Path({folder!r}) / f"said-{{place}}").touch(exist_ok=False)
    except FileExistsError:
        continue  # another case has said it
    sys.exit("\\n".join(said))
"""
OF_SENTENCES = {"SourcedNumber.text": "the number as the sentence writes it"}
WHOLE_MESSAGES = "all => all.map(one => [...one.querySelectorAll('bdi')].at(-1).textContent).join(' ')"


def _turned(by: int) -> Sequence[str]:
    """All payloads in ten long texts, beginning with another one: what a field gets in each of the ten reports."""
    parts = texts(PARTS)
    return [*parts[by:], *parts[:by]]


@pytest.fixture(scope="module")
def hostile_folders(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Ten reports, so that every field has had every payload, and one for a comparison; half of them name the server's weights and evidence."""
    folder = tmp_path_factory.mktemp("hostile")
    kinds = [(by, by % 2 == 1) for by in range(PARTS)]
    kinds.append((0, True))  # another report on the first one's prompt, to be compared with it
    return [
        write_hostile_folder(demo_folder, folder / f"<b onclick=__xss()>{place}", _turned(by), weights=weights)[0]
        for place, (by, weights) in enumerate(kinds)
    ]


@pytest.fixture(scope="module")
def hostile_site(hostile_folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with the ten reports, whose evidence is hostile too."""
    folder = tmp_path_factory.mktemp("site")
    evidence = write_hostile_evidence(folder / "evidence", texts(PARTS))
    site = Site(folder, hostile_folders, ["--evidence", str(evidence)])
    _fail_a_job(site)
    try:
        site.start()
        yield site
    finally:
        site.stop()


def _last_words() -> list[list[str]]:
    """All payloads, as many to a line and lines to a case as the message of a failed agent holds of what it said last."""
    lines: list[str] = []
    for payload in PAYLOADS:
        if not lines or len(lines[-1]) + 1 + len(payload) > SAID_CHARACTERS:
            lines.append(payload)
        else:
            lines[-1] += f" {payload}"
    cases: list[list[str]] = [[]]
    for line in lines:
        if len("\n".join([*cases[-1], line]).splitlines()) > SAID_LINES:  # some payloads hold what ends a line
            cases.append([])
        cases[-1].append(line)
    return cases


def _fail_a_job(site: Site) -> None:
    """A job with a hostile name, whose agent fails in every case and says something hostile, in each something else."""
    said = _last_words()
    agent = site.folder / "agent.py"
    agent.write_text(AGENT.format(said=said, folder=str(site.folder)), encoding="utf-8")
    job = {
        "name": PAYLOADS[0],
        "prompts": {"inline": ["the opposite of hot is"]},
        "seeds": list(range(len(said))),
        "agent": {"spec": f"exec:{sys.executable} {agent}"},
    }
    file = site.folder / "job.json"
    file.write_text(json.dumps(job), encoding="utf-8")
    site.run("jobs", "run", str(file), "--store", str(site.store), status=1)  # no case is done


def test_every_field_of_a_report_that_takes_text_is_hostile(demo_folder: Path, tmp_path: Path) -> None:
    _, report = write_hostile_folder(demo_folder, tmp_path / "hostile", _turned(0))
    left = set(text_fields(CircuitReport)) - hostile_fields_of(report) - set(OF_SENTENCES)
    assert {name for name in left if name.partition(".")[2] not in KEPT} == set()


@pytest.mark.parametrize("by", range(PARTS))
def test_reports_stay_text(by: int, hostile_site: Site, open_window: OpenWindow) -> None:
    row = hostile_site.cases()[by]
    case = row["case_id"]
    window = open_window(hostile_site, bypass_csp=True)
    arm(window)
    _read(window.page, case)
    strict = open_window(hostile_site)  # a violation of the policy is a fault of the window
    strict.page.goto(f"/reports/{case}", wait_until="networkidle")
    assert "__xss" in strict.page.locator("main").inner_text(), "the texts are shown"


def _read(page: Any, case: str) -> None:
    """Look at a report as a reviewer does: circuit, graph, inspector, claims, gold, opened folds."""
    for path in (f"/reports/{case}", f"/reports/{case}?view=graph"):
        page.goto(path)
        page.locator("#report[data-ready]").wait_for()
        page.evaluate("() => document.querySelectorAll('details').forEach(one => { one.open = true; })")
        for target in ("supernode:s1", "feature:2/55", "claim:c1", "node:2_55_8", "edge:s2>s1", "sentence:1"):
            come_to_rest(page, target)
            assert injected(page) == [], target
    page.goto(f"/reports/{case}/gold")
    come_to_rest(page)
    assert injected(page) == []


def test_lists_and_comparisons_stay_text(hostile_site: Site, open_window: OpenWindow) -> None:
    rows = hostile_site.cases()
    window = open_window(hostile_site, bypass_csp=True)
    arm(window)
    asked = [row["prompt"] for row in rows]
    a, b = (row["case_id"] for row in rows if asked.count(row["prompt"]) == 2)
    other = next(row["case_id"] for row in rows if asked.count(row["prompt"]) == 1)
    window.allow("status of 422")  # of the two that are on different prompts
    jobs = window.context.request.get("/api/jobs").json()["jobs"]
    failed = next(job["job_id"] for job in jobs if job["name"] == PAYLOADS[0])
    for path in (
        f"/jobs/{failed}",
        "/reports?per_page=100",
        f"/compare?a={a}&b={b}",
        f"/compare?a={a}&b={other}",
        f"/compare?a={a}",
        "/jobs",
        f"/jobs/{rows[0]['job_id']}",
        "/audit",
    ):
        window.page.goto(path, wait_until="networkidle")
        come_to_rest(window.page)
        assert injected(window.page) == [], path
        if path == f"/jobs/{failed}":
            # of a long message the last part is the whole of it
            shown = window.page.locator(".job-failure").evaluate_all(WHOLE_MESSAGES)
            assert shown.count("xss") == "".join(PAYLOADS).count("xss"), "every text is in the message of a failure"
    strict = open_window(hostile_site)
    strict.page.goto("/reports", wait_until="networkidle")


@pytest.mark.parametrize("field", ["q", "model", "agent", "verdict", "status", "sort", "page", "a", "next"])
def test_what_stands_in_an_address_stays_text(field: str, hostile_site: Site, open_window: OpenWindow) -> None:
    window = open_window(hostile_site, bypass_csp=True)
    window.allow(r"status of 4\d\d")
    arm(window)
    path = {"a": "/compare", "next": "/log-in"}.get(field, "/reports")
    for text in texts(PARTS):
        window.page.goto(f"{path}?{field}={_quoted(text)}")
        come_to_rest(window.page)
        assert injected(window.page) == [], text
    window.page.goto(f"/{_quoted(PAYLOADS[0])}")
    come_to_rest(window.page)
    assert injected(window.page) == []


def test_what_reviewers_write_stays_text(hostile_site: Site, open_window: OpenWindow, tmp_path: Path) -> None:
    case = hostile_site.cases()[0]["case_id"]
    with Reviewer(hostile_site.address, case) as reviewer:
        _write(reviewer, open_window, hostile_site, tmp_path)


def _write(reviewer: Reviewer, open_window: OpenWindow, site: Site, folder: Path) -> None:
    """A hundred comments, labels and reasons, looked at in the page and in what is exported."""
    reviewer.look()
    for place, text in enumerate(PAYLOADS):
        reviewer.act_at_last({"kind": "comment", "target": TARGETS[place % len(TARGETS)], "text": text}, why=text)
    window = open_window(site, bypass_csp=True)
    arm(window)
    page = window.page
    for place, text in enumerate(PAYLOADS):
        label = text.strip()[:200]
        act = {"kind": "relabel feature", "layer": 2, "feature": 55, "text": label}
        if place % 2:
            act = {"kind": "rename supernode", "supernode": "s1", "text": label}
        reviewer.act_at_last(act, why=text)
        if place % 10 == 9:
            page.goto("about:blank")  # so that what differs in nothing is loaded anew
            page.goto(f"/reports/{reviewer.case_id}#supernode:s1")
            page.locator("#report[data-ready]").wait_for()
            come_to_rest(page)
            assert injected(page) == [], label
    page.locator("#review-bar").get_by_role("button", name="History").click()
    page.get_by_role("dialog", name=re.compile("^History")).locator("li").first.wait_for()
    assert "__xss" in page.get_by_role("dialog").inner_text()
    assert injected(page) == []
    reviewer.act_at_last({"kind": "close", "status": "accepted"}, why=PAYLOADS[0])
    for name in ("html", "svg", "gold", "neuronpedia"):
        answer = reviewer.http.post(f"{reviewer.path}/export/{name}", params={"review": reviewer.review_id})
        assert answer.status_code == 200, (name, answer.text)
        assert "attachment" in answer.headers["content-disposition"]
        file = folder / f"export.{name if name in ('html', 'svg') else 'json'}"
        file.write_bytes(answer.content)
        alone = open_window("", bypass_csp=True)
        arm(alone)
        alone.page.goto(file.as_uri())
        come_to_rest(alone.page)
        assert injected(alone.page, own=False) == [], name


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")
