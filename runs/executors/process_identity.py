"""Names a process so that nobody else can ever be meant: host, the host's present start, process id, time of birth.

A process id alone is given out again; with the clock ticks at which the process was born, counted from the start of its
host, it is not. Processes of other containers on the same host cannot be looked up, so the container's process
namespace is part of the name. None of this needs a clock that people can set.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessIdentity:
    """One process.

    Attributes:
        host: name of its machine, for people.
        boot_id: of the machine since it started, and of the process namespace; empty where the system does not tell.
        pid: process id.
        started: clock ticks from the machine's start to the birth of the process; 0 where the system does not tell.
    """

    host: str
    boot_id: str
    pid: int
    started: int

    def is_gone(self) -> bool | None:
        """Whether the process has ended; None where that cannot be told from here."""
        if not self.boot_id or not self.started or self.boot_id != _boot_id():
            return None
        return _birth(self.pid) != self.started


def identify(pid: int | None = None) -> ProcessIdentity:
    """The name of a process of this machine, this one when no id is given."""
    pid = os.getpid() if pid is None else pid
    return ProcessIdentity(socket.gethostname()[:255], _boot_id(), pid, _birth(pid) or 0)


def _boot_id() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return ""
    return f"{boot}:{namespace}"[:64]


def _birth(pid: int) -> int | None:
    """Ticks at which a process was born; None when there is none, or only its remains that nobody has fetched yet."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # the name in brackets may hold anything, brackets and spaces included
    fields = stat.rpartition(")")[2].split()
    try:
        return None if fields[0] in ("Z", "X") else int(fields[19])
    except (IndexError, ValueError):
        return None
