"""The log of a report against its content: what was fixed when, and whether what is told is what was fixed.

Every entry counts. An event that stands in the log twice for one subject is a fault of its own: a claim tested twice
could tell the better result, and an entry after the right one must not hide one before it.
"""

from __future__ import annotations

from collections.abc import Mapping

from tracescribe.agents.claims import claim_sha256, supernodes_of
from tracescribe.agents.findings import supernode_sha256
from tracescribe.agents.registration import Event, Registration, verify_chain
from tracescribe.agents.registry_log import measurement_sha256, plan_sha256
from tracescribe.agents.reporting.report_model import CircuitReport
from tracescribe.tracer.errors import RegistrationError

_Log = Mapping[tuple[Event, str], Registration]
_ORDER: tuple[Event, ...] = ("registered", "planned", "measured")


def log_faults(report: CircuitReport) -> list[str]:
    """What the log contradicts, or does not bear out, in words."""
    first: dict[tuple[Event, str], Registration] = {}
    faults: list[str] = []
    for entry in report.registry:
        earlier = first.setdefault((entry.event, entry.subject), entry)
        if earlier is not entry:
            faults.append(
                f"{_what(entry)} was {entry.event} twice (entries {earlier.sequence} and {entry.sequence})"
            )  # fmt: skip
    faults += _order_faults(report) + _claim_faults(report, first) + _supernode_faults(report, first)
    faults += _experiment_faults(report, first) + _left_out(report)
    try:
        verify_chain(report.registry)
    except RegistrationError as error:
        faults.append(str(error))
    return faults


def _what(entry: Registration) -> str:
    kinds = {"defined": "supernode", "reported": "report"}
    return f"{kinds.get(entry.event, 'claim')} {entry.subject}"


def _order_faults(report: CircuitReport) -> list[str]:
    """Entries of a claim before one that must come first; each entry is looked at where it stands."""
    seen: dict[str, set[Event]] = {}
    faults: list[str] = []
    for entry in report.registry:
        if entry.event in _ORDER:
            before = seen.setdefault(entry.subject, set())
            if entry.event != "registered" and "registered" not in before:
                faults.append(f"claim {entry.subject} was {entry.event} before it was registered")
            if entry.event == "measured" and "planned" not in before:
                faults.append(f"claim {entry.subject} was measured before its experiment was planned")
            before.add(entry.event)
    return faults


def _claim_faults(report: CircuitReport, log: _Log) -> list[str]:
    """Claims that were never registered or were changed after it."""
    faults: list[str] = []
    for claim in report.claims:
        entry = log.get(("registered", claim.claim_id))
        if entry is None:
            faults.append(f"claim {claim.claim_id} was never registered")
        elif entry.sha256 != claim_sha256(claim):
            faults.append(f"claim {claim.claim_id} differs from what was registered")
    return faults


def _supernode_faults(report: CircuitReport, log: _Log) -> list[str]:
    """Supernodes whose members were changed after they were fixed, or not fixed before a claim names them."""
    faults: dict[str, None] = {}
    for supernode in report.supernodes:
        defined = log.get(("defined", supernode.supernode_id))
        if defined is not None and defined.sha256 != supernode_sha256(supernode):
            faults[f"the members of supernode {supernode.supernode_id} differ from what was defined"] = None
    for claim in report.claims:
        registered = log.get(("registered", claim.claim_id))
        for named in supernodes_of(claim):
            defined = log.get(("defined", named))
            if defined is None or (registered is not None and defined.sequence > registered.sequence):
                faults[f"supernode {named} was not defined before claim {claim.claim_id}"] = None
    return list(faults)


def _experiment_faults(report: CircuitReport, log: _Log) -> list[str]:
    """Plans and measurements other than those in the log."""
    claim_of = {plan.plan_id: plan.claim_id for plan in report.plans}
    faults: list[str] = []
    for plan in report.plans:
        entry = log.get(("planned", plan.claim_id))
        if entry is None:
            faults.append(f"the plan of claim {plan.claim_id} was never registered")
        elif entry.sha256 != plan_sha256(plan):
            faults.append(f"the plan of claim {plan.claim_id} differs from what was registered")
    for measurement in report.measurements:
        if measurement.plan_id in claim_of:
            claim_id = claim_of[measurement.plan_id]
            entry = log.get(("measured", claim_id))
            if entry is None:
                faults.append(f"the measurement of claim {claim_id} was never logged")
            elif entry.sha256 != measurement_sha256(measurement):
                faults.append(f"the measurement of claim {claim_id} differs from what was logged")
    return faults


def _left_out(report: CircuitReport) -> list[str]:
    """What the log has and the report does not tell.

    A plan alone may be missing: a budget that runs out in the middle of an experiment leaves its plan in the log. Where the
    step that registers failed in the middle, the report says so, and what was registered before that is no claim of it.
    """
    claims = {claim.claim_id for claim in report.claims}
    supernodes = {supernode.supernode_id for supernode in report.supernodes}
    claim_of = {plan.plan_id: plan.claim_id for plan in report.plans}
    told = {claim_of.get(measurement.plan_id) for measurement in report.measurements}
    half_done = any(failure.step == "register" for failure in report.failures)
    faults: list[str] = []
    for entry in report.registry:
        where = f"was {entry.event} (entry {entry.sequence}), but the report leaves"
        if entry.event == "defined":
            if entry.subject not in supernodes:
                faults.append(f"supernode {entry.subject} {where} it out")
        elif entry.event in _ORDER:
            if entry.subject not in claims and not (entry.event == "registered" and half_done):
                faults.append(f"claim {entry.subject} {where} it out")
            elif entry.event == "measured" and entry.subject not in told:
                faults.append(f"claim {entry.subject} {where} the result out")
    return faults
