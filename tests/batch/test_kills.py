"""Two hundred cases, killed with -9 at thirty-two random moments: nothing is lost, doubled, or paid for twice.

Processes, kills, HTTP, databases and files are real; only the language model behind the server is fake. Every job is
compared with one that nobody disturbed. `KILL_TEST_PROMPTS` takes other than fifty prompts (times four seeds), and kills in
proportion, ten at least: the gate takes half, or a fifth where it is slow.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.agents.fake_server import FakeServer, Question, Reply, serving
from tests.agents.fake_thinker import think
from tests.batch.job_site import Site, prompts, wait_until
from tests.batch.killer import Killer, Requests
from tests.batch.outcome import check_calls, check_cases, check_claims, check_files, check_results, look
from tests.runs.postgres_server import PostgresServer
from tests.runs.ray_nodes import RayNodes

pytestmark = pytest.mark.batch

PROMPTS, SEEDS = int(os.environ.get("KILL_TEST_PROMPTS", "50")), (0, 1, 2, 3)
CASES = PROMPTS * len(SEEDS)
KILLS = max(10, 32 * PROMPTS // 50)
LEAST_KILLS = KILLS - 2
"""Of those that are planned: a job may be done before the last ones come."""
DELAY = 0.03
"""Seconds that an answer takes, so that kills find requests in flight."""
IN_FLIGHT = 2 * 2
"""Requests that may be in flight at once: workers times connections."""


@dataclass(eq=False)
class Provider:
    """The fake provider, and the requests that wait at it."""

    server: FakeServer
    requests: Requests


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    requests = Requests()

    def script(question: Question) -> Reply:
        requests.came()
        reply = think(question)
        return Reply(text=reply.text, delay=DELAY)

    with serving(script) as server:
        yield Provider(server, requests)


@pytest.fixture(scope="module")
def undisturbed(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, bytes]]:
    """Results of the job when nobody kills anything; made once."""
    folder = tmp_path_factory.mktemp("undisturbed")
    site = Site(folder, str(folder / "store"))
    before = Counter(provider.server.sent)
    try:
        site.run("jobs", "run", str(site.write_job(provider.server, prompts(PROMPTS), seeds=SEEDS)), "--yes")
    finally:
        site.kill_all()
    found = look(site)
    job_id = found.job_id()
    check_cases(found, job_id, CASES)
    check_files(found)
    kinds = check_calls(found, provider.server.sent - before, 0)
    assert kinds["resent"] == 0
    return found.results(job_id)


def carry_through_kills(site: Site, provider: Provider, whole: Mapping[str, Mapping[str, bytes]]) -> None:
    """Run the job, kill, resume, and check everything that must hold."""
    found = look(site)
    before = Counter(provider.server.sent)
    job = site.write_job(provider.server, prompts(PROMPTS), seeds=SEEDS)
    site.run("jobs", "submit", str(job), "--yes")
    resume = ("jobs", "resume", "last", "--yes")
    killer = Killer(site, provider.requests, found.finished, CASES, KILLS, seed=20)
    killer.carry(site.start(*resume), resume)
    print("\n".join(killer.done.story))  # shown where something fails
    assert LEAST_KILLS <= killer.done.count <= KILLS
    assert len(killer.done.moments) == 4 and len(killer.done.victims) == 3
    wait_until(lambda: not site.processes(), "no process outlives its job")
    job_id = found.job_id()
    check_cases(found, job_id, CASES)
    check_claims(found)
    check_files(found)
    kinds = check_calls(found, provider.server.sent - before, KILLS * IN_FLIGHT)
    assert kinds["resent"] > 0, "no kill met a request in flight: the test shows nothing"
    check_results(found.results(job_id), whole)
    site.run("audit", "verify")
    site.run("store", "check")


def test_sqlite(provider: Provider, undisturbed: Mapping[str, Mapping[str, bytes]], tmp_path: Path) -> None:
    site = Site(tmp_path, str(tmp_path / "store"))
    try:
        carry_through_kills(site, provider, undisturbed)
    finally:
        site.kill_all()


def test_postgresql(
    provider: Provider,
    undisturbed: Mapping[str, Mapping[str, bytes]],
    tmp_path: Path,
    postgres: PostgresServer,
) -> None:
    site = Site(tmp_path, postgres.new_database())
    try:
        carry_through_kills(site, provider, undisturbed)
    finally:
        site.kill_all()


def test_a_node_of_a_ray_cluster_is_killed(
    provider: Provider, undisturbed: Mapping[str, Mapping[str, bytes]], tmp_path: Path
) -> None:
    """The same cases by actors on two nodes, one of which goes in mid-run as a spot machine does, for another to come."""
    pytest.importorskip("ray", reason="the ray extra is not installed")
    site = Site(tmp_path, str(tmp_path / "store"))
    found, before = look(site), Counter(provider.server.sent)
    try:
        with RayNodes(2, environment=site.environment) as nodes:
            executor = {"kind": "ray", "address": nodes.address}
            job = site.write_job(provider.server, prompts(PROMPTS), seeds=SEEDS, executor=executor)
            site.run("jobs", "submit", str(job), "--yes")
            command = site.start("jobs", "resume", "last")
            wait_until(lambda: found.finished() >= CASES // 3, "a third finished", 3600.0, by=command)
            nodes.kill()
            wait_until(lambda: found.finished() >= CASES // 2, "half finished", 3600.0, by=command)
            nodes.add()
            assert command.wait() == 0, command.text
    finally:
        site.kill_all()
    assert not site.processes()
    job_id = found.job_id()
    check_cases(found, job_id, CASES)
    check_files(found)
    check_calls(found, provider.server.sent - before, IN_FLIGHT)
    check_results(found.results(job_id), undisturbed)
    site.run("audit", "verify")
