"""A small file system of its own, to be filled, made read-only, and grown."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class SmallDisk:
    """A file system in memory.

    Attributes:
        folder: where it is mounted.
    """

    folder: Path

    def grow(self, size: str) -> None:
        """Give it another size, as `mount` writes it."""
        _mount("-o", f"remount,size={size}", str(self.folder))

    def leave(self, room: int) -> None:
        """Give it so many bytes more than are in use, however many those are by now."""
        for last in (False,) * 50 + (True,):
            state = os.statvfs(self.folder)
            used = (state.f_blocks - state.f_bfree) * state.f_frsize
            try:
                return self.grow(str(used + room))
            except subprocess.CalledProcessError:  # more than that was written meanwhile
                if last:
                    raise

    def make_read_only(self) -> None:
        """Nothing can be written to it; refused by the system while a file is open for writing."""
        _mount("-o", "remount,ro", str(self.folder))

    def make_writable(self) -> None:
        """It can be written to again."""
        _mount("-o", "remount,rw", str(self.folder))

    def free(self) -> int:
        """Bytes that can still be written."""
        state = os.statvfs(self.folder)
        return state.f_bavail * state.f_frsize

    def fill(self, leave: int = 0) -> Path:
        """Fill it but for so many bytes; the file that does."""
        file = self.folder / "ballast"
        with file.open("wb") as stream:
            try:
                while self.free() > leave:
                    stream.write(b"\0" * min(65536, self.free() - leave))
                    stream.flush()
            except OSError:
                pass
        return file


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[SmallDisk]:
    """Mount one for the length of a `with` block; the test is skipped where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine does not let a file system be mounted")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)
