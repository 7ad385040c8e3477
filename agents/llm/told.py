"""What was wrong with an answer, told in the report: a few lines, however much was wrong."""

from __future__ import annotations

from collections.abc import Sequence

from tracescribe.agents.report import StepFailure
from tracescribe.tracer.redaction import current_redactor

MOST_TOLD = 20
"""Faults of one answer that are told one by one; a model that names a thousand things that do not exist is told once."""


def told(step: str, reasons: Sequence[str], most: int = MOST_TOLD) -> tuple[StepFailure, ...]:
    """Faults as failures of a step: the first `most` of them, then how many more there were."""
    failures = [StepFailure(step=step, error=current_redactor().text(reason)) for reason in reasons[:most]]
    if len(reasons) > most:
        failures.append(StepFailure(step=step, error=f"and {len(reasons) - most} more faults of the same answer"))
    return tuple(failures)
