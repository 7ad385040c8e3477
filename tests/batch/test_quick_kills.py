"""A small job killed with -9 a few times, in every run of the tests: its cases ask, wait and write, but load no model.

The long version, with the product's own cases and its command line, is `test_kills.py`.
"""

from __future__ import annotations

import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert

from tests.agents.fake_server import FakeServer, Question, Reply, serving
from tests.batch.job_site import PATIENCE, Command, Site, kill, wait_until
from tests.batch.outcome import check_calls, check_cases, check_files, look
from tracescribe.runs.jobs.specification import CaseSpecification, JobSpecification, Prompts
from tracescribe.runs.store.database import open_store, parse_address
from tracescribe.runs.store.tables import cases, jobs

CASES = 12
VICTIMS = ("worker", "parent", "worker", "all")
"""Who is killed, one after another."""


class Provider:
    """Answers, but for requests that come when a condition holds: these wait until they may go on.

    The job cannot end while its processes are looked for and killed: it needs an answer first.
    """

    def __init__(self) -> None:
        self.waits = threading.Event()
        self._go_on = threading.Event()
        self._condition: Callable[[], bool] = lambda: False

    def hold(self, condition: Callable[[], bool]) -> None:
        """Let requests wait from now on that come when this holds."""
        self.waits.clear()
        self._go_on.clear()
        self._condition = condition

    def go_on(self) -> None:
        """Answer again, also those that wait."""
        self._condition = lambda: False
        self._go_on.set()

    def answer(self, question: Question) -> Reply:
        """The server's script."""
        if self._condition():
            self.waits.set()
            self._go_on.wait(PATIENCE)
        return Reply(text=f"answer to {question.user}", delay=0.02)


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.go_on()


@pytest.fixture
def server(provider: Provider) -> Iterator[FakeServer]:
    with serving(provider.answer) as made:
        yield made
        provider.go_on()


def test_killed_and_resumed(site: Site, server: FakeServer, provider: Provider) -> None:
    job_id = submit(site, server)
    found, draw = look(site), random.Random(5)
    command = begin(site, job_id, server)
    for number, victim in enumerate(VICTIMS, start=1):
        share = CASES * number // (len(VICTIMS) + 2)
        provider.hold(lambda share=share: found.finished() >= share)  # type: ignore[misc]
        wait_until(provider.waits.is_set, "a request when enough cases are finished", by=command)
        others = [pid for pid in site.processes() if pid != command.pid]
        if victim == "worker":
            assert kill(draw.choice(others))
            provider.go_on()
            continue
        kill(command.pid)
        for pid in others if victim == "all" else []:
            kill(pid)
        provider.go_on()
        assert command.wait() < 0
        wait_until(lambda: not site.processes(), "workers end when their parent was killed")
        command = begin(site, job_id, server)
    assert command.wait() == 0, command.text
    wait_until(lambda: not site.processes(), "no process outlives its job")
    check_cases(found, job_id, CASES)
    check_files(found)
    check_calls(found, server.sent, 2 * len(VICTIMS))
    reports = {files["report.json"] for files in found.results(job_id).values()}
    assert len(reports) == CASES
    assert Counter(text for report in reports for text in [report.count(b"what everybody asks")]) == {1: CASES}


def submit(site: Site, server: FakeServer) -> str:
    """Store the job: rows of its tables, as they are for any other."""
    texts = [f"prompt {number}" for number in range(CASES)]
    job = JobSpecification(name="asking", prompts=Prompts(inline=tuple(texts)))
    made = [
        CaseSpecification(case_id=f"asking.{number}", case_key=f"{number:064d}", title=text, prompt=text)
        for number, text in enumerate(texts)
    ]
    store = open_store(parse_address(site.store), create=True)

    def work(connection: Connection) -> None:
        connection.execute(
            insert(jobs).values(
                job_id="asking",
                name=job.name,
                status="waiting",
                specification=job.model_dump_json(),
                specification_sha256="0" * 64,
                agent="asking",
                model="none",
                n_cases=CASES,
                created_at=0.0,
                created_by="tests",
            )
        )
        rows = [
            {
                "case_id": case.case_id,
                "job_id": "asking",
                "position": number,
                "case_key": case.case_key,
                "title": case.title,
                "specification": case.model_dump_json(),
                "status": "waiting",
            }
            for number, case in enumerate(made)
        ]
        connection.execute(insert(cases), rows)

    store.write(work)
    store.close()
    return "asking"


def begin(site: Site, job_id: str, server: FakeServer) -> Command:
    """Work on it in processes of its own."""
    return site.start_program(
        sys.executable,
        "-m",
        "tests.batch.asking_cases",
        site.store,
        job_id,
        server.url("openai"),
        PYTHONPATH=str(Path(__file__).resolve().parents[2]),
    )
