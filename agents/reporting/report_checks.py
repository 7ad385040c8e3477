"""The rules of a report that types cannot express: what a report must not say, each fault in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tracescribe.agents.claims import claim_sha256, supernodes_of
from tracescribe.agents.findings import ExperimentPlan, Measurement, Supernode, Verdict, supernode_sha256
from tracescribe.agents.registration import Registration, verify_chain
from tracescribe.agents.reporting.report_model import CircuitReport
from tracescribe.agents.reporting.report_story_checks import story_faults
from tracescribe.agents.reporting.report_whole_checks import whole_faults
from tracescribe.agents.testing.decision_rules import rule_faults
from tracescribe.agents.testing.verdicts import judge
from tracescribe.tracer.errors import RegistrationError, ReportError
from tracescribe.tracer.provenance import sha256_json

_Log = Mapping[tuple[str, str], Registration]


def report_faults(report: CircuitReport) -> list[str]:
    """Every fault of a report, in words; empty for a report that keeps its contract."""
    log: _Log = {(entry.event, entry.subject): entry for entry in report.registry}
    faults = _id_faults(report)
    if not faults:  # the other rules look things up by id
        faults += story_faults(report) + whole_faults(report)
    faults += _order_faults(report, log) + _member_faults(report, log) + _experiment_faults(report, log)
    faults += _plan_faults(report) + _verdict_faults(report)
    try:
        verify_chain(report.registry)
    except RegistrationError as error:
        faults.append(str(error))
    return faults


def _repeated(ids: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    twice: set[str] = set()
    for item in ids:
        (twice if item in seen else seen).add(item)
    return sorted(twice)


def _id_faults(report: CircuitReport) -> list[str]:
    claims = {claim.claim_id for claim in report.claims}
    supernodes = {supernode.supernode_id for supernode in report.supernodes}
    plans = {plan.plan_id for plan in report.plans}
    faults = [f"claim id {i} is used twice" for i in _repeated(c.claim_id for c in report.claims)]
    faults += [f"supernode id {i} is used twice" for i in _repeated(s.supernode_id for s in report.supernodes)]
    faults += [f"claim {i} has two plans" for i in _repeated(p.claim_id for p in report.plans)]
    faults += [f"plan id {i} is used twice" for i in _repeated(p.plan_id for p in report.plans)]
    faults += [f"plan {i} has two measurements" for i in _repeated(m.plan_id for m in report.measurements)]
    for number, sentence in enumerate(report.summary):
        faults += [f"summary[{number}] cites unknown claim {i}" for i in sentence.claims if i not in claims]
    for claim in report.claims:
        faults += [
            f"claim {claim.claim_id} names unknown supernode {s}" for s in supernodes_of(claim) if s not in supernodes
        ]
    faults += [f"a measurement names unknown plan {m.plan_id}" for m in report.measurements if m.plan_id not in plans]
    judged = {verdict.claim_id for verdict in report.verdicts}
    faults += [f"a verdict names unknown claim {i}" for i in sorted(judged - claims)]
    faults += [f"claim {i} has no verdict" for i in sorted(claims - judged)]
    faults += [f"claim {i} has two verdicts" for i in _repeated(v.claim_id for v in report.verdicts)]
    return faults


def _order_faults(report: CircuitReport, log: _Log) -> list[str]:
    """Claims tested before they were registered, changed after it, or judged without a measurement."""
    faults: list[str] = []
    for claim in report.claims:
        entry = log.get(("registered", claim.claim_id))
        if entry is None:
            faults.append(f"claim {claim.claim_id} was never registered")
        elif entry.sha256 != claim_sha256(claim):
            faults.append(f"claim {claim.claim_id} differs from what was registered")
        for event in ("planned", "measured"):
            later = log.get((event, claim.claim_id))
            if later is not None and (entry is None or later.sequence < entry.sequence):
                faults.append(f"claim {claim.claim_id} was {event} before it was registered")
    planned = {plan.claim_id for plan in report.plans}
    for verdict in report.verdicts:
        if verdict.outcome in ("supported", "refuted") and verdict.claim_id not in planned:
            faults.append(f"claim {verdict.claim_id} is {verdict.outcome} without an experiment")
    return faults


def _member_faults(report: CircuitReport, log: _Log) -> list[str]:
    """Supernodes that a claim names, but whose members were not fixed before it, or were changed after."""
    supernodes: Mapping[str, Supernode] = {s.supernode_id: s for s in report.supernodes}
    faults: dict[str, None] = {}
    for claim in report.claims:
        registered = log.get(("registered", claim.claim_id))
        for supernode in supernodes_of(claim):
            defined = log.get(("defined", supernode))
            if defined is None or (registered is not None and defined.sequence > registered.sequence):
                faults[f"supernode {supernode} was not defined before claim {claim.claim_id}"] = None
            elif supernode in supernodes and supernode_sha256(supernodes[supernode]) != defined.sha256:
                faults[f"the members of supernode {supernode} differ from what was defined"] = None
    return list(faults)


def _experiment_faults(report: CircuitReport, log: _Log) -> list[str]:
    """Plans and measurements other than those in the log, and results that the report leaves out.

    A plan alone may be missing: a budget that runs out in the middle of an experiment leaves its plan in the log.
    """
    claims = {claim.claim_id for claim in report.claims}
    plans: Mapping[str, ExperimentPlan] = {plan.plan_id: plan for plan in report.plans}
    faults: list[str] = []
    for plan in report.plans:
        entry = log.get(("planned", plan.claim_id))
        if entry is None:
            faults.append(f"the plan of claim {plan.claim_id} was never registered")
        elif entry.sha256 != sha256_json(plan.model_dump(mode="json")):
            faults.append(f"the plan of claim {plan.claim_id} differs from what was registered")
    told: set[str] = set()
    for measurement in report.measurements:
        if measurement.plan_id in plans:
            claim_id = plans[measurement.plan_id].claim_id
            told.add(claim_id)
            faults += _measurement_faults(claim_id, measurement, log)
    for (event, subject), entry in log.items():
        if event in ("planned", "measured") and subject not in claims:
            faults.append(f"claim {subject} was {event} (entry {entry.sequence}), but the report leaves it out")
        elif event == "measured" and subject not in told:
            faults.append(
                f"claim {subject} was measured (entry {entry.sequence}), but the report leaves the result out"
            )
    return faults


def _measurement_faults(claim_id: str, measurement: Measurement, log: _Log) -> list[str]:
    measured, planned = log.get(("measured", claim_id)), log.get(("planned", claim_id))
    if measured is None:
        return [f"the measurement of claim {claim_id} was never logged"]
    faults: list[str] = []
    if measured.sha256 != sha256_json(measurement.model_dump(mode="json")):
        faults.append(f"the measurement of claim {claim_id} differs from what was logged")
    if planned is not None and measured.sequence < planned.sequence:
        faults.append(f"claim {claim_id} was measured before its experiment was planned")
    return faults


def _plan_faults(report: CircuitReport) -> list[str]:
    """Plans that test something other than their claim, or would judge it by another rule."""
    claims = {claim.claim_id: claim_sha256(claim) for claim in report.claims}
    faults = [
        f"the plan of claim {plan.claim_id} was made for a claim of other content"
        for plan in report.plans
        if plan.claim_id in claims and plan.claim_sha256 != claims[plan.claim_id]
    ]
    return faults + rule_faults(report.claims, report.plans)


def _verdict_faults(report: CircuitReport) -> list[str]:
    """Verdicts that the rule does not give for these plans and measurements: someone else set them."""
    told = {verdict.claim_id: verdict for verdict in report.verdicts}
    try:
        ruled = judge(report.claims, report.plans, report.measurements, {})
    except ReportError as error:
        return [str(error)]
    return [
        f"claim {v.claim_id} is {told[v.claim_id].outcome}, but the rule makes it {v.outcome}"
        if told[v.claim_id].outcome != v.outcome
        else f"the numbers in the verdict of claim {v.claim_id} differ from what the rule makes of its measurement"
        for v in ruled
        if v.claim_id in told and not _same_verdict(told[v.claim_id], v)
    ]


def _same_verdict(told: Verdict, ruled: Verdict) -> bool:
    """Equal in all that is computed; why a claim is untested is told by the loop alone."""
    if told.outcome != "untested" and told.reason != ruled.reason:
        return False
    return told.model_copy(update={"reason": ""}) == ruled.model_copy(update={"reason": ""})
