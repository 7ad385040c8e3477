"""The events of a call log, as they stand in its file: one JSON object per line."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, TypeAdapter, ValidationError

from tracescribe.agents.claims import Frozen
from tracescribe.agents.providers.completion import Completion

logger = logging.getLogger(__name__)


class CallIntent(Frozen):
    """A request that is about to be sent.

    Attributes:
        request_sha256: of the whole request (`CompletionRequest.sha256`).
        idempotency_key: sent with it; the same for every attempt, in every process. Empty in logs of older versions.
        attempt: 1 for the first sending in this process.
        resent: whether an earlier process sent this request too and never recorded an answer.
    """

    event: Literal["intent"] = "intent"
    request_sha256: str
    idempotency_key: str = ""
    provider: str
    base_url: str
    model: str
    template: str
    template_sha256: str
    attempt: int = Field(ge=1)
    resent: bool = False
    at: str


class CallAnswer(Frozen):
    """What came back, usable or not: it was paid for.

    Attributes:
        completion: text, tokens and seconds from sending to answer.
        usd: what it cost; None where the price was unknown.
    """

    event: Literal["answer"] = "answer"
    request_sha256: str
    completion: Completion
    usd: float | None = None
    at: str


class CallReuse(Frozen):
    """An answer that another interpretation had paid for already; this one used it, and paid nothing."""

    event: Literal["reuse"] = "reuse"
    request_sha256: str
    completion: Completion
    at: str


class CallFailure(Frozen):
    """A request that brought no answer, after all its attempts."""

    event: Literal["failure"] = "failure"
    request_sha256: str
    error: str
    at: str


CallEvent = CallIntent | CallAnswer | CallFailure | CallReuse
_event_adapter: TypeAdapter[CallEvent] = TypeAdapter(CallEvent)


def now_text() -> str:
    """The moment as events tell it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def event_of_line(line: bytes, path: Path, number: int) -> CallEvent | None:
    """The event of one line; None for a line that is blank, torn or foreign.

    Args:
        path, number: of the line, for the warning.
    """
    if not line.strip():
        return None
    try:
        return _event_adapter.validate_json(line)
    except ValidationError:
        # Never fatal: a lost answer is asked for again, a lost intent only means one.
        logger.warning("call log %s: line %d is torn or foreign and was put aside", path, number)
        return None
