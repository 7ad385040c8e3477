"""The last look at spans before they leave: every text in them is redacted once more, wherever it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, Status

if TYPE_CHECKING:
    from tracescribe.tracer.redaction import Redactor


class RedactedSpanExporter(SpanExporter):
    """Hands spans to another exporter, redacted.

    Args:
        exporter: sends them on.
        redactor: what must not leave.

    Attributes:
        failed: batches that could not be sent.
    """

    def __init__(self, exporter: SpanExporter, redactor: Redactor) -> None:
        self._exporter = exporter
        self._redactor = redactor
        self.failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Redact and send; a failure is told, never raised."""
        try:
            result = self._exporter.export([self._clean(span) for span in spans])
        except Exception:  # noqa: BLE001 - telemetry never disturbs the work
            result = SpanExportResult.FAILURE
        self.failed += result is not SpanExportResult.SUCCESS
        return result

    def shutdown(self) -> None:
        """End the exporter."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what the exporter still holds."""
        return self._exporter.force_flush(timeout_millis)

    def _clean(self, span: ReadableSpan) -> ReadableSpan:
        status = span.status
        return ReadableSpan(
            name=self._redactor.text(span.name),
            context=span.get_span_context(),
            parent=span.parent,
            resource=span.resource,
            attributes=self._attributes(span.attributes),
            events=[
                Event(self._redactor.text(e.name), self._attributes(e.attributes), e.timestamp) for e in span.events
            ],
            links=[Link(link.context, self._attributes(link.attributes)) for link in span.links],
            kind=span.kind,
            status=Status(
                status.status_code, None if status.description is None else self._redactor.text(status.description)
            ),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    def _attributes(self, attributes: Mapping[str, Any] | None) -> dict[str, Any]:
        return {key: self._redactor.value(value) for key, value in (attributes or {}).items()}
