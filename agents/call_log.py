"""The call log: what was asked of a language model is on record before it is sent, its answer before it is used.

So a recorded answer is never paid for again: not by a second run, and not by a run that resumes after a kill. `runs`
may keep the log in its store; here are the protocol, a file of JSON lines, and one that lives in memory.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

from pydantic import Field, TypeAdapter, ValidationError

from tracescribe.agents.claims import Frozen
from tracescribe.agents.providers.completion import Completion, CompletionRequest
from tracescribe.tracer.errors import OutputError

logger = logging.getLogger(__name__)


class CallIntent(Frozen):
    """A request that is about to be sent.

    Attributes:
        request_sha256: of the whole request (`CompletionRequest.sha256`).
        attempt: 1 for the first sending in this process.
        resent: whether an earlier process sent this request too and never recorded an answer.
    """

    event: Literal["intent"] = "intent"
    request_sha256: str
    provider: str
    base_url: str
    model: str
    template: str
    template_sha256: str
    attempt: int = Field(ge=1)
    resent: bool = False
    at: str


class CallAnswer(Frozen):
    """What came back, usable or not: it was paid for."""

    event: Literal["answer"] = "answer"
    request_sha256: str
    completion: Completion
    at: str


class CallFailure(Frozen):
    """An attempt that brought no answer."""

    event: Literal["failure"] = "failure"
    request_sha256: str
    error: str
    at: str


CallEvent = CallIntent | CallAnswer | CallFailure
_event_adapter: TypeAdapter[CallEvent] = TypeAdapter(CallEvent)


class CallLog(Protocol):
    """Keeps the events of language-model calls. Safe to use from several threads."""

    def recorded(self, request_sha256: str) -> Completion | None:
        """The recorded answer to this request, or None."""
        ...

    def intend(self, request: CompletionRequest, attempt: int) -> None:
        """Record a request before it is sent.

        Raises:
            OutputError: it cannot be recorded; then it must not be sent.
        """
        ...

    def answer(self, request_sha256: str, completion: Completion) -> None:
        """Record an answer before it is used.

        Raises:
            OutputError: it cannot be recorded.
        """
        ...

    def fail(self, request_sha256: str, error: str) -> None:
        """Record an attempt that brought no answer.

        Raises:
            OutputError: it cannot be recorded.
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
        self._append(
            CallIntent(
                request_sha256=sha256,
                provider=endpoint.provider,
                base_url=endpoint.base_url,
                model=endpoint.model,
                template=request.template,
                template_sha256=request.template_sha256,
                attempt=attempt,
                resent=attempt == 1 and sha256 in self._open,
                at=_now(),
            )
        )

    def answer(self, request_sha256: str, completion: Completion) -> None:
        """Record an answer before it is used."""
        self._append(CallAnswer(request_sha256=request_sha256, completion=completion, at=_now()))

    def fail(self, request_sha256: str, error: str) -> None:
        """Record an attempt that brought no answer."""
        self._append(CallFailure(request_sha256=request_sha256, error=error, at=_now()))

    def in_flight(self) -> tuple[str, ...]:
        """Hashes of requests that were sent and have neither answer nor failure on record, in order."""
        with self._lock:
            return tuple(sorted(self._open))

    def _append(self, event: CallEvent) -> None:
        with self._lock:
            self._keep(event)
            self._note(event)

    def _keep(self, event: CallEvent) -> None:
        """Where a lasting log writes; called with the lock held."""

    def _note(self, event: CallEvent) -> None:
        self._events.append(event)
        match event:
            case CallIntent():
                self._open.add(event.request_sha256)
            case CallAnswer():
                self._open.discard(event.request_sha256)
                self._answers[event.request_sha256] = event.completion
            case CallFailure():
                self._open.discard(event.request_sha256)


class FileCallLog(MemoryCallLog):
    """A call log in one file of JSON lines.

    Every event is one `write` to a file opened for appending, then `fsync`: a kill leaves whole lines, or at worst one
    torn last line, which is put aside when the file is read again.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the log.

        Raises:
            OutputError: the file cannot be read or made.
        """
        super().__init__()
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes() if path.exists() else b""
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            if content and not content.endswith(b"\n"):
                os.write(self._descriptor, b"\n")
        except OSError as error:
            raise OutputError(f"cannot open call log {path}: {error.strerror}; choose a writable file") from error
        for number, line in enumerate(content.splitlines(), start=1):
            if line.strip():
                self._read_line(number, line)

    def close(self) -> None:
        """Close the file; the log cannot be written to afterwards."""
        os.close(self._descriptor)

    def _read_line(self, number: int, line: bytes) -> None:
        try:
            self._note(_event_adapter.validate_json(line))
        except ValidationError:
            # Never fatal: a lost answer is asked for again, a lost intent only means one.
            logger.warning("call log %s: line %d is torn or foreign and was put aside", self.path, number)

    def _keep(self, event: CallEvent) -> None:
        line = json.dumps(event.model_dump(mode="json"), ensure_ascii=True, allow_nan=False) + "\n"
        try:
            os.write(self._descriptor, line.encode())
            os.fsync(self._descriptor)
        except OSError as error:
            raise OutputError(f"cannot write call log {self.path}: {error.strerror}; free some space") from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
