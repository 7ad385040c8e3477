"""Worker processes that may crash, hang or flood: each holds one task, and what becomes of it never harms the others.

A worker speaks over a pipe of its own, in bounded JSON; nothing that it says is unpickled. A worker that is ended takes
its descendants with it; see `worker_life` for what it does when its parent is gone.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Literal, Self

from tracescribe.evals.benchmark.worker_life import Answer, Handler, descendants, end_processes, work
from tracescribe.tracer.errors import WorkError

MAX_MESSAGE_BYTES = 1 << 20
"""A worker's answer is a few hundred bytes; reports travel as files, which have a limit of their own."""
START_SECONDS = 300.0
"""A worker that is not up after so long on any machine never will be."""
MAX_STARTS_IN_A_ROW = 3
"""Workers that end before they are up: the fault is then not a task's."""
_POLL_SECONDS = 0.5

OutcomeKind = Literal["answer", "error", "died", "timeout", "flood"]


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes:
        key: of the task.
        kind: `answer`; `error` where the handler raised; `died`, `timeout` or `flood` where the worker is gone.
        answer: for `answer`.
        message: for the others, one line.
        seconds: since what the task needs was loaded.
    """

    key: Any
    kind: OutcomeKind
    answer: Answer
    message: str = ""
    seconds: float = 0.0


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    born: float
    up: bool = False
    key: Any = None
    busy: bool = False
    limit: float | None = None
    deadline: float | None = None
    since: float | None = None

    def outcome(self, kind: OutcomeKind, answer: Answer, message: str = "") -> Outcome:
        seconds = 0.0 if self.since is None else time.monotonic() - self.since
        return Outcome(self.key, kind, answer, message, round(seconds, 3))


class WorkerPool:
    """Up to `n` worker processes with one task each.

    Workers start when tasks come. Use it as a context: leaving it ends all workers at once, idle or not.

    Args:
        n: most workers at a time.
        handler: carries out tasks; a picklable object of an importable module.
    """

    def __init__(self, n: int, handler: Handler) -> None:
        self._n = n
        self._handler = handler
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._false_starts = 0

    def __enter__(self) -> Self:
        """The pool itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End all workers."""
        for worker in list(self._workers):
            self._end(worker)

    @property
    def free(self) -> int:
        """Tasks that could be given out now."""
        return self._n - self.busy

    @property
    def busy(self) -> int:
        """Tasks that are being worked on."""
        return sum(worker.busy for worker in self._workers)

    def give(self, key: Any, task: Any, limit: float | None) -> None:
        """Give a task to a free worker, a new one if need be.

        Args:
            limit: seconds that the task may take once what it needs is loaded.
        """
        worker = next((one for one in self._workers if not one.busy), None)
        if worker is not None and not self._send(worker, key, task, limit):
            self._end(worker)  # it died while idle
            worker = None
        if worker is None:
            fresh = self._start()
            if not self._send(fresh, key, task, limit):
                self._end(fresh)
                raise WorkError("a worker process of the benchmark cannot be started; see whether memory is left")

    def wait(self, seconds: float | None = None) -> tuple[Outcome, ...]:
        """Wait until a task is done or lost.

        Args:
            seconds: longest wait; None waits until there is something.

        Raises:
            WorkError: workers end again and again before they are up.
        """
        until = None if seconds is None else time.monotonic() + seconds
        while self.busy:
            found = self._look(min(_POLL_SECONDS, max(0.0, until - time.monotonic())) if until else _POLL_SECONDS)
            if found or (until is not None and time.monotonic() >= until):
                return found
        return ()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe(duplex=True)
        process = self._context.Process(target=work, args=(theirs, self._handler), daemon=False)
        process.start()
        theirs.close()
        worker = _Worker(process, ours, time.monotonic())
        self._workers.append(worker)
        return worker

    @staticmethod
    def _send(worker: _Worker, key: Any, task: Any, limit: float | None) -> bool:
        try:
            worker.pipe.send(task)
        except OSError:
            return False
        worker.key, worker.busy, worker.limit = key, True, limit
        worker.deadline = worker.since = None
        return True

    def _look(self, seconds: float) -> tuple[Outcome, ...]:
        busy = [worker for worker in self._workers if worker.busy]
        ready = set(wait([worker.pipe for worker in busy], timeout=seconds))
        found: list[Outcome] = []
        for worker in busy:
            outcome = self._hear(worker) if worker.pipe in ready else self._late(worker)
            if outcome is not None:
                found.append(outcome)
        return tuple(found)

    def _hear(self, worker: _Worker) -> Outcome | None:
        try:
            message = json.loads(worker.pipe.recv_bytes(MAX_MESSAGE_BYTES))
        except (EOFError, ConnectionError):
            # a reset: it ended with a task unread; it may still be alive for a moment, and is no flood
            return self._dead(worker)
        except (OSError, ValueError):
            # longer than allowed, torn, or no JSON: what follows in this pipe cannot be understood either
            if worker.process.is_alive():
                self._end(worker)
                return worker.outcome("flood", {}, "the worker process wrote what is no answer")
            return self._dead(worker)
        match message.get("at") if isinstance(message, dict) else None:
            case "up":
                worker.up, self._false_starts = True, 0
            case "started":
                worker.since = time.monotonic()
                worker.deadline = None if worker.limit is None else worker.since + worker.limit
            case "answer":
                worker.busy = False
                return worker.outcome("answer", message["answer"])
            case "error":
                worker.busy = False
                return worker.outcome("error", {k: v for k, v in message.items() if k != "at"}, message["message"])
            case _:
                self._end(worker)
                return worker.outcome("flood", {}, "the worker process wrote what is no answer")
        return None

    def _dead(self, worker: _Worker) -> Outcome:
        worker.process.join(5.0)
        code, up = worker.process.exitcode, worker.up
        self._end(worker)
        if not up:
            self._false_starts += 1
            if self._false_starts >= MAX_STARTS_IN_A_ROW:
                raise WorkError(
                    f"{MAX_STARTS_IN_A_ROW} worker processes of the benchmark ended before they were up "
                    f"({_told_code(code)}); see whether memory is left, or run with --jobs 1"
                )
        return worker.outcome("died", {}, f"the process ended without an answer ({_told_code(code)})")

    def _late(self, worker: _Worker) -> Outcome | None:
        now = time.monotonic()
        if not worker.up and now - worker.born > START_SECONDS:
            self._end(worker)
            raise WorkError(f"a worker process of the benchmark was not up after {START_SECONDS:.0f} s")
        if worker.deadline is None or now < worker.deadline:
            return None
        self._end(worker)
        return worker.outcome("timeout", {}, f"no answer after {worker.limit:g} s; it was ended")

    def _end(self, worker: _Worker) -> None:
        """End a worker and all that it started, whatever it is doing."""
        if worker in self._workers:
            self._workers.remove(worker)
        pid = worker.process.pid
        children = descendants(pid) if pid is not None else ()
        with suppress(OSError, ValueError):
            worker.process.kill()
        end_processes(children)
        with suppress(OSError):
            worker.pipe.close()
        worker.process.join(5.0)


def _told_code(code: int | None) -> str:
    if code is None:
        return "exit code unknown"
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"
