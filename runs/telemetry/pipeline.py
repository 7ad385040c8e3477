"""OpenTelemetry's SDK, set up for one job in one process, and ended without keeping anybody waiting.

All spans of a job are in one trace, whichever process makes them and however often the job is resumed: the trace's id
follows from the job's. Spans and metrics leave in the background; a collector that is down costs them, and nothing else.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from tracescribe.tracer.errors import SettingError
from tracescribe.tracer.provenance import version

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

    from tracescribe.runs.telemetry.redacted_export import RedactedSpanExporter
    from tracescribe.runs.telemetry.settings import TelemetryMode
    from tracescribe.tracer.redaction import Redactor

SDK_LOGGER = "opentelemetry"
CLOSING_SECONDS = 5.0
"""Longest wait at the end of a process for what is not exported yet."""
_lock = threading.Lock()
_pipelines: list[Pipeline] = []


class Pipeline:
    """Exports what is recorded in this process, until it is closed."""

    def __init__(self, tracers: TracerProvider, meters: MeterProvider, exporter: RedactedSpanExporter) -> None:
        self._tracers = tracers
        self._exporter = exporter
        self._meters = meters
        self._closed = False

    def flush(self, seconds: float = CLOSING_SECONDS) -> None:
        """Export what is recorded, for so long at most."""
        self._within(seconds, self._tracers.force_flush, self._meters.force_flush)

    def close(self, seconds: float = CLOSING_SECONDS) -> None:
        """Export what is left, for so long at most, and record no more."""
        if not self._closed:
            self._closed = True
            self._within(seconds, self._tracers.shutdown, self._meters.shutdown)
            if self._exporter.failed:
                told = "%d batches of spans could not be exported; the job is none the worse for it"
                logging.getLogger(__name__).error(told, self._exporter.failed)

    def _within(self, seconds: float, *acts: Callable[[], object]) -> None:
        def run() -> None:
            try:
                for act in acts:
                    act()
            except Exception:
                logging.getLogger(__name__).debug("telemetry was not exported to its end", exc_info=True)

        thread = threading.Thread(target=run, name="telemetry-end", daemon=True)
        thread.start()
        thread.join(seconds)


def start_pipeline(
    mode: TelemetryMode,
    *,
    job_id: str,
    instance: str,
    redactor: Redactor,
    console: TextIO | None = None,
) -> Pipeline:
    """Set up the SDK for this process; a second call in the same process returns the first pipeline.

    Args:
        mode: `console` or `otlp`; where to, OpenTelemetry's own variables say.
        job_id: whose trace it is.
        instance: this process's name, such as a worker's id.
        redactor: what must not leave.
        console: for `console`; None takes standard error.

    Raises:
        SettingError: the `otel` extra is missing, or a variable of OpenTelemetry cannot be used.
    """
    with _lock:
        if _pipelines and not _pipelines[-1]._closed:
            return _pipelines[-1]
        try:
            made = _made(mode, job_id, instance, redactor, console)
        except ImportError as error:
            raise SettingError(
                f"--telemetry {mode} needs the otel extra ({error.name} is missing); "
                "install it with: pip install 'tracescribe[otel]'"
            ) from None
        except ValueError as error:
            raise SettingError(f"--telemetry {mode}: {error}; correct the OTEL_ variables") from None
        _pipelines.append(made)
        return made


def _made(mode: str, job_id: str, instance: str, redactor: Redactor, console: TextIO | None) -> Pipeline:
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

    from tracescribe.runs.telemetry.redacted_export import RedactedSpanExporter

    _keep_quiet()
    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "tracescribe"}
    resource = Resource.create(
        {
            **named,
            "service.version": version(),
            "service.instance.id": instance,
            "tracescribe.job.id": job_id,
            "process.pid": os.getpid(),
        }
    )
    exporter, reader = _ends(mode, console)
    tracers = TracerProvider(resource=resource, id_generator=_job_ids(job_id), shutdown_on_exit=False)
    cleaned = RedactedSpanExporter(exporter, redactor)
    tracers.add_span_processor(SimpleSpanProcessor(cleaned) if mode == "console" else BatchSpanProcessor(cleaned))
    meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(meters)
    return Pipeline(tracers, meters, cleaned)


def _ends(mode: str, console: TextIO | None) -> tuple[SpanExporter, MetricReader]:
    """Where spans and metrics go."""
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader

    if mode == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        out = console or sys.stderr
        spans = ConsoleSpanExporter(out=out, formatter=lambda span: span.to_json(indent=None) + "\n")
        values = ConsoleMetricExporter(out=out, formatter=lambda data: data.to_json(indent=None) + "\n")
        return spans, PeriodicExportingMetricReader(values)
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(), PeriodicExportingMetricReader(OTLPMetricExporter())


def trace_id_of(job_id: str) -> int:
    """The id of a job's trace."""
    return int.from_bytes(hashlib.sha256(f"tracescribe job {job_id}".encode()).digest()[:16], "big") or 1


def _job_ids(job_id: str) -> Any:
    """An id generator whose every trace is the job's."""
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class JobIds(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            return trace_id_of(job_id)

    return JobIds()


def _keep_quiet() -> None:
    """Let no word about each failed export reach standard error; a log file still gets them (`SDK_LOGGER`)."""
    sdk = logging.getLogger(SDK_LOGGER)
    sdk.addHandler(logging.NullHandler())
    sdk.propagate = False
