"""What a line of the log says: one JSON object, redacted, of the form that `schemas/log.schema.json` tells."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracescribe.tracer.redaction import Redactor

SCHEMA = "tracescribe-log/1"
MAX_LINE_BYTES = 32 << 10
"""Longer lines lose their fields, then the end of their message."""
_PLACE: ContextVar[dict[str, str]] = ContextVar("tracescribe_log_place", default={})  # noqa: B039 - never changed


@contextmanager
def log_place(**where: str) -> Iterator[None]:
    """Name the job, case or worker that everything logged inside belongs to.

    Args:
        where: any of `job_id`, `case_id` and `worker_id`.
    """
    token = _PLACE.set({**_PLACE.get(), **where})
    try:
        yield
    finally:
        _PLACE.reset(token)


class JsonLines(logging.Formatter):
    """Formats records as JSON lines, without what must not be written.

    Args:
        redactor: what must not be.
        where: as for `log_place`, of the whole process.
    """

    def __init__(self, redactor: Redactor, **where: str) -> None:
        super().__init__()
        self._redactor = redactor
        self._where = where

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its end."""
        place = {**self._where, **_PLACE.get()}
        trace_id, span_id = _span_ids()
        line: dict[str, Any] = {
            "schema": SCHEMA,
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": str(getattr(record, "event", "message")),
            "job_id": place.get("job_id"),
            "case_id": place.get("case_id"),
            "worker_id": place.get("worker_id"),
            "trace_id": trace_id,
            "span_id": span_id,
            "message": _message(record),
            "fields": _fields(record),
        }
        whole = self._encoded(line)
        if len(whole) <= MAX_LINE_BYTES:
            return whole
        line["fields"] = {"cut": True}
        line["message"] = self._redactor.text(line["message"])[: MAX_LINE_BYTES // 8]
        return self._encoded(line)

    def _encoded(self, line: dict[str, Any]) -> str:
        cleaned = self._redactor.value(line)
        return json.dumps(cleaned, ensure_ascii=True, separators=(",", ":"), default=str)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - a message whose arguments do not fit it is still a message
        return str(record.msg)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    told = getattr(record, "fields", None)
    fields: dict[str, Any] = json.loads(json.dumps(told, default=str)) if isinstance(told, dict) else {}
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        fields["error"] = type(error).__name__
        fields["traceback"] = "".join(traceback.format_exception(error))[-16_000:]
    return fields


def _span_ids() -> tuple[str | None, str | None]:
    """Ids of the current trace and span, as OTLP writes them; None where nothing is recorded."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None, None
    context = trace.get_current_span().get_span_context()
    return (f"{context.trace_id:032x}", f"{context.span_id:016x}") if context.is_valid else (None, None)
