"""What a killed worker leaves on its machine: processes that it started, and its folder of temporary files."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.agents.external.cleanup import MARK
from tracescribe.evals.benchmark.worker_life import descendants, end_processes

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store

_FOLDER = ".workers"


def temporary_folder(store: Store, worker_id: str) -> Path:
    """Where a worker's temporary files go."""
    return store.scratch / _FOLDER / worker_id


def remove_temporary(store: Store, worker_id: str) -> None:
    """Remove a worker's temporary files."""
    shutil.rmtree(temporary_folder(store, worker_id), ignore_errors=True)
    with suppress(OSError):  # others still have theirs in it
        (store.scratch / _FOLDER).rmdir()


def sweep_temporary(store: Store) -> int:
    """Remove temporary files of workers that are not alive any more; returns of how many."""
    from tracescribe.runs.executors.liveness import standing

    try:
        left = [folder.name for folder in (store.scratch / _FOLDER).iterdir()]
    except OSError:
        return 0
    gone = [name for name in left if standing(store, name) in ("left", "dead")]
    for name in gone:
        remove_temporary(store, name)
    return len(gone)


def end_remains(pid: int) -> None:
    """End what a dead worker started: processes of its session, and programs of agents that this process has adopted.

    Args:
        pid: of the worker, whose session had the same number.
    """
    for _ in range(3):  # a process may fork while its family is being ended
        found = _remains(pid)
        if not found:
            return
        for one in found:
            end_processes((*descendants(one), one))
        for one in found:
            with suppress(ChildProcessError, OSError):
                os.waitpid(one, os.WNOHANG)


def end_family(pid: int) -> None:
    """End a living process and everything that it started, at once."""
    family = descendants(pid)
    with suppress(OSError):
        os.kill(pid, signal.SIGKILL)
    end_processes(family)


def _remains(pid: int) -> list[int]:
    mine, marked = os.getpid(), f"{MARK}=".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            # the name in brackets may hold anything, brackets and spaces included
            state, parent, _, session = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:4]
            if int(entry.name) in (pid, mine) or state in ("Z", "X"):
                continue
            adopted = int(parent) == mine and any(
                one.startswith(marked) for one in (entry / "environ").read_bytes().split(b"\0")
            )
            if int(session) == pid or adopted:
                found.append(int(entry.name))
    return found
