"""What a worker tells of a case: attributes of its span, metrics, and a line of the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

from tracescribe.runs.telemetry import measures
from tracescribe.runs.telemetry.log_lines import log_place

if TYPE_CHECKING:
    from tracescribe.runs.executors.contract import CaseLease, CaseOutcome

logger = logging.getLogger(__name__)
CaseEnd = Literal["done", "failed", "returned", "lost", "stopped"]


def tell_outcome(outcome: CaseOutcome) -> None:
    """Say on the current span what came of its case."""
    from opentelemetry import trace

    span = trace.get_current_span()
    if not span.is_recording():
        return
    if outcome.failure is not None:
        from opentelemetry.trace import Status, StatusCode

        span.set_attribute("error.type", outcome.failure.kind)
        span.set_status(Status(StatusCode.ERROR, outcome.failure.message[:300]))
    figures = outcome.figures
    told: dict[str, str | int | float | None] = {
        "tracescribe.case.status": "stopped" if outcome.stop else "failed" if outcome.failure else "done",
        "tracescribe.case.usd": figures.usd,
        "tracescribe.case.llm_calls": figures.llm_calls,
        "tracescribe.case.experiments": figures.experiments,
        "tracescribe.case.cut_short": figures.cut_short,
        **{f"tracescribe.case.verdicts.{name}": count for name, count in figures.verdicts.items()},
    }
    span.set_attributes({name: value for name, value in told.items() if value is not None})


def tell_begin(lease: CaseLease) -> None:
    """Log that a worker holds a case."""
    fields = {"attempt": lease.attempt, "seed": lease.case.seed}
    told = "case %s begins, attempt %d"
    with log_place(case_id=lease.case_id):
        logger.info(told, lease.case_id, lease.attempt, extra={"event": "case begins", "fields": fields})


def tell_end(lease: CaseLease, end: CaseEnd, outcome: CaseOutcome | None, seconds: float) -> None:
    """Count and log how an attempt at a case ended.

    Args:
        end: `returned` where it was given back, `lost` where somebody else has the case by now, `stopped` where it
            stopped the job.
        seconds: that the attempt took.
    """
    failure = None if outcome is None else outcome.failure
    measures.case_ended(end, seconds, failure_kind=None if failure is None else failure.kind)
    if end == "lost":
        measures.lease_lost()
    figures = None if outcome is None else outcome.figures
    fields: dict[str, object] = {"attempt": lease.attempt, "seconds": round(seconds, 3)}
    if failure is not None:
        fields |= {"failure_kind": failure.kind, "failure": failure.message}
    elif outcome is not None and outcome.stop is not None:
        fields["stop"] = outcome.stop
    elif figures is not None:
        fields |= {"usd": figures.usd, "llm_calls": figures.llm_calls, "verdicts": figures.verdicts}
    level = logging.INFO if end in ("done", "returned") else logging.WARNING
    told, event = "case %s is %s after %.1f s", {"event": f"case {end}", "fields": fields}
    with log_place(case_id=lease.case_id):
        logger.log(level, told, lease.case_id, end, seconds, extra=event)
