"""The span of a case, below the span of its job, wherever its worker runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracescribe.runs.executors.contract import CaseLease


@contextmanager
def case_span(lease: CaseLease, carrier: Mapping[str, str] | None) -> Iterator[None]:
    """Run a block within the span `case`; nothing is recorded unless telemetry is switched on.

    Args:
        carrier: W3C trace context of the job's span.
    """
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    from tracescribe.agents.spans import mark_failed

    parent = TraceContextTextMapPropagator().extract(dict(carrier or {}))
    attributes: dict[str, str | int] = {
        "tracescribe.job.id": lease.job_id,
        "tracescribe.case.id": lease.case_id,
        "tracescribe.case.attempt": lease.attempt,
        "tracescribe.worker.id": lease.worker_id,
    }
    tracer = trace.get_tracer("tracescribe.runs")
    # an exception's message and traceback would leave this process as they are; what is told is told redacted
    with tracer.start_as_current_span(
        "case", context=parent, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield
        except BaseException as error:
            mark_failed(span, error)
            raise
