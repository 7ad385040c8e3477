"""Jobs on real worker processes: they end, die, hang, fail, are killed, stopped and woken up, and every case is done once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from tests.runs.executors.case_functions import HeldBack, JumpingClock, Mishap, Repeat
from tests.runs.executors.small_jobs import put_job
from tests.runs.executors.test_leases import job_status, rows
from tests.runs.stopping import stop_between_transactions
from tracescribe.runs.executors import leases, local
from tracescribe.runs.executors.contract import CaseFunction
from tracescribe.runs.executors.local_run import run_locally
from tracescribe.runs.executors.local_worker import WorkerOrders
from tracescribe.runs.executors.process_identity import identify
from tracescribe.runs.executors.worker_process import WorkerProcess
from tracescribe.runs.store.database import Store, StoreAddress
from tracescribe.runs.store.errors import StoreFullError
from tracescribe.runs.store.tables import artefact_uses, audit_entries, cases, jobs, workers
from tracescribe.tracer.errors import UnknownIdError

ROOT = Path(__file__).parents[3]
PATIENCE = 900.0
"""Seconds after which what must happen is given up; no test passes or fails by how fast it comes."""


def wait_until(true: Callable[[], Any]) -> Any:
    """What a question gives once it is true."""
    until = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.02)
    return found


def workers_alive(store: Store) -> list[int]:
    """Process ids of workers that count as alive."""
    row = workers.c
    query = select(row.pid).where(row.kind == "worker", row.status == "alive")
    return list(store.read(lambda connection: connection.execute(query).scalars().all()))


def gone_from(store: Store, pid: int) -> Callable[[], bool]:
    """Asks whether a worker counts as alive no more."""
    return lambda: pid not in workers_alive(store)


def holders(store: Store) -> dict[str, int]:
    """Process ids of the workers of running cases."""
    # one look at both: between two, a worker may come and begin a case
    query = select(cases.c.case_id, workers.c.pid).join(workers, workers.c.worker_id == cases.c.worker_id)
    query = query.where(cases.c.status == "running").order_by(cases.c.position)
    return dict(store.read(lambda connection: connection.execute(query).all()))


def assert_all_done_once(store: Store, n_cases: int) -> None:
    """Every case is done, once, with its result; nothing is left over."""
    assert [row.status for row in rows(store).values()] == ["done"] * n_cases
    assert job_status(store) == ("done", None)
    used = store.read(lambda connection: connection.execute(select(artefact_uses)).all())
    assert {row.case_id: store.artefacts.read(row.sha256) for row in used} == {
        key: f"{row.title} 0".encode() for key, row in rows(store).items()
    }
    told = select(func.count()).where(audit_entries.c.act == "report finished")
    assert store.read(lambda connection: connection.execute(told).scalar()) == n_cases
    assert workers_alive(store) == []
    left = [path for path in store.scratch.rglob("*") if path.is_file()] if store.scratch.exists() else []
    assert left == []


def test_two_workers_do_a_job(any_address: StoreAddress, any_store: Store) -> None:
    put_job(any_store, "job", [f"case {number}" for number in range(12)])
    assert run_locally(any_address, "job", Repeat(), workers=2).status == "done"
    assert_all_done_once(any_store, 12)
    assert run_locally(any_address, "job", Repeat(), workers=2).status == "done"  # nothing is done again
    assert_all_done_once(any_store, 12)


def test_mishaps_harm_their_own_case_alone(address: StoreAddress, store: Store, tmp_path: Path) -> None:
    put_job(store, "job", ["good", "die once", "hang", "raise", "die", "fine"], kill_after=5.0, max_crashes=2)
    assert run_locally(address, "job", Mishap(tmp_path), workers=2).status == "done"
    told = {row.title: (row.status, row.failure_kind, row.attempt, row.crashes) for row in rows(store).values()}
    assert told == {
        "good": ("done", None, 1, 0),
        "die once": ("done", None, 2, 1),
        "hang": ("failed", "timeout", 1, 0),
        "raise": ("failed", "error", 1, 0),
        "die": ("failed", "crash", 2, 2),
        "fine": ("done", None, 1, 0),
    }
    message = next(row.failure_message for row in rows(store).values() if row.title == "raise")
    assert "no such word" in message
    assert "sk-abcdef" not in message


def test_a_full_disk_ends_the_run_and_not_the_job(address: StoreAddress, store: Store, tmp_path: Path) -> None:
    put_job(store, "job", ["good", "full", "fine"])
    with pytest.raises(StoreFullError, match="no space is left"):
        run_locally(address, "job", Mishap(tmp_path), workers=1)
    assert job_status(store) == ("running", None)
    assert {row.title: row.status for row in rows(store).values()} == {
        "good": "done",
        "full": "waiting",
        "fine": "waiting",
    }
    assert run_locally(address, "job", Repeat(), workers=1).status == "done"
    assert {row.crashes for row in rows(store).values()} == {0}


def test_a_case_may_stop_the_job_and_goes_back(address: StoreAddress, store: Store, tmp_path: Path) -> None:
    put_job(store, "job", ["good", "stop", "fine"])
    end = run_locally(address, "job", Mishap(tmp_path), workers=1)
    assert (end.status, end.message) == ("stopped", "wrong weights")
    assert [row.status for row in rows(store).values()] == ["done", "waiting", "waiting"]


def test_a_start_that_fails_once_is_tried_again(
    address: StoreAddress, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the template is killed while it loads: the only worker is not there, and the job is not left for that."""
    put_job(store, "job", ["case"])
    starts = list[WorkerOrders]()

    def start(orders: WorkerOrders) -> WorkerProcess:
        starts.append(orders)
        if len(starts) == 1:
            raise EOFError("unexpected EOF")
        return WorkerProcess(orders)

    monkeypatch.setattr(local, "WorkerProcess", start)
    assert run_locally(address, "job", Repeat(), workers=1).status == "done"
    assert len(starts) == 2
    assert_all_done_once(store, 1)


