"""The rules of a report that types cannot express: what a report must not say, each fault in words."""

from __future__ import annotations

from collections.abc import Iterable

from tracescribe.agents.claims import claim_sha256, supernodes_of
from tracescribe.agents.findings import Verdict
from tracescribe.agents.reporting.report_log_checks import log_faults
from tracescribe.agents.reporting.report_model import CircuitReport
from tracescribe.agents.reporting.report_seal import seal_faults
from tracescribe.agents.reporting.report_story_checks import story_faults
from tracescribe.agents.reporting.report_value_checks import value_faults
from tracescribe.agents.reporting.report_whole_checks import whole_faults
from tracescribe.agents.testing.decision_rules import rule_faults
from tracescribe.agents.testing.verdicts import judge
from tracescribe.tracer.errors import ReportError


def report_faults(report: CircuitReport) -> list[str]:
    """Every fault of a report, in words; empty for a report that keeps its contract."""
    faults = _id_faults(report)
    if not faults:  # the other rules look things up by id
        faults += story_faults(report) + whole_faults(report)
    faults += log_faults(report) + _plan_faults(report) + _verdicts_of_nothing(report) + _verdict_faults(report)
    return faults + value_faults(report) + seal_faults(report)


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


def _verdicts_of_nothing(report: CircuitReport) -> list[str]:
    """Verdicts without an experiment."""
    planned = {plan.claim_id for plan in report.plans}
    return [
        f"claim {verdict.claim_id} is {verdict.outcome} without an experiment"
        for verdict in report.verdicts
        if verdict.outcome in ("supported", "refuted") and verdict.claim_id not in planned
    ]


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
