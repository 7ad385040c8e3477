"""The last entry of a report's log: a hash of the whole report, so that nothing in it can change unseen.

Claims, plans and measurements are in the log one by one; everything else (labels, scores, edges, the circuit as a whole,
why the agent stopped, cost, provenance, the story) is held by the entry `reported`. Left out are the log itself, which the
hash chain holds, and the seconds, which two runs never share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tracescribe.agents.reporting.report_model import CircuitReport
from tracescribe.tracer.errors import ReportError
from tracescribe.tracer.provenance import sha256_json

if TYPE_CHECKING:
    from tracescribe.agents.registry import ClaimRegistry

TIMES = frozenset({"seconds", "seconds_by_step"})
"""Fields of `cost` that the hash leaves out."""


def report_sha256(report: CircuitReport) -> str:
    """Content hash of a report without its log and its seconds.

    Raises:
        ReportError: the report holds a number or a text that JSON has no word for.
    """
    document: dict[str, Any] = report.model_dump(mode="json")
    cost: Mapping[str, Any] = document["cost"]
    del document["registry"]
    document["cost"] = {name: value for name, value in cost.items() if name not in TIMES}
    try:
        return sha256_json(document)
    except ValueError as error:
        raise ReportError(
            f"report {report.report_id} cannot be written as JSON: {error}; its numbers must be finite"
        ) from error


def sealed(report: CircuitReport, registry: ClaimRegistry) -> CircuitReport:
    """The report with the log that ends in its own entry: the last act of a run.

    Raises:
        ReportError: the report cannot be hashed.
        RegistrationError: the registry has sealed a report already.
        RegistryLogError: a process that died had sealed another report of this run.
    """
    registry.report(report.report_id, report_sha256(report))
    return report.model_copy(update={"registry": registry.entries})


def seal_faults(report: CircuitReport) -> list[str]:
    """Whether the log ends in an entry that fits the report, in words."""
    places = [place for place, entry in enumerate(report.registry) if entry.event == "reported"]
    if places != [len(report.registry) - 1]:
        return ["the log does not end in one entry 'reported': the report was never sealed, or worked on afterwards"]
    entry = report.registry[-1]
    if entry.subject != report.report_id:
        return [f"the log seals report {entry.subject[:40]}, not {report.report_id[:40]}"]
    try:
        found = report_sha256(report)
    except ReportError as error:
        return [str(error)]
    if entry.sha256 != found:
        return ["the report was changed after it was sealed: the last entry of its log does not fit it"]
    return []
