"""Ctrl-C at the moments where it is easily half done: while a worker is started, twice, and where Python swallows it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.runs.executors import slow_library
from tests.runs.executors.small_jobs import put_job
from tests.runs.executors.test_leases import leased, rows
from tests.runs.executors.test_local_run import ROOT, wait_until
from tracescribe.runs.executors import leases
from tracescribe.runs.executors.interrupts import ended_by_signals, in_haste, stop_if_asked, undisturbed
from tracescribe.runs.executors.liveness import new_worker_id, register, standing
from tracescribe.runs.executors.process_identity import identify
from tracescribe.runs.executors.worker import work_on_job
from tracescribe.runs.store.database import Store, StoreAddress
from tracescribe.runs.store.tables import workers


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """What whoever catches SIGTERM already, such as the command line, heard."""
    told: list[int] = []

    def end(number: int, _: object) -> None:
        told.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    yield told
    signal.signal(signal.SIGTERM, before)


def test_an_interrupt_waits_for_a_block_to_end(heard: list[int]) -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt), ended_by_signals():
        with undisturbed():
            with undisturbed():
                signal.raise_signal(signal.SIGTERM)
                done.append("inner")
            done.append("outer")
        done.append("never")
    assert done == ["inner", "outer"]
    assert heard == [signal.SIGTERM]


def test_a_second_interrupt_makes_haste_and_a_third_ends_everything(heard: list[int]) -> None:
    with ended_by_signals():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert not in_haste()
        signal.raise_signal(signal.SIGTERM)
        assert in_haste()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert heard == [signal.SIGTERM]
    with ended_by_signals():
        assert not in_haste()
        stop_if_asked()  # nobody asked this run


def test_an_interrupt_that_was_swallowed_is_raised_again(heard: list[int]) -> None:
    """As in a callback of the garbage collector, of which Python only tells that it failed."""
    with ended_by_signals():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            pass
        with pytest.raises(KeyboardInterrupt):
            stop_if_asked()
    assert heard == []


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with ended_by_signals():
            signal.raise_signal(signal.SIGINT)
            stop_if_asked()
    finally:
        signal.signal(signal.SIGINT, before)


def test_whoever_leaves_takes_back_what_workers_hold_that_it_has_not_noted(any_store: Store) -> None:
    put_job(any_store, "job", ["case"])
    supervisor, worker = new_worker_id("supervisor"), new_worker_id()
    register(any_store, supervisor, job_id="job", kind="supervisor")
    assert register(any_store, worker, job_id="job", supervisor_id=supervisor)
    lease = leased(any_store, worker)
    leases.leave_with_workers(any_store, supervisor)
    row = rows(any_store)[lease.case_id]
    assert (row.status, row.crashes) == ("waiting", 0)
    assert (standing(any_store, supervisor), standing(any_store, worker)) == ("left", "dead")


def test_a_worker_that_comes_when_its_supervisor_has_left_does_nothing(address: StoreAddress, store: Store) -> None:
    put_job(store, "job", ["case"])
    supervisor = new_worker_id("supervisor")
    register(store, supervisor, job_id="job", kind="supervisor")
    leases.leave_with_workers(store, supervisor)

    def work(*_: object) -> None:
        raise AssertionError("no case may begin")

    late = new_worker_id()
    end = work_on_job(address, "job", work, worker_id=late, supervisor_id=supervisor)  # type: ignore[arg-type]
    assert end.reason == "lost"
    assert standing(store, late) == "unknown"
    assert rows(store)["job.0"].status == "waiting"


@pytest.mark.batch
@pytest.mark.parametrize("stage", [1, 2], ids=["before the first line", "in the middle of a library"])
def test_ctrl_c_of_a_terminal_reaches_the_run_alone(
    address: StoreAddress, store: Store, tmp_path: Path, stage: int
) -> None:
    """The terminal sends it to every process of the call, also to the template, which still loads its libraries: the run
    ends at once, takes the template with it, and is the only one that says anything."""
    put_job(store, "job", ["case"])
    begun = tmp_path / "begun"
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys, runpy\n"
        "if any('forkserver' in argument for argument in sys.orig_argv):\n"
        f"    os.environ['SLOW_TO_LOAD'] = {str(begun)!r}\n"
        f"    if {stage} == 1: runpy.run_path({str(Path(slow_library.__file__))!r})\n"
    )
    code = (
        "from pathlib import Path; from tests.runs.executors.case_functions import SlowToLoad; "
        "from tracescribe.runs.executors.local_run import run_locally; "
        "from tracescribe.runs.store.database import StoreAddress; "
        f"run_locally(StoreAddress({address.url!r}, {address.artefacts!r}, Path({str(address.scratch)!r})), "
        "'job', SlowToLoad(), workers=1)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until(lambda: begun.exists() or process.poll() is not None)
        template = identify(int(begun.read_text()))
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=300)  # nobody lets the library go on
    finally:
        process.kill()
        process.communicate()
    wait_until(lambda: template.is_gone() is True)
    assert process.returncode not in (0, None)
    assert err.count("Traceback") == 1, err  # of the run itself, which nobody catches here
    assert "run_locally" in err
    assert rows(store)["job.0"].status == "waiting"
    assert set(store.read(lambda connection: connection.scalars(select(workers.c.status)).all())) <= {"left", "dead"}
