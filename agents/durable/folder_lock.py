"""One process at a time in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tracescribe.agents.durable.errors import RunLockedError
from tracescribe.tracer.errors import OutputError

LOCK = "lock"
"""File that is held; it stays, empty of meaning, when nobody works there."""


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Make a folder and hold it for this process until the `with` block ends; a kill frees it too.

    Programs that are started meanwhile do not inherit the lock.

    Raises:
        RunLockedError: another process works there.
        OutputError: the folder cannot be made, written to or locked.
    """
    import fcntl

    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise OutputError(f"cannot open {path}: {error.strerror}; choose a folder that you can write to") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            raise RunLockedError(
                f"another process{f' ({holder})' if holder.isdigit() else ''} works in {folder}; "
                "wait until it is done, or choose another folder with --out"
            ) from error
        except OSError as error:
            raise OutputError(
                f"cannot lock {path}: {error.strerror}; choose a folder on a file system with locks"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)  # this also frees the lock, as the end of the process does