def test_a_template_that_never_says_that_it_is_up_is_not_waited_for_for_ever(
    address: StoreAddress, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a process may not change its own name."""
    put_job(store, "job", ["case"])
    asked = list[float]()

    def is_up() -> bool:
        asked.append(time.monotonic())
        return False

    monkeypatch.setattr(local, "template_is_up", is_up)
    monkeypatch.setattr(local, "LOADING_SECONDS", 0.5)
    assert run_locally(address, "job", Repeat(), workers=1).status == "done"
    assert len(asked) > 1 and asked[-1] - asked[0] >= 0.5
    assert_all_done_once(store, 1)


@pytest.mark.batch
def test_a_template_that_dies_whenever_it_loads_is_told(
    address: StoreAddress, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a library that does not fit the machine: another is started a few times, however long one may load."""
    put_job(store, "job", ["case"])
    begun = tmp_path / "begun"
    monkeypatch.setenv("DIES_OF_LOADING", str(begun))
    code = (
        "from tests.runs.executors.case_functions import DiesOfLoading\n"
        "from tracescribe.runs.executors import local\n"
        "local.LOADING_SECONDS = 1e9\n"
        f"try: run_locally({_told(address)}, 'job', DiesOfLoading(), workers=1)\n"
        "except local.WorkError as error: print(error)"
    )
    with process_of(code, heard=subprocess.PIPE) as run:
        said, _ = run.communicate(timeout=PATIENCE)
    assert said.startswith(b"3 worker processes ended before they were up (the process that they are forked from")
    assert len(begun.read_text().splitlines()) >= local.MAX_STARTS_IN_A_ROW
    assert rows(store)["job.0"].status == "waiting"


def test_an_unknown_job_is_told(address: StoreAddress) -> None:
    with pytest.raises(UnknownIdError, match="no job 'none'"):
        run_locally(address, "none", Repeat())


def test_cancelling_interrupts_running_cases(address: StoreAddress, store: Store) -> None:
    put_job(store, "job", ["long", "longer"])

    def cancel() -> None:
        wait_until(lambda: len(holders(store)) == 2)
        store.write(lambda connection: connection.execute(update(jobs).values(status="cancelled")))

    thread = threading.Thread(target=cancel)
    thread.start()
    assert run_locally(address, "job", Repeat(3600.0), workers=2).status == "cancelled"
    thread.join()
    assert {row.status for row in rows(store).values()} == {"cancelled"}


def _told(address: StoreAddress) -> str:
    return f"StoreAddress({address.url!r}, {address.artefacts!r}, Path({str(address.scratch)!r}))"


@contextmanager
def process_of(code: str, heard: int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own that knows case functions, supervisors and workers; it is ended with the block.

    Args:
        heard: where what it prints goes to.
    """
    imports = (
        "from pathlib import Path; from tests.runs.executors.case_functions import HeldBack, Repeat; "
        "from tracescribe.runs.executors.local_run import run_locally; "
        "from tracescribe.runs.executors.worker import work_on_job; "
        "from tracescribe.runs.store.database import StoreAddress; "
    )
    process = subprocess.Popen([sys.executable, "-c", imports + code], cwd=ROOT, stdout=heard)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def start_run(address: StoreAddress, function: CaseFunction) -> Iterator[subprocess.Popen[bytes]]:
    """A supervisor in a process of its own."""
    with process_of(f"run_locally({_told(address)}, 'job', {function!r}, workers=2)") as process:
        yield process


def go(folder: Path) -> None:
    """Let the cases go on that are held back."""
    (folder / "go").touch()


@pytest.mark.batch
def test_killed_workers_and_supervisors_lose_nothing(
    any_address: StoreAddress, any_store: Store, tmp_path: Path
) -> None:
    """Two cases end before all that is killed, the others do not end before the supervisor is."""
    prompts = [f"free {number}" for number in range(2)] + [f"case {number}" for number in range(6)]
    put_job(any_store, "job", prompts, max_crashes=100)
    with start_run(any_address, HeldBack(str(tmp_path))) as run:
        for _ in range(2):
            pid = wait_until(lambda: next(iter(holders(any_store).values()), None))
            os.kill(pid, signal.SIGKILL)
            wait_until(gone_from(any_store, pid))
        wait_until(lambda: len(holders(any_store)) == 2)
        left = [identify(pid) for pid in workers_alive(any_store)]
        run.kill()
        run.wait()
    wait_until(lambda: all(process.is_gone() for process in left))  # they end with their parent
    assert sum(row.crashes for row in rows(any_store).values()) == 2
    assert run_locally(any_address, "job", Repeat(), workers=2).status == "done"
    # the supervisor's death blames no case
    assert sum(row.crashes for row in rows(any_store).values()) == 2
    assert_all_done_once(any_store, 8)


@contextmanager
def start_worker(address: StoreAddress, function: CaseFunction) -> Iterator[subprocess.Popen[bytes]]:
    """A worker without a supervisor, in a process of its own; it prints why it ended."""
    with process_of(f"print(work_on_job({_told(address)}, 'job', {function!r}).reason)", subprocess.PIPE) as process:
        yield process


@pytest.mark.batch
def test_a_stopped_worker_that_wakes_up_late_cannot_finish(address: StoreAddress, store: Store, tmp_path: Path) -> None:
    """Its case was given to another; what it does afterwards does not count, and it ends."""
    put_job(store, "job", ["case 0"])
    held = HeldBack(str(tmp_path))
    assert address.database_file is not None
    with start_worker(address, held) as late:
        assert wait_until(lambda: holders(store)) == {"job.0": late.pid}
        stop_between_transactions(late.pid, address.database_file)
        first = rows(store)["job.0"]
        assert leases.declare_dead(store, first.worker_id, crashed=False) == 1
        with start_worker(address, held) as other:
            wait_until(lambda: rows(store)["job.0"].attempt == 2)
            late.send_signal(signal.SIGCONT)
            assert late.communicate(timeout=PATIENCE)[0].strip() == b"lost"
            go(tmp_path)
            assert other.communicate(timeout=PATIENCE)[0].strip() == b"ended"
    assert rows(store)["job.0"].worker_id != first.worker_id
    assert rows(store)["job.0"].attempt == 2
    assert_all_done_once(store, 1)


@pytest.mark.batch
def test_a_supervisor_replaces_a_worker_that_was_held_for_dead(
    address: StoreAddress, store: Store, tmp_path: Path
) -> None:
    """It never wakes up again: whoever held it for dead was right, and the job does not wait for it."""
    put_job(store, "job", ["case 0"])
    assert address.database_file is not None
    with start_run(address, HeldBack(str(tmp_path))) as run:
        pid = wait_until(lambda: holders(store))["job.0"]
        stop_between_transactions(pid, address.database_file)
        stopped = identify(pid)
        leases.declare_dead(store, rows(store)["job.0"].worker_id, crashed=False)
        go(tmp_path)
        assert run.wait(PATIENCE) == 0
        assert stopped.is_gone()
    assert_all_done_once(store, 1)


@pytest.mark.batch
def test_clocks_that_jump_by_hours_change_nothing(address: StoreAddress, store: Store) -> None:
    put_job(store, "job", ["case 0", "case 1", "case 2", "case 3"])
    assert run_locally(address, "job", JumpingClock(), workers=2).status == "done"
    assert {row.attempt for row in rows(store).values()} == {1}
    assert_all_done_once(store, 4)


@pytest.mark.batch
def test_the_template_of_workers_may_be_killed_too(address: StoreAddress, store: Store, tmp_path: Path) -> None:
    """Its workers go on; the next one comes from a new template."""
    put_job(store, "job", [f"case {number}" for number in range(8)], max_crashes=100)
    with start_run(address, HeldBack(str(tmp_path))) as run:
        pid = wait_until(lambda: len(holders(store)) == 2 and next(iter(holders(store).values())))
        template = parent_of(pid)
        assert template != run.pid
        os.kill(template, signal.SIGKILL)
        wait_until(lambda: parent_of(pid) != template)
        os.kill(pid, signal.SIGKILL)
        go(tmp_path)
        assert run.wait(PATIENCE) == 0
    assert_all_done_once(store, 8)
    assert sum(row.crashes for row in rows(store).values()) == 1


def parent_of(pid: int) -> int:
    """Process id of a process's parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.batch
def test_ctrl_c_gives_cases_back_at_once(address: StoreAddress, store: Store) -> None:
    put_job(store, "job", ["long", "longer"])
    with start_run(address, Repeat(3600.0)) as run:
        wait_until(lambda: len(holders(store)) == 2)
        run.send_signal(signal.SIGTERM)
        run.wait(PATIENCE)
    assert {row.status for row in rows(store).values()} == {"waiting"}
    assert {row.crashes for row in rows(store).values()} == {0}
    assert workers_alive(store) == []
