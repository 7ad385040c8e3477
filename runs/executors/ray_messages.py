"""What Ray and its actors say: kept out of standard output, which is our result, and told in one line."""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any, TextIO

from tracescribe.runs.store import errors as store_errors
from tracescribe.runs.store.errors import StoreError
from tracescribe.tracer.errors import TracescribeError
from tracescribe.tracer.redaction import current_redactor

if TYPE_CHECKING:
    from tracescribe.runs.executors.worker import WorkerEnd

_THREADS = "ray_"
"""What names of Ray's threads begin with, of which one prints what goes wrong on any node."""
_log = logging.getLogger(__name__)


class _OtherThreads:
    """A stream as everybody else knows it; what a thread of Ray writes to it is logged."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or log."""
        if not threading.current_thread().name.startswith(_THREADS):
            return self._stream.write(text)
        line = " ".join(text.split())
        if line:
            _log.info("Ray: %s", current_redactor().text(line))
        return len(text)

    def flush(self) -> None:
        """As the stream itself."""
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def no_ray_messages() -> Iterator[None]:
    """Run a block in which nothing that Ray says reaches standard output."""
    with redirect_stdout(_OtherThreads(sys.stdout)):
        yield


@contextmanager
def last_messages_logged() -> Iterator[None]:
    """Run the end of a connection to a cluster: Ray then prints what it held back, in the thread that ends it."""
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            yield
    finally:
        for line in said.getvalue().splitlines():
            _log.info("Ray: %s", current_redactor().text(line))


def store_error_of(end: WorkerEnd) -> TracescribeError:
    """The error of the store for which an actor ended."""
    kind = getattr(store_errors, str(end.error), StoreError)
    if not (isinstance(kind, type) and issubclass(kind, TracescribeError)):
        kind = StoreError
    return kind(end.message or "an actor cannot use the store")


def first_line(error: Exception) -> str:
    """An error of Ray, whose messages have many lines, in one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:300] if lines else 'no message'}"
