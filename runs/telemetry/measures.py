"""Metrics of batch jobs, through the OpenTelemetry API: recorded only where a program switches an SDK on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

SCOPE = "tracescribe.runs"
"""Name of the tracer and of the meter."""
_SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)


def case_ended(status: str, seconds: float, *, failure_kind: str | None = None) -> None:
    """Count a case that a worker has handed in.

    Args:
        status: `done`, `failed`, `returned` (given back) or `lost` (somebody else has it by now).
        seconds: that this attempt took.
        failure_kind: of a case that failed.
    """
    told = {"tracescribe.case.status": status}
    if failure_kind is not None:
        told["tracescribe.case.failure_kind"] = failure_kind
    _instruments()["cases"].add(1, told)
    _instruments()["seconds"].record(seconds, told)


def lease_lost() -> None:
    """Count a lease that a worker held and lost."""
    _instruments()["lost"].add(1)


def store_retried(fault: str) -> None:
    """Count a transaction that had to be run again.

    Args:
        fault: name of the error's type.
    """
    _instruments()["retries"].add(1, {"error.type": fault})


def watch_queue(depths: Callable[[], dict[str, int]]) -> None:
    """Report how many cases are in each status, whenever metrics are exported.

    Args:
        depths: number of cases by status; called in another thread. What it raises leaves a gap.
    """
    from opentelemetry import metrics

    def observe(_: Any) -> Iterable[metrics.Observation]:
        try:
            found = depths()
        except Exception:  # noqa: BLE001 - telemetry never disturbs the work
            return []
        return [metrics.Observation(count, {"tracescribe.case.status": status}) for status, count in found.items()]

    metrics.get_meter(SCOPE).create_observable_gauge(
        "tracescribe.queue.cases", [observe], unit="{case}", description="Cases of the job by status."
    )


@lru_cache(maxsize=1)
def _instruments() -> dict[str, Any]:
    from opentelemetry import metrics

    meter = metrics.get_meter(SCOPE)
    return {
        "cases": meter.create_counter("tracescribe.cases", unit="{case}", description="Attempts at cases, by outcome."),
        "seconds": meter.create_histogram(
            "tracescribe.case.duration",
            unit="s",
            description="Seconds that an attempt at a case took.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        ),
        "lost": meter.create_counter("tracescribe.leases.lost", unit="{lease}", description="Leases lost to others."),
        "retries": meter.create_counter(
            "tracescribe.store.retries", unit="{transaction}", description="Transactions of the store run again."
        ),
    }
