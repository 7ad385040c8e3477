"""A worker process from within: it answers one task after the other, and ends with its parent.

It is a session of its own, so that Ctrl-C reaches the parent alone, and it watches its parent: when that is gone it ends
itself and everything that it started.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from tracescribe.tracer.errors import TracescribeError

Answer = Mapping[str, Any]
"""What a worker answers: plain JSON values."""


class Handler(Protocol):
    """Carries out tasks inside a worker. Pickled once, when the worker starts."""

    def __call__(self, task: Any, started: Callable[[], None]) -> Answer:
        """Carry out one task.

        Args:
            started: to be called when what the task needs is loaded: its time counts from then on.
        """
        ...


def work(pipe: Connection, handler: Handler) -> None:
    """A worker's life: one task after the other, until the parent closes the pipe or is gone."""
    with suppress(OSError):
        os.setsid()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _say(pipe, {"at": "up"})
    # stdout is the parent's result, and both are anybody's to flood
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, sys.__stdout__.fileno() if sys.__stdout__ is not None else 1)
    os.dup2(quiet, sys.__stderr__.fileno() if sys.__stderr__ is not None else 2)
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer = handler(task, lambda: _say(pipe, {"at": "started"}))
            _say(pipe, {"at": "answer", "answer": answer})
        except Exception as error:  # noqa: BLE001 - the parent decides what an error means
            _say(pipe, {"at": "error", **told_error(error)})


def told_error(error: BaseException) -> dict[str, Any]:
    """An error as plain values.

    Returns:
        `message` on one line, `type`, `exit_code` of errors of this product, and `failure_kind` where the error has one.
    """
    ours = isinstance(error, TracescribeError)
    text = " ".join(str(error).split())[:2000]
    where = ""
    if not ours and error.__traceback__ is not None:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f" ({Path(last.filename).name}, line {last.lineno})"
    kind = getattr(error, "failure_kind", None)
    return {
        "message": text if ours else f"{type(error).__name__}: {text}{where}",
        "type": type(error).__name__,
        "exit_code": error.exit_code if isinstance(error, TracescribeError) else None,
        "failure_kind": kind if isinstance(kind, str) else None,
    }


def _say(pipe: Connection, message: Mapping[str, Any]) -> None:
    pipe.send_bytes(json.dumps(message).encode())


def _end_with_parent() -> None:
    """Wait until the parent is gone; then end all that was started here, and this process."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()
    end_processes(descendants(os.getpid()))
    os._exit(1)


def descendants(pid: int) -> tuple[int, ...]:
    """Processes that a process started, and those that they started; empty where the system does not tell."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            # the name in brackets may hold anything, brackets and spaces included
            fields = entry.read_text(errors="replace").rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            found.append(child)
            waiting.append(child)
    return tuple(found)


def end_processes(pids: tuple[int, ...]) -> None:
    """End processes at once; those that are gone already are no fault."""
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
