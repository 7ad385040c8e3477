"""The call log: what was asked of a language model is on record before it is sent, its answer before it is used.

So a recorded answer is never paid for again: not by a second run, and not by a run that resumes after a kill. `runs`
may keep the log in its store; here are the protocol, a file of JSON lines, and one that lives in memory.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from pathlib import Path
from typing import Protocol

from tracescribe.agents.calls.call_events import (
    CallAnswer,
    CallEvent,
    CallFailure,
    CallIntent,
    CallReuse,
    event_of_line,
    now_text,
)
from tracescribe.agents.providers.completion import Completion, CompletionRequest
from tracescribe.tracer.errors import OutputError

__all__ = [
    "CallAnswer",
    "CallEvent",
    "CallFailure",
    "CallIntent",
    "CallLog",
    "CallReuse",
    "FileCallLog",
    "MemoryCallLog",
]


class CallLog(Protocol):
    """Keeps the events of language-model calls. Safe to use from several threads."""

    def recorded(self, request_sha256: str) -> Completion | None:
        """The recorded answer to this request, or None."""
        ...

    def intend(self, request: CompletionRequest, attempt: int) -> Completion | None:
        """Record a request before it is sent.

        Returns:
            None, and the request may be sent; or the answer that somebody else has recorded since `recorded` was asked,
            and nothing is to be sent.

        Raises:
            OutputError: it cannot be recorded; then it must not be sent.
            HaltError: it must not be sent, and the run must end.
        """
        ...

    def answer(self, request_sha256: str, completion: Completion, usd: float | None = None) -> None:
        """Record an answer, and what it cost, before it is used.

        Raises:
            OutputError: it cannot be recorded.
        """
        ...

    def fail(self, request_sha256: str, error: str) -> None:
        """Record a request that brought no answer.

        Raises:
            OutputError: it cannot be recorded.
            HaltError: the run must end, since it cannot be done without this answer.
        """
        ...


class MemoryCallLog:
    """A call log that lasts as long as the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[str, Completion] = {}
        self._open: set[str] = set()
        self._events: list[CallEvent] = []

    @property
    def events(self) -> tuple[CallEvent, ...]:
        """Everything recorded, in order."""
        with self._lock:
            return tuple(self._events)

    def recorded(self, request_sha256: str) -> Completion | None:
        """The recorded answer to this request, or None."""
        with self._lock:
            return self._answers.get(request_sha256)

    def intend(self, request: CompletionRequest, attempt: int) -> None:
        """Record a request before it is sent."""
        sha256 = request.sha256
        endpoint = request.endpoint
        with self._lock:
            self._catch_up()
            self._put(
                CallIntent(
                    request_sha256=sha256,
                    idempotency_key=request.idempotency_key,
                    provider=endpoint.provider,
                    base_url=endpoint.base_url,
                    model=endpoint.model,
                    template=request.template,
                    template_sha256=request.template_sha256,
                    attempt=attempt,
                    resent=attempt == 1 and sha256 in self._open,
                    at=now_text(),
                )
            )

    def answer(self, request_sha256: str, completion: Completion, usd: float | None = None) -> None:
        """Record an answer, and what it cost, before it is used."""
        with self._lock:
            self._put(CallAnswer(request_sha256=request_sha256, completion=completion, usd=usd, at=now_text()))

    def fail(self, request_sha256: str, error: str) -> None:
        """Record a request that brought no answer."""
        with self._lock:
            self._put(CallFailure(request_sha256=request_sha256, error=error, at=now_text()))

    def in_flight(self) -> tuple[str, ...]:
        """Hashes of requests that were sent and have neither answer nor failure on record, in order."""
        with self._lock:
            return tuple(sorted(self._open))

    def _put(self, event: CallEvent) -> None:
        self._keep(event)
        self._note(event)

    def _keep(self, event: CallEvent) -> None:
        """Where a lasting log writes; called with the lock held."""

    def _catch_up(self) -> None:
        """Where a lasting log reads what others have written; called with the lock held."""

    def _note(self, event: CallEvent) -> None:
        self._events.append(event)
        sha256 = event.request_sha256
        match event:
            case CallIntent():
                self._open.add(sha256)
            case CallAnswer() | CallReuse():
                self._open.discard(sha256)
                self._answers[sha256] = event.completion
            case CallFailure():
                self._open.discard(sha256)


class FileCallLog(MemoryCallLog):
    """A call log in one file of JSON lines, which several processes may write to at once.

    Every event is one line, written under a lock on the file and followed by `fsync`: a kill leaves whole lines, or at
    worst one torn line, which is put aside when the file is read. What another process has answered meanwhile is found
    before a request is sent.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the log.

        Raises:
            OutputError: the file cannot be read or made.
        """
        super().__init__()
        self.path = path
        self._read_to = 0
        self._lines = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise OutputError(f"cannot open call log {path}: {error.strerror}; choose a writable file") from error
        with self._lock:
            self._catch_up()

    def recorded(self, request_sha256: str) -> Completion | None:
        """The recorded answer to this request, whichever process recorded it, or None."""
        with self._lock:
            if request_sha256 not in self._answers:
                self._catch_up()
            return self._answers.get(request_sha256)

    def close(self) -> None:
        """Close the file; the log cannot be written to afterwards."""
        os.close(self._descriptor)

    def _catch_up(self) -> None:
        try:
            size = os.fstat(self._descriptor).st_size
            if size <= self._read_to:
                return
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            try:
                self._read_rest()
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        except OSError as error:
            raise OutputError(f"cannot read call log {self.path}: {error.strerror}; choose another file") from error

    def _read_rest(self) -> None:
        """Note what stands in the file beyond what is known; called with the file locked."""
        size = os.fstat(self._descriptor).st_size
        content = os.pread(self._descriptor, size - self._read_to, self._read_to) if size > self._read_to else b""
        self._read_to += len(content)
        if content and not content.endswith(b"\n"):
            # Nobody writes while the file is locked: a line without an end was torn by a kill.
            self._read_to += os.write(self._descriptor, b"\n")
        for line in content.splitlines():
            self._lines += 1
            event = event_of_line(line, self.path, self._lines)
            if event is not None:
                self._note(event)

    def _keep(self, event: CallEvent) -> None:
        line = json.dumps(event.model_dump(mode="json"), ensure_ascii=True, allow_nan=False) + "\n"
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            try:
                self._read_rest()
                left = line.encode()
                while left:
                    written = os.write(self._descriptor, left)
                    self._read_to += written
                    left = left[written:]
                os.fsync(self._descriptor)
                self._lines += 1
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        except OSError as error:
            raise OutputError(f"cannot write call log {self.path}: {error.strerror}; free some space") from error
