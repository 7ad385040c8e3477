"""Who counts as dead: by beats that stand still while somebody looks, or by a process that is gone; never by a clock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tracescribe.runs.executors import leases
from tracescribe.runs.executors.liveness import Observer, WorkerWatch, beat, new_worker_id, register, standing
from tracescribe.runs.executors.process_identity import ProcessIdentity, identify
from tracescribe.runs.store.database import Store


@contextmanager
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing until it is ended."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class SteadyClock:
    """Steady seconds that pass when they are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("tracescribe.runs.executors.liveness.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SteadyClock:
    """The observers' clock."""
    return SteadyClock(monkeypatch)


def elsewhere() -> ProcessIdentity:
    """A process of another machine."""
    return replace(identify(), host="elsewhere", boot_id="another")


def supervised(store: Store, *, process: ProcessIdentity | None = None) -> tuple[str, str]:
    """A supervisor of this process, and its worker."""
    supervisor, worker = new_worker_id("supervisor"), new_worker_id()
    register(store, supervisor, job_id="job", kind="supervisor")
    register(store, worker, job_id="job", supervisor_id=supervisor, process=process)
    return supervisor, worker


def found(observer: Observer) -> list[str]:
    """Whom an observer finds dead."""
    return [row.worker_id for row in observer.look()]


def test_a_process_is_gone_when_it_ended_or_only_its_remains_are_left() -> None:
    with sleeper() as process:
        who = identify(process.pid)
        assert who.is_gone() is False
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has fetched it
        assert who.is_gone() is True
    assert who.is_gone() is True
    assert replace(identify(), started=identify().started + 1).is_gone() is True  # its id was given out again
    assert elsewhere().is_gone() is None


def test_a_killed_process_is_found_at_once(store: Store) -> None:
    with sleeper() as process:
        supervisor, worker = supervised(store, process=identify(process.pid))
        observer = Observer(store, supervisor)
        assert found(observer) == []
        assert standing(store, worker) == "alive"
        process.kill()
        process.wait()
        assert standing(store, worker) == "dead"
        assert WorkerWatch(store).is_dead(worker)
        assert found(observer) == [worker]
        leases.declare_dead(store, worker, crashed=False)
        assert found(observer) == []


def test_a_beat_that_stands_still_is_a_death_and_one_that_goes_on_is_none(store: Store, clock: SteadyClock) -> None:
    supervisor, worker = supervised(store, process=elsewhere())
    other = new_worker_id()
    register(store, other, job_id="job", supervisor_id=supervisor, process=elsewhere())
    observer, watch = Observer(store, supervisor), WorkerWatch(store)
    for second in range(0, 20, 2):
        assert found(observer) == []
        assert not watch.is_dead(worker)
        clock.now += 2
        if second < 16:
            beat(store, other)
    assert found(observer) == [worker]
    assert watch.is_dead(worker)
    assert not watch.is_dead(other)
    # it woke up in between: what was found is not true any more
    beat(store, worker)
    assert leases.declare_dead(store, worker, crashed=True, beat=0) == 0
    assert standing(store, worker) == "alive"


def test_time_in_which_nobody_could_look_hardly_counts(store: Store, clock: SteadyClock) -> None:
    """A server that was away for an hour, or a laptop that slept, kills no worker."""
    supervisor, worker = supervised(store, process=elsewhere())
    observer, watch = Observer(store, supervisor), WorkerWatch(store)
    for _ in range(10):
        assert found(observer) == []
        assert not watch.is_dead(worker)
        clock.now += 3600
    assert found(observer) == [worker]


def test_a_store_that_stops_everybodys_beat_makes_nobody_dead(store: Store, clock: SteadyClock) -> None:
    """Whoever waits for a worker only looks; the worker's beat tells nothing while all others stand still too."""
    _, worker = supervised(store, process=elsewhere())
    other = new_worker_id()
    register(store, other, job_id="job", process=elsewhere())
    watch = WorkerWatch(store)
    for _ in range(100):
        assert not watch.is_dead(worker)
        clock.now += 1
    for _ in range(20):
        assert not watch.is_dead(worker) or clock.now > 1118
        beat(store, other)
        clock.now += 1
    beat(store, other)
    assert watch.is_dead(worker)


def test_a_living_process_of_this_machine_is_left_to_its_supervisor(store: Store, clock: SteadyClock) -> None:
    supervisor, worker = supervised(store)
    watch = WorkerWatch(store)
    for _ in range(30):
        beat(store, supervisor)
        clock.now += 2
        assert not watch.is_dead(worker)
    leases.declare_dead(store, worker, crashed=False)
    assert watch.is_dead(worker)


def test_clocks_that_people_set_change_nothing(
    store: Store, clock: SteadyClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps = iter([9e9, 0.0, -1e6, 1.7e9] * 20)
    monkeypatch.setattr("tracescribe.runs.executors.liveness.time.time", lambda: next(jumps))
    supervisor, worker = supervised(store, process=elsewhere())
    observer = Observer(store, supervisor)
    for _ in range(30):
        beat(store, worker)
        clock.now += 4
        assert found(observer) == []


def test_another_supervisors_workers_are_its_own_business_while_it_lives(store: Store, clock: SteadyClock) -> None:
    with sleeper() as process:
        theirs = new_worker_id("supervisor")
        register(store, theirs, job_id="job", kind="supervisor", process=identify(process.pid))
        dead = new_worker_id()
        register(store, dead, job_id="job", supervisor_id=theirs, process=replace(identify(), started=1))
        mine = new_worker_id("supervisor")
        register(store, mine, job_id="job", kind="supervisor")
        observer = Observer(store, mine)
        assert found(observer) == []
        process.kill()
        process.wait()
        assert set(found(observer)) == {theirs, dead}


def test_a_supervisor_that_was_held_for_dead_comes_back(store: Store) -> None:
    supervisor, _ = supervised(store)
    leases.declare_dead(store, supervisor, crashed=False)
    assert standing(store, supervisor) == "dead"
    Observer(store, supervisor).look()
    assert standing(store, supervisor) == "alive"


def test_nobody_waits_for_a_worker_that_left_or_never_was(store: Store) -> None:
    _, worker = supervised(store)
    watch = WorkerWatch(store)
    assert not watch.is_dead(worker)
    leases.leave(store, worker)
    assert watch.is_dead(worker)
    assert watch.is_dead("w-unknown")
    assert standing(store, "w-unknown") == "unknown"
    assert beat(store, worker) == (False, None)


def test_the_machines_start_is_part_of_the_name() -> None:
    who = identify()
    assert who.pid == os.getpid()
    assert who.boot_id
    assert 0 < who.started
    assert who == identify()
    assert time.time() > 0
