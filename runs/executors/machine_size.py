"""How many workers this machine bears: one a core, fewer where memory is short."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

WORKER_BYTES = 1_500_000_000
"""Of one worker with the embedded model: half a gigabyte of libraries, the rest for graphs and room to breathe."""


def default_workers(worker_bytes: int = WORKER_BYTES) -> int:
    """Workers when nobody says how many; at least one."""
    memory = free_memory()
    by_memory = cores() if memory is None else memory // worker_bytes
    return max(1, min(cores(), by_memory))


def cores() -> int:
    """Processor cores that this process may use."""
    with suppress(AttributeError, OSError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory() -> int | None:
    """Bytes that may still be taken on this machine and in this container; None where the system does not tell."""
    found = [amount for amount in (_of_machine(), _of_container()) if amount is not None]
    return min(found) if found else None


def _of_machine() -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _of_container() -> int | None:
    group = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        if limit != "max":
            used = int((group / "memory.current").read_text(encoding="ascii"))
            # files that the system keeps in memory are given up when somebody needs the room
            for line in (group / "memory.stat").read_text(encoding="ascii").splitlines():
                if line.startswith("inactive_file "):
                    used -= int(line.split()[1])
            return max(0, int(limit) - used)
    return None
