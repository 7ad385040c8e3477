"""An OTLP collector for tests: real HTTP on loopback, real protobuf, everything that arrives kept."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Received:
    """One span, with the resource that it came from.

    Attributes:
        span: as it was sent.
        resource: attributes of the process.
    """

    def __init__(self, span: Any, resource: dict[str, Any]) -> None:
        self.span = span
        self.resource = resource

    @property
    def name(self) -> str:
        """The span's name."""
        return str(self.span.name)

    @property
    def attributes(self) -> dict[str, Any]:
        """The span's attributes."""
        return values(self.span.attributes)


class Collector:
    """What has arrived so far.

    Attributes:
        spans: all of them.
        metrics: (name, resource, metric) of all data points' metrics.
        bodies: request bodies, decompressed, as they arrived.
        status: that every request is answered with.
    """

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.metrics: list[tuple[str, dict[str, Any], Any]] = []
        self.bodies: list[bytes] = []
        self.status = 200
        self._lock = threading.Lock()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                reply = collector.take(self.path, body) if collector.status == 200 else b""
                self.send_response(collector.status)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    @property
    def address(self) -> str:
        """As `OTEL_EXPORTER_OTLP_ENDPOINT` takes it."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def take(self, path: str, body: bytes) -> bytes:
        """Keep what one request holds; the answer to it."""
        with self._lock:
            self.bodies.append(body)
            if path == "/v1/traces":
                traces = ExportTraceServiceRequest.FromString(body)
                for part in traces.resource_spans:
                    resource = values(part.resource.attributes)
                    self.spans += [Received(span, resource) for scope in part.scope_spans for span in scope.spans]
                return bytes(ExportTraceServiceResponse().SerializeToString())
            assert path == "/v1/metrics", path
            for part in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                resource = values(part.resource.attributes)
                self.metrics += [(m.name, resource, m) for scope in part.scope_metrics for m in scope.metrics]
            return bytes(ExportMetricsServiceResponse().SerializeToString())

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def values(pairs: Any) -> dict[str, Any]:
    """Attributes as plain values."""
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(inner) for inner in value.array_value.values]
    return getattr(value, kind) if kind else None


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens."""
    collector = Collector()
    collector.start()
    try:
        yield collector
    finally:
        collector.stop()
