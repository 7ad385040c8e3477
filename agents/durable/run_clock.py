"""The clock of a run that may die: every reading leaves on disk how long the run has lasted."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

from tracescribe.tracer.errors import OutputError

_DIGITS = 24


class RunClock:
    """A monotonic clock in seconds. Once kept, each reading writes the run's seconds to a file.

    A limit on seconds is read before every metered act, so a kill loses no more than the time of one act.
    """

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._before = 0.0
        self._descriptor: int | None = None

    def __call__(self) -> float:
        """Seconds, from an arbitrary start."""
        now = time.monotonic()
        if self._descriptor is not None:
            os.pwrite(self._descriptor, f"{self._before + now - self._start:<{_DIGITS}.6f}".encode(), 0)
        return now

    def keep(self, path: Path) -> float:
        """Begin to write to a file; returns the seconds that the run had lasted before this process, 0 for a new one.

        Raises:
            OutputError: the file cannot be made.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            text = os.pread(descriptor, _DIGITS, 0)
        except OSError as error:
            raise OutputError(f"cannot open {path}: {error.strerror}; choose a writable folder") from error
        try:
            before = float(text)
        except ValueError:
            before = 0.0  # new, or torn: the checkpoint knows nearly as much
        self._before = before if math.isfinite(before) and before > 0 else 0.0
        self._descriptor = descriptor
        return self._before

    def close(self) -> None:
        """Stop writing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
