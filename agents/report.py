"""The circuit report: the contract between agents, reviewers and scorers, and the validator that enforces it."""

from __future__ import annotations

import json

from pydantic import ValidationError

from tracescribe.agents.registration import Registration
from tracescribe.agents.reporting.report_checks import report_faults
from tracescribe.agents.reporting.report_model import (
    REPORT_SCHEMA,
    CircuitReport,
    Cost,
    Provenance,
    Sentence,
    StepFailure,
    Stopped,
    StopReason,
    TargetLogit,
    Unexplained,
)
from tracescribe.tracer.errors import ReportError

__all__ = [
    "REPORT_SCHEMA",
    "CircuitReport",
    "Cost",
    "Provenance",
    "Registration",
    "Sentence",
    "StepFailure",
    "StopReason",
    "Stopped",
    "TargetLogit",
    "Unexplained",
    "parse_report",
    "validate_report",
]


def validate_report(report: CircuitReport) -> None:
    """Check the rules of a report that types cannot express; all faults are reported at once.

    Raises:
        ReportError: an uncited sentence, a number that differs from the value it tells or names none, an unknown or
            repeated id, a claim that was tested before it was registered or changed afterwards, a plan or measurement
            other than the registered one, a verdict without an experiment or one that the rule does not give, or a
            circuit, swaps or a reason for stopping that contradict the claims.
    """
    faults = report_faults(report)
    if faults:
        raise ReportError(f"report {report.report_id} breaks its contract: " + "; ".join(faults))


def parse_report(text: str) -> CircuitReport:
    """Read and validate a report from JSON text.

    Raises:
        ReportError: the text is not a report, is one of another schema version, or breaks the contract.
    """
    _check_json(text)
    try:
        report = CircuitReport.model_validate_json(text)
    except ValidationError as error:
        _check_version(text)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise ReportError(
            f"not a circuit report: {where}: {first['msg']} ({error.error_count()} faults in all)"
        ) from error
    validate_report(report)
    return report


def _check_json(text: str) -> None:
    """Refuse what readers of JSON disagree about: a key that an object has twice, and numbers that JSON has no word for.

    Raises:
        ReportError: the text has one of both, or is no JSON.
    """
    try:
        json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ReportError(f"not a circuit report: not JSON: {str(error)[:200]}") from error


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ReportError(f"not a circuit report: the key {twice[0][:40]!r} stands twice in one object")
    return found


def _no_number(name: str) -> object:
    raise ReportError(f"not a circuit report: it holds {name}, which is no JSON number")


def _check_version(text: str) -> None:
    """Tell a report of another version from a document that is no report at all.

    A report of an earlier version is not upgraded: its log seals plans and measurements in their earlier form, so that
    an upgraded one could not be held against its own log.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return
    found = document.get("schema_id") if isinstance(document, dict) else None
    if isinstance(found, str) and found != REPORT_SCHEMA and found.startswith("tracescribe-report/"):
        raise ReportError(
            f"report schema: found {found[:40]!r}, expected {REPORT_SCHEMA!r}; run `tracescribe interpret` again with "
            "this version, or read the report with the version that wrote it"
        )
