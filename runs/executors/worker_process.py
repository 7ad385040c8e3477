"""A worker process as its supervisor has it: started from the template, heard over a pipe, ended with its family."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tracescribe.runs.executors.local_worker import WorkerOrders, live
from tracescribe.runs.executors.process_identity import identify
from tracescribe.runs.executors.worker_remains import end_family

MAX_MESSAGE_BYTES = 1 << 16
"""What a worker says is a few hundred bytes."""
TEMPLATE_NAME = "tracescribe"
"""Name of the template among the processes of the system, as `top` shows it, once it has loaded everything."""
_END_POLLS, _END_SECONDS = 100, 0.02


def use_template(modules: Sequence[str]) -> None:
    """Say what the template loads, if it has not been started yet in this process.

    Args:
        modules: beside what every worker needs.
    """
    context = multiprocessing.get_context("forkserver")
    executors = "tracescribe.runs.executors"
    context.set_forkserver_preload([f"{executors}.template", *modules, f"{executors}.template_up"])


def template_is_up() -> bool:
    """Start the template where it does not run; whether it has loaded everything, and forks a worker at once.

    A worker that is started before it is up waits for it, and so does Ctrl-C. True also where the system does not tell.
    """
    _begin_template()
    pid = template_pid()
    try:
        return pid is None or _has_loaded(pid)
    except OSError:
        return not Path("/proc/self/comm").exists()  # it is gone: the next call starts another


def end_template_that_loads() -> None:
    """End the template unless it is up: nobody waits for it any more, and it would only hear of that when it is up."""
    pid = template_pid()
    if pid is not None:
        with suppress(OSError):
            if not _has_loaded(pid):
                os.kill(pid, signal.SIGKILL)


def template_pid() -> int | None:
    """Process id of the template; None where this version of Python keeps it elsewhere, or it was never started."""
    return getattr(getattr(forkserver, "_forkserver", None), "_forkserver_pid", None)


def _has_loaded(pid: int) -> bool:
    return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == TEMPLATE_NAME


def _begin_template() -> None:
    """Start the template where it does not run, deaf to Ctrl-C, which a terminal sends to all processes of the call.

    It learns to ignore that as the first thing (see `template`); until then the signal waits.
    """
    resource_tracker.ensure_running()  # else the template starts it, and lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class WorkerProcess:
    """One worker process; made, it runs.

    Args:
        orders: what it is told.

    Attributes:
        worker_id: its name in the store.
        identity: the process.
        up: whether it has said anything yet.
        case: id and attempt of the case that it began last.
        seconds: that this case may take.
        deadline: when they are over, on this process's steady clock.
        end: what it said about its end; None while it lives, or when it died without a word.

    Raises:
        OSError, EOFError: the template was killed while the worker was being started.
    """

    def __init__(self, orders: WorkerOrders) -> None:
        self.worker_id = orders.worker_id
        self.up = False
        self.case: tuple[str, int] | None = None
        self.seconds = 0.0
        self.deadline: float | None = None
        self.end: dict[str, Any] | None = None
        context = multiprocessing.get_context("forkserver")
        ours, theirs = context.Pipe(duplex=False)
        # kept for as long as the worker lives: letting go of it tells the worker that its parent is gone
        self._process: BaseProcess = context.Process(target=live, args=(theirs, orders), daemon=False)
        self.pipe: Connection = ours
        try:
            _begin_template()
            self._process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        assert self._process.pid is not None
        self.identity = identify(self._process.pid)

    def hear(self) -> bool:
        """Read all that it said; False when it is gone, or speaks what nobody understands."""
        try:
            while self.pipe.poll():
                message = json.loads(self.pipe.recv_bytes(MAX_MESSAGE_BYTES))
                match message["at"]:
                    case "up":
                        self.up = True
                    case "case":
                        self.case = (message["case_id"], message["attempt"])
                        self.seconds = message["seconds"]
                        self.deadline = time.monotonic() + self.seconds
                    case "end":
                        self.end = message
        except (EOFError, OSError, ValueError, KeyError, TypeError):
            return False
        return True

    def ask_to_end(self) -> None:
        """Let it finish or give back its case, and end."""
        if not self._is_gone():
            with suppress(OSError):
                os.kill(self.identity.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it and all that it started, unless it has ended: its process id may be another's by now."""
        if not self._is_gone():
            end_family(self.identity.pid)

    def wait_for_end(self) -> None:
        """Wait until a process that is about to end has ended; for a moment, then it is killed."""
        for _ in range(_END_POLLS):
            if self.identity.is_gone() is not False:
                return
            time.sleep(_END_SECONDS)
        self.kill()

    def close(self) -> None:
        """Let go of it, once it is gone."""
        with suppress(OSError):
            self.pipe.close()

    def _is_gone(self) -> bool:
        never_seen = bool(self.identity.boot_id) and not self.identity.started
        return never_seen or bool(self.identity.is_gone())
