"""Artefacts under any order of events: no file is lost that somebody counts on, and none is left that nobody does."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from sqlalchemy import select

from tests.runs.store.rows import add_case, add_worker
from tracescribe.runs.store.artefacts import Artefact
from tracescribe.runs.store.collecting import collect
from tracescribe.runs.store.database import Store, StoreAddress, open_store, parse_address
from tracescribe.runs.store.errors import ArtefactMissingError
from tracescribe.runs.store.tables import artefact_uses

PATIENCE = 600.0
"""Seconds after which what must happen is given up."""
CONTENTS = [bytes([65 + n]) * (n + 1) for n in range(4)]


class ArtefactLife(RuleBasedStateMachine):
    """Workers put, keep, give up and die in any order while sweeps and collections come in between."""

    puts = Bundle("puts")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = open_store(parse_address(self.folder.name), create=True)
        self.workers = 0
        self.attempts = 0
        self.alive: set[str] = set()
        self.kept: dict[str, set[str]] = {}
        for n in range(3):
            add_case(self.store, f"c{n}")

    @rule(target=puts, case=st.sampled_from(["c0", "c1", "c2"]), chosen=st.sets(st.sampled_from(CONTENTS), min_size=1))
    def put(self, case: str, chosen: set[bytes]) -> tuple[str, str, int, dict[str, str]]:
        """A new worker begins an attempt and writes its files."""
        self.attempts += 1
        worker_id = f"w{self.attempts}"
        add_worker(self.store, worker_id)
        self.alive.add(worker_id)
        every = [Artefact(f"{len(content)}", "page", content) for content in sorted(chosen)]
        names = self.store.artefacts.put_all(self.store, worker_id, case, self.attempts, every)
        return worker_id, case, self.attempts, names

    @rule(put=puts)
    def keep(self, put: tuple[str, str, int, dict[str, str]]) -> None:
        """Finish the case, if nobody swept what was put: which happens to dead workers only."""
        worker_id, case, attempt, names = put
        try:
            self.store.write(lambda connection: self.store.artefacts.keep(connection, case, attempt, names))
        except ArtefactMissingError:
            assert worker_id not in self.alive
            return
        self.kept.setdefault(case, set()).update(names)

    @rule(put=puts)
    def die(self, put: tuple[str, str, int, dict[str, str]]) -> None:
        """The worker of an attempt dies."""
        self.alive.discard(put[0])
        add_worker(self.store, put[0], status="dead")

    @rule(put=puts)
    def abandon(self, put: tuple[str, str, int, dict[str, str]]) -> None:
        """The worker of an attempt gives it up."""
        self.alive.discard(put[0])
        self.store.artefacts.abandon(self.store, put[1], put[2])

    @rule()
    def sweep(self) -> None:
        """What a run does at its beginning and end."""
        self.store.artefacts.sweep(self.store)

    @rule()
    def collect(self) -> None:
        """What `store gc` does."""
        collect(self.store)

    @invariant()
    def what_is_kept_can_be_read(self) -> None:
        """For every case and name."""
        for case, names in self.kept.items():
            assert names <= set(uses(self.store, case))
        for sha256 in uses(self.store).values():
            assert hashlib.sha256(self.store.artefacts.read(sha256)).hexdigest() == sha256

    def teardown(self) -> None:
        """When all are dead, a sweep leaves what is kept, and nothing else."""
        for worker_id in self.alive:
            add_worker(self.store, worker_id, status="dead")
        self.store.artefacts.sweep(self.store)
        assert_nothing_else_is_left(self.store)
        self.store.close()
        self.folder.cleanup()


TestArtefactLife = ArtefactLife.TestCase
TestArtefactLife.settings = hypothesis_settings(max_examples=5, stateful_step_count=15, deadline=None, derandomize=True)


def uses(store: Store, case_id: str | None = None) -> dict[str, str]:
    """SHA-256 by name, of one case or by `case/name` of all."""
    query = select(artefact_uses)
    rows = store.read(lambda connection: connection.execute(query).all())
    if case_id is None:
        return {f"{row.case_id}/{row.name}": row.sha256 for row in rows}
    return {row.name: row.sha256 for row in rows if row.case_id == case_id}


def assert_nothing_else_is_left(store: Store) -> None:
    """Every file is somebody's result, and every result is there."""
    used = set(uses(store).values())
    files = {"".join(path.parts[-2:]) for path in Path(store.artefacts.location).rglob("*") if path.is_file()}
    assert files == used
    for sha256 in used:
        store.artefacts.read(sha256)


WORKER = """
import random, sys, time
from sqlalchemy import update
from tests.runs.store.rows import add_worker
from tracescribe.runs.store.artefacts import Artefact
from tracescribe.runs.store.database import open_store, parse_address
worker_id, seed = sys.argv[3], int(sys.argv[4])
draw = random.Random(seed)
store = open_store(parse_address(sys.argv[1], artefacts=sys.argv[2]))
add_worker(store, worker_id)
print("ready", flush=True)
attempt = 1000 * seed
while True:
    attempt += 1
    case = f"c{draw.randrange(4)}"
    every = [Artefact(f"n{k}", "page", bytes([65 + k]) * (1000 + k)) for k in draw.sample(range(8), 3)]
    names = store.artefacts.put_all(store, worker_id, case, attempt, every)
    if draw.random() < 0.3:
        store.artefacts.abandon(store, case, attempt)
    else:
        store.write(lambda connection: store.artefacts.keep(connection, case, attempt, names))
    if draw.random() < 0.2 and case != "c0":  # as if the case were tried again; c0 keeps what it has
        from sqlalchemy import delete
        from tracescribe.runs.store.tables import artefact_uses
        store.write(lambda connection: connection.execute(delete(artefact_uses).where(artefact_uses.c.case_id == case)))
"""
SWEEPER = """
import sys
from tracescribe.runs.store.collecting import collect
from tracescribe.runs.store.database import open_store, parse_address
store = open_store(parse_address(sys.argv[1], artefacts=sys.argv[2]))
print("ready", flush=True)
while True:
    collect(store)
"""


@pytest.mark.batch
def test_processes_that_put_and_sweep_and_are_killed_lose_and_leave_nothing(
    address: StoreAddress, store: Store
) -> None:
    for n in range(4):
        add_case(store, f"c{n}")
    draw = random.Random(7)
    url = address.url.replace("+psycopg", "")

    def start(code: str, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", code, url, store.artefacts.location, *more]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ))
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", process.communicate()
        return process

    def end(process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGKILL)
        _, told = process.communicate()
        assert process.returncode == -signal.SIGKILL, told.decode()

    sweeper = start(SWEEPER)
    try:
        for number in range(1, 13):
            worker = start(WORKER, f"w{number}", str(number))
            try:
                # at random moments, but not all of them before anything was kept: that would show nothing
                time.sleep(draw.uniform(0.1, 0.6))
                until = time.monotonic() + PATIENCE
                while worker.poll() is None and not uses(store, "c0"):
                    assert time.monotonic() < until, "nobody keeps anything"
                    time.sleep(0.05)
            finally:
                end(worker)
            add_worker(store, f"w{number}", status="dead")
            if number % 4 == 0:
                end(sweeper)
                sweeper = start(SWEEPER)
    finally:
        end(sweeper)
    store.artefacts.sweep(store)
    assert uses(store, "c0")
    assert_nothing_else_is_left(store)
