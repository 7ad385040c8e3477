"""End a program with all that it started: its process group, its descendants, what carries its mark, and its orphans."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

MARK = "TRACESCRIBE_CASE"
"""Environment variable whose value is unlike for every run, so that a process which left its group can be found."""
_PROC = Path("/proc")
SWEEPS = 5
"""A process may fork while its family is being ended."""
_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> frozenset[int]:
    """Become the parent of processes whose own parent ends, for as long as this process lives; Linux alone can do that.

    A program that forks twice would otherwise leave a process that belongs to nobody. What is adopted late is ended with
    this process's own descendants, where somebody ends those.

    Returns:
        Children that this process has already.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return frozenset(_children().get(os.getpid(), ()))


def end_all(process: subprocess.Popen[bytes], mark: str, before: frozenset[int]) -> None:
    """Kill the program's process group, every descendant of it, every process that carries the mark, and every orphan.

    Where the system cannot hand orphans over (see `adopt_orphans`), a process that has left the group *and* the family
    *and* has removed the mark from its environment is not found: programs that are not trusted belong into a container.

    Args:
        before: what `adopt_orphans` returned before the program was started.
    """
    for sweep in range(SWEEPS):
        orphans = _orphans(before | {process.pid})
        family = {*_descendants(process.pid), *_marked(mark), *orphans} - {os.getpid()}
        for orphan in orphans:
            family |= _descendants(orphan)
        if sweep > 0 and not family:
            break
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        for pid in family:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        for orphan in orphans:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(orphan, os.WNOHANG)
        if sweep > 0:
            time.sleep(0.02)


def _marked(mark: str) -> set[int]:
    """Processes of this user that were started with the mark; those that ended are not among them."""
    found = set()
    needle = f"{MARK}={mark}".encode()
    for folder in _processes():
        with contextlib.suppress(OSError):
            if needle in (folder / "environ").read_bytes().split(b"\0"):
                found.add(int(folder.name))
    return found


def _orphans(others: frozenset[int]) -> set[int]:
    """Children of this process that it has adopted: a program has a session of its own, and nobody can join ours again."""
    found = set()
    for child in _children(ended=True).get(os.getpid(), ()):
        with contextlib.suppress(OSError):
            if child not in others and os.getsid(child) != os.getsid(0):
                found.add(child)
    return found


def _children(*, ended: bool = False) -> dict[int, list[int]]:
    """Processes by parent; those that ended and wait to be taken notice of only where asked for."""
    children: dict[int, list[int]] = {}
    for folder in _processes():
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, parent = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state != "Z" or ended:
                children.setdefault(int(parent), []).append(int(folder.name))
    return children


def _descendants(root: int) -> set[int]:
    children = _children()
    found: set[int] = set()
    waiting = [root]
    while waiting:
        for child in children.get(waiting.pop(), []):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def _processes() -> list[Path]:
    """Folders of running processes; empty where the system has no /proc, and the process group must do."""
    try:
        return [folder for folder in _PROC.iterdir() if folder.name.isdigit()]
    except OSError:
        return []
