"""Observability: traces and metrics through OpenTelemetry's SDK, switched on by `--telemetry`, and logs of JSON lines.

Comes in: `--telemetry`, `--log-file`, and OpenTelemetry's own variables. Goes out: spans and metrics to a console or an
OTLP collector, lines to a file; all of it redacted. May not happen here: anything that can disturb the work. Where nothing
is switched on, the SDK is not even imported.
"""

from __future__ import annotations
