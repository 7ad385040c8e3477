"""The claim registry's log on disk: JSON lines, written by appending alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pydantic import ValidationError

from tracescribe.agents.durable.errors import RunUnwritableError
from tracescribe.agents.registration import RegistryLogError
from tracescribe.agents.registry import START_AGAIN
from tracescribe.agents.registry_log import LogLine
from tracescribe.tracer.errors import OutputError

TORN_SUFFIX = ".torn"
"""Where a torn last line is put aside, beside the log."""


class RegistryFile:
    """A `RegistryLog` in one file.

    A line is one `write` to a file opened for appending: a kill leaves whole lines, or at worst one torn last line,
    which announced nothing that was done, and is put aside when the file is opened again.

    Attributes:
        path: of the file.
        lines: what it held when it was opened.
    """

    def __init__(self, path: Path, *, flush: bool = True) -> None:
        """Open or create the log.

        Args:
            flush: lines that must last outlast a loss of power; else the death of the process alone.

        Raises:
            OutputError: the file cannot be read or made.
            RegistryLogError: a line before the last cannot be read.
        """
        self.path = path
        self._flush = flush
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            content = path.read_bytes()
            self.lines = self._read(content)
        except OSError as error:
            raise OutputError(
                f"cannot open the registry log {path}: {error.strerror}; choose a writable folder"
            ) from error

    def append(self, line: LogLine, *, lasting: bool) -> None:
        """Write one line; with `lasting` it is on the disk when this returns, with all lines before it.

        Raises:
            RunUnwritableError: it cannot be written.
        """
        content = {name: value for name, value in line.model_dump(mode="json").items() if value is not None}
        text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":")) + "\n"
        try:
            written = os.write(self._descriptor, text.encode())
            if lasting and self._flush:
                os.fsync(self._descriptor)
        except OSError as error:
            raise self._unwritable(error.strerror) from error
        if written != len(text):
            raise self._unwritable("the disk is full")

    def sync(self) -> None:
        """Have every line so far on the disk when this returns.

        Raises:
            RunUnwritableError: they cannot be written.
        """
        try:
            if self._flush:
                os.fsync(self._descriptor)
        except OSError as error:
            raise self._unwritable(error.strerror) from error

    def close(self) -> None:
        """Close the file; nothing can be written afterwards."""
        os.close(self._descriptor)

    def _unwritable(self, why: str | None) -> RunUnwritableError:
        return RunUnwritableError(f"cannot write the registry log {self.path}: {why}; free some space")

    def _read(self, content: bytes) -> tuple[LogLine, ...]:
        whole, _, rest = content.rpartition(b"\n")
        lines = [self._line(number, text) for number, text in enumerate(whole.split(b"\n") if whole else ())]
        if rest:
            self._put_aside(rest, len(content) - len(rest))
        return tuple(lines)

    def _line(self, number: int, text: bytes) -> LogLine:
        try:
            return LogLine.model_validate_json(text)
        except ValidationError as error:
            raise RegistryLogError(
                f"line {number + 1} of the registry log {self.path} cannot be read: {error.errors()[0]['msg'][:200]}; "
                f"the file was damaged: {START_AGAIN}"
            ) from error

    def _put_aside(self, rest: bytes, whole: int) -> None:
        with self.path.with_name(self.path.name + TORN_SUFFIX).open("ab") as aside:
            aside.write(rest + b"\n")
        os.ftruncate(self._descriptor, whole)
