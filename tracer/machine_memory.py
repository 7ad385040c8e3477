"""How much memory this process holds, and how much it may still take: from the kernel's own files, without a dependency."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

UNLIMITED = 1 << 60
"""Control-group limits above this mean that there is none (version 1 writes a number near 2^63)."""

_KIB = 1024
_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")


def resident_memory(proc: Path = _PROC) -> int:
    """Bytes of physical memory that this process holds; the most it ever held where the kernel does not tell."""
    try:
        return int((proc / "self" / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * _KIB


def available_memory(proc: Path = _PROC, cgroup: Path = _CGROUP) -> int:
    """Bytes that this process can still take: what the machine has free, and no more than its control groups allow."""
    return max(0, min([_machine_free(proc), *_group_rooms(proc, cgroup)]))


def _machine_free(proc: Path) -> int:
    try:
        for line in (proc / "meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * _KIB
    except (OSError, ValueError, IndexError):
        pass
    # elsewhere: pages that are free now, or half of all memory
    for name, share in (("SC_AVPHYS_PAGES", 1.0), ("SC_PHYS_PAGES", 0.5)):
        if name in os.sysconf_names and os.sysconf(name) > 0:
            return int(share * os.sysconf(name) * os.sysconf("SC_PAGE_SIZE"))
    return _KIB**3


def _group_rooms(proc: Path, cgroup: Path) -> Iterator[int]:
    """Room below the limit of each control group that this process is in, version 2 and version 1."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, named = line.partition(":")
        controllers, _, place = named.partition(":")
        if controllers == "":
            base, files, cache = cgroup, ("memory.max", "memory.current"), "inactive_file"
        elif "memory" in controllers.split(","):
            base, cache = cgroup / "memory", "total_inactive_file"
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        inner = PurePosixPath(place.lstrip("/"))
        for folder in dict.fromkeys((inner, *inner.parents)):  # a parent's limit holds for its children
            if ".." in folder.parts:
                continue
            limit, used = (_number(base / folder / name) for name in files)
            if limit is not None and limit < UNLIMITED:
                # pages of files that nobody uses are given back before anything is refused
                yield limit - max(0, (used or 0) - _statistic(base / folder / "memory.stat", cache))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such file, or 'max'
        return None


def _statistic(path: Path, name: str) -> int:
    try:
        return next(int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(f"{name} "))
    except (OSError, ValueError, IndexError, StopIteration):
        return 0
