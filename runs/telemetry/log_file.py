"""A log file that many processes write to at once: a line is one write at the file's end, and is whole or not there.

When the file has grown past its size, whoever notices puts it aside under a number; the others find that the name stands
for another file, and follow. A log that cannot be written loses lines, and disturbs nobody.
"""

from __future__ import annotations

import fcntl
import logging
import os
from contextlib import suppress
from pathlib import Path

_MODE = 0o600


class SharedLogFile(logging.Handler):
    """Appends formatted records to a file.

    Args:
        path: of the file; its folder must be there.
        max_bytes: size after which it is put aside.
        n_files: files that are kept, the current one among them.

    Attributes:
        lost: lines that could not be written.
    """

    def __init__(self, path: Path, max_bytes: int, n_files: int) -> None:
        super().__init__()
        self.lost = 0
        self._path = path
        self._max_bytes = max_bytes
        self._n_files = n_files
        self._file: int | None = None
        self._pid = os.getpid()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            line = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
            file = self._open()
            if os.write(file, line) < len(line):  # the disk is full: end the torn line, so that the next one is whole
                self.lost += 1
                os.write(file, b"\n")
            if os.fstat(file).st_size > self._max_bytes:
                self._put_aside(file)
        except Exception:  # noqa: BLE001 - a log never disturbs the work
            self.lost += 1

    def check(self) -> None:
        """Open the file, so that a wrong path is found out at once.

        Raises:
            OSError: it cannot be written to.
        """
        self._open()

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            self._shut()
        super().close()

    def _open(self) -> int:
        """The file that the name stands for now."""
        if self._pid != os.getpid():
            self._file, self._pid = None, os.getpid()
        if self._file is not None and not self._is_current(self._file):
            self._shut()
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
        return self._file

    def _is_current(self, file: int) -> bool:
        try:
            named = os.stat(self._path)
        except FileNotFoundError:
            return False
        mine = os.fstat(file)
        return (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino)

    def _put_aside(self, file: int) -> None:
        """Move the files up by one number, unless another process is doing so or has done so."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        try:
            if not self._is_current(file):
                return
            for number in range(self._n_files - 1, 0, -1):
                older = self._numbered(number - 1)
                if older.exists():
                    os.replace(older, self._numbered(number))
            if self._n_files == 1:
                self._path.unlink()
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)

    def _numbered(self, number: int) -> Path:
        return self._path if number == 0 else self._path.with_name(f"{self._path.name}.{number}")

    def _shut(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            os.close(file)
