"""What goes wrong at the provider: errors for a while or for good, silence, a refused key, too many requests, no money."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping

import pytest
from sqlalchemy import select

from tests.batch.job_site import Site, prompts, wait_until
from tests.batch.outcome import check_calls, check_cases, check_files, check_results, look
from tests.batch.weather import Mood, Weather, weather
from tracescribe.runs.store.tables import cases, jobs

pytestmark = pytest.mark.batch

Results = Mapping[str, Mapping[str, bytes]]
CASES = 10


@pytest.fixture(scope="module")
def provider() -> Iterator[Weather]:
    with weather() as made:
        yield made


@pytest.fixture(autouse=True)
def calm(provider: Weather) -> Iterator[None]:
    """Every test begins and ends with a provider that is up."""
    provider.turn("up")
    yield
    provider.turn("up")


@pytest.fixture(scope="module")
def asked_results(provider: Weather, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Results of the job when the provider is up all the time."""
    folder = tmp_path_factory.mktemp("asked")
    made = Site(folder, str(folder / "store"))
    try:
        made.run("jobs", "run", str(made.write_job(provider.server, prompts(CASES))), "--yes")
    finally:
        made.kill_all()
    return look(made).results(look(made).job_id())


def check_whole(site: Site, provider: Weather, before: Counter[str], expected: Results) -> None:
    """Done as if nothing had happened."""
    wait_until(lambda: not site.processes(), "no process outlives its job")
    found = look(site)
    check_cases(found, found.job_id(), CASES)
    check_files(found)
    check_results(found.results(found.job_id()), expected)
    site.run("audit", "verify")


SILENCE = 3.0
"""Seconds that a request is kept waiting."""


@pytest.mark.parametrize("mood", ["failing", "busy", "silent"])
def test_trouble_for_a_while(site: Site, provider: Weather, asked_results: Results, mood: Mood) -> None:
    """The job waits and goes on: nobody is needed."""
    before = Counter(provider.server.sent)
    site.run("jobs", "submit", str(site.write_job(provider.server, prompts(CASES))), "--yes")
    provider.turn_once(lambda: look(site).finished() >= 2, mood, calm_after=4)
    job = site.start("jobs", "resume", "last", "--yes")
    if mood == "silent":
        # how many a moment has in flight depends on where the workers are: one is enough to be kept waiting
        wait_until(lambda: provider.calm_after in (3, 2, 1, 0), "a request came in", by=job)
        time.sleep(SILENCE)
        provider.turn("up")
    assert job.wait() == 0, job.text
    check_whole(site, provider, before, asked_results)


@pytest.mark.parametrize("mood", ["failing", "refusing"])
def test_trouble_that_stays(site: Site, provider: Weather, asked_results: Results, mood: Mood) -> None:
    """The job stops and says why; no report is made without the language model; afterwards it goes on."""
    before = Counter(provider.server.sent)
    site.run("jobs", "submit", str(site.write_job(provider.server, prompts(CASES))), "--yes")
    provider.turn_once(lambda: look(site).finished() >= 2, mood)
    job = site.start("jobs", "resume", "last", "--yes")
    assert job.wait() == 1, job.text
    assert "Traceback" not in job.text
    (row,) = look(site).rows(select(jobs))
    assert row["status"] == "stopped" and row["message"]
    kinds = Counter(row["failure_kind"] for row in look(site).rows(select(cases)) if row["status"] == "failed")
    assert set(kinds) <= {"provider"}
    provider.turn("up")
    if kinds:
        site.run("jobs", "retry", "last", "--failed-kind", "provider")
    site.run("jobs", "resume", "last", "--yes")
    check_whole(site, provider, before, asked_results)


def test_money_is_a_hard_limit(site: Site, provider: Weather) -> None:
    """Workers together never pass the job's limit; with a higher one it goes on, and nothing is paid for twice."""
    before = Counter(provider.server.sent)
    spec = f"openai-compatible:{provider.server.url('openai')}#fake-1"
    agent = {"spec": spec, "style": "pipeline", "max_rounds": 0, "price_input": 20.0, "price_output": 100.0}
    budget = {"case": {"experiments": 2, "usd": 2.0}, "job": {"usd": 2.1}}
    job = site.write_job(provider.server, prompts(CASES), agent=agent, budget=budget)
    said = site.run("jobs", "run", str(job), "--yes", status=1)
    assert "max-usd" in said
    (row,) = look(site).rows(select(jobs))
    assert row["status"] == "stopped"
    rows = look(site).rows(select(cases))
    assert 0 < sum(row["paid_usd"] for row in rows) <= 2.1
    assert {row["status"] for row in rows} == {"done", "waiting"}
    assert sum(row["reserved_usd"] for row in rows) == 0.0
    site.run("jobs", "resume", "last", "--max-usd", "100", "--yes")
    found = look(site)
    check_cases(found, found.job_id(), CASES)
    check_calls(found, provider.server.sent - before, 0)
    paid = sum(row["paid_usd"] for row in found.rows(select(cases)))
    assert paid == pytest.approx(sum((provider.server.sent - before).values()) * (120 * 20.0 + 30 * 100.0) / 1e6)
