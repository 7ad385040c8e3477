"""End a program with all that it started: its process group, its descendants, and what carries its mark."""

from __future__ import annotations

import contextlib
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


def end_all(process: subprocess.Popen[bytes], mark: str) -> None:
    """Kill the program's process group, every descendant of it, and every process that carries the mark.

    A process that has left the group *and* the family *and* has removed the mark from its environment is not found:
    programs that are not trusted at all belong into a container.
    """
    for sweep in range(SWEEPS):
        family = {*_descendants(process.pid), *_marked(mark)} - {os.getpid()}
        if sweep > 0 and not family:
            break
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        for pid in family:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1)
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


def _descendants(root: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for folder in _processes():
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, parent = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(folder.name))
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
