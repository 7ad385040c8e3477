"""Holds a folder while one of its files is made or replaced, and clears what a kill left of an earlier try."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held_folder_of(path: Path) -> Iterator[None]:
    """Make a file's folder, and keep other processes that write the file out of it; temporary files of dead ones go.

    Temporary files are those that begin with a dot and the file's name and a dot.

    Raises:
        OSError: the folder cannot be made, read or written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # the folder itself: no lock file is left behind
        for left in path.parent.iterdir():
            if left.name.startswith(f".{path.name}."):
                left.unlink(missing_ok=True)
        yield
    finally:
        os.close(folder)
