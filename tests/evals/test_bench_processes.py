"""Workers of the benchmark: what one of them does never harms the others, and none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.evals.bench_acts import Acts
from tracescribe.evals.benchmark.processes import MAX_MESSAGE_BYTES, Outcome, WorkerPool
from tracescribe.evals.benchmark.worker_life import descendants
from tracescribe.tracer.errors import WorkError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers import the tests' own modules."""
    monkeypatch.syspath_prepend(str(ROOT))


def run_all(pool: WorkerPool, tasks: list[tuple[object, object]], limit: float | None = 300.0) -> dict[int, Outcome]:
    waiting, found = list(enumerate(tasks)), dict[int, Outcome]()
    while len(found) < len(tasks):
        while waiting and pool.free:
            number, task = waiting.pop(0)
            pool.give(number, task, limit)
        for outcome in pool.wait():
            found[outcome.key] = outcome
    return found


def is_gone(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_until_gone(*pids: int) -> None:
    end = time.monotonic() + 300
    while not all(is_gone(pid) for pid in pids):
        assert time.monotonic() < end, f"{pids} are still there"
        time.sleep(0.05)


def test_a_worker_that_misbehaves_loses_its_task_and_no_other() -> None:
    tasks: list[tuple[object, object]] = [
        ("echo", 1),
        ("exit", 3),
        ("kill", 0),
        ("raise", "told 3 s"),
        ("bug", "two\nlines"),
        ("flood", 2 * MAX_MESSAGE_BYTES),
        ("print", 1 << 20),
        ("echo", 2),
    ]
    with WorkerPool(2, Acts()) as pool:
        found = run_all(pool, tasks)
        assert pool.busy == 0
    kinds = [found[number].kind for number in range(len(tasks))]
    assert kinds == ["answer", "died", "died", "error", "error", "flood", "answer", "answer"]
    assert (found[0].answer["said"], found[7].answer["said"]) == (1, 2)
    assert "exit code 3" in found[1].message
    assert "signal SIGKILL" in found[2].message
    assert found[3].answer["failure_kind"] == "dishonest cost" and found[3].message == "told 3 s"
    assert found[4].message.startswith("ValueError: two lines (bench_acts.py, line ")


def test_a_task_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    with WorkerPool(1, Acts()) as pool:
        pids = tmp_path / "pids"
        for limit in (1.0, 10.0, 100.0):  # until it came as far as to start something
            found = run_all(pool, [("child", str(pids))], limit=limit)
            assert (found[0].kind, found[0].seconds >= limit) == ("timeout", True)
            if pids.exists() and pids.read_text():
                break
        wait_until_gone(*map(int, pids.read_text().split()))
        assert run_all(pool, [("echo", 5)])[0].answer["said"] == 5


def test_leaving_the_pool_ends_workers_that_are_busy(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), WorkerPool(1, Acts()) as pool:
        pool.give(0, ("child", str(tmp_path / "pids")), None)
        while not (tmp_path / "pids").exists() or not (tmp_path / "pids").read_text():
            pool.wait(0.05)
        raise KeyboardInterrupt
    wait_until_gone(*map(int, (tmp_path / "pids").read_text().split()))


def test_workers_and_what_they_started_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.evals.bench_acts import Acts\n"
        "from tracescribe.evals.benchmark.processes import WorkerPool\n"
        "if __name__ == '__main__':\n"
        "    with WorkerPool(1, Acts()) as pool:\n"
        f"        pool.give(0, ('child', {str(tmp_path / 'pids')!r}), None)\n"
        "        pool.wait()\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)])
    end = time.monotonic() + 300
    while not (tmp_path / "pids").exists() or not (tmp_path / "pids").read_text():
        assert time.monotonic() < end and parent.poll() is None
        time.sleep(0.05)
    worker, child = map(int, (tmp_path / "pids").read_text().split())
    assert {worker, child} <= set(descendants(parent.pid))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_until_gone(worker, child)


class Unborn:
    """A handler that ends its process while it is unpickled."""

    def __call__(self, task: object, started: object) -> dict[str, object]:
        return {}

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (9,)


def test_workers_that_never_come_up_end_the_run() -> None:
    with pytest.raises(WorkError, match="worker process"), WorkerPool(1, Unborn()) as pool:
        run_all(pool, [("echo", number) for number in range(9)])


def test_a_worker_that_ends_with_its_task_unread_has_died_even_if_the_system_still_shows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with WorkerPool(1, Unborn()) as pool:
        pool.give("one", "task", None)
        (worker,) = pool._workers
        monkeypatch.setattr(worker.process, "is_alive", lambda: True)

        def reset(limit: int) -> bytes:
            raise ConnectionResetError(104, "Connection reset by peer")

        monkeypatch.setattr(worker.pipe, "recv_bytes", reset)
        (outcome,) = pool.wait()
        assert (outcome.kind, outcome.key) == ("died", "one")
