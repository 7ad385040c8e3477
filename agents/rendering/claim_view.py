"""Claims with plan, measurement and verdict, ready to be shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from tracescribe.agents.claims import (
    Claim,
    EdgeClaim,
    LabelClaim,
    NecessityClaim,
    SteeringClaim,
    SufficiencyClaim,
    SwapClaim,
    supernodes_of,
)
from tracescribe.agents.findings import ExperimentPlan, Interval, Measurement, Outcome, Verdict
from tracescribe.agents.rendering import numbers
from tracescribe.agents.rendering.claim_words import CLAIM_KINDS, ClaimKind, metric_words
from tracescribe.agents.rendering.dose_plot import DosePlot, dose_plot
from tracescribe.agents.rendering.evidence_view import feature_anchor, predicate_words
from tracescribe.agents.rendering.measured_view import (
    change_words,
    detail_rows,
    interval_name,
    plan_rows,
    wording_rows,
    wordings_words,
)
from tracescribe.agents.rendering.rows import Row, Subject
from tracescribe.agents.rendering.strip_plot import StripPlot, strip_plot
from tracescribe.agents.rendering.visible_text import visible_text, visible_token
from tracescribe.agents.report import CircuitReport

MAX_EDITS_SHOWN = 4000
"""Characters of an intervention's JSON on the page; the whole is in report.json."""


@dataclass(frozen=True)
class ClaimView:
    """One claim as shown.

    Attributes:
        effect, threshold, interval: in words, in units of the claim's kind.
        interval_of: what the interval is of: `interval` for the effect itself, `beyond controls` for the effect less
            what controls do.
        doses: how the effect grows with the dose; None for claims without doses.
        changes: what became of the tokens that the claim speaks of.
        wordings, wording_rows: the effect in other wordings of the prompt, in a line and one by one.
        plan: rows about the experiment, in the order in which it was decided; empty where none was planned.
        details: further measured numbers.
        edits: the intervention as JSON text.
    """

    claim_id: str
    kind: str
    statement: str
    subjects: tuple[Subject, ...]
    outcome: Outcome
    reason: str
    effect: str
    threshold: str
    interval: str
    interval_of: str
    rank: str
    p: str
    q: str
    plot: StripPlot | None
    doses: DosePlot | None
    changes: tuple[Row, ...]
    wordings: str
    wording_rows: tuple[Row, ...]
    expectation: tuple[Row, ...]
    plan: tuple[Row, ...]
    details: tuple[Row, ...]
    edits: str


@dataclass(frozen=True)
class ClaimGroup:
    """Claims of one kind."""

    kind: str
    words: ClaimKind
    claims: tuple[ClaimView, ...]


def subjects_of(claim: Claim, report: CircuitReport) -> tuple[Subject, ...]:
    """What a claim is about, in the order that the claim names it."""
    if isinstance(claim, LabelClaim):
        name = next(
            (item.text for item in report.labels if (item.layer, item.feature) == (claim.layer, claim.feature)), ""
        )
        text = f"{claim.layer}/{claim.feature} {visible_text(name)}".strip()
        known = bool(name)
        return (Subject(feature_anchor(claim.layer, claim.feature) if known else "labels", text),)
    labels = {supernode.supernode_id: supernode.label for supernode in report.supernodes}
    return tuple(Subject(f"step-{node}", visible_text(labels[node])) for node in supernodes_of(claim))


def expectation_of(claim: Claim) -> tuple[Row, ...]:
    """What a claim says must be observed, as fixed at its registration."""
    match claim:
        case LabelClaim():
            return (
                Row("condition", predicate_words(claim.predicate)),
                Row("needed", f"AUC of at least {numbers.number(claim.min_auc)}"),
            )
        case NecessityClaim():
            return (Row("answer", visible_token(claim.target_token)),)
        case SufficiencyClaim():
            return (Row("answer", visible_token(claim.target_token)),)
        case SteeringClaim():
            return (
                Row("activations multiplied by", numbers.number(claim.multiplier)),
                Row("expected", f"“{visible_token(claim.expected_token)}” goes {claim.direction}"),
            )
        case SwapClaim():
            return (
                Row("features taken from the prompt", visible_text(claim.donor_prompt)),
                Row("expected answer", visible_token(claim.expected_token)),
                Row("features set", ", ".join(feature.node_id for feature in claim.donor_features)),
            )
        case EdgeClaim():
            return (Row("expected sign", "activates" if claim.sign > 0 else "inhibits"),)
        case _:
            assert_never(claim)


def _interval_words(interval: Interval | None, kind: ClaimKind) -> str:
    if interval is None:
        return ""
    return f"{numbers.between(kind.amount(interval.low), kind.amount(interval.high))} ({100 * interval.level:g} % interval)"


def _reason_words(verdict: Verdict, plan: ExperimentPlan | None) -> str:
    """The verdict's reason, with the metric's name in words."""
    reason = visible_text(verdict.reason)
    return reason.replace(plan.metric, metric_words(plan.metric)) if plan is not None else reason


def _edits(plan: ExperimentPlan | None) -> str:
    if plan is None or not plan.intervention:
        return ""
    text = visible_json(plan.intervention)
    if len(text) > MAX_EDITS_SHOWN:
        return text[:MAX_EDITS_SHOWN] + " … (the whole is in report.json)"
    return text


def visible_json(value: object) -> str:
    """A JSON value on one line, made visible."""
    return visible_text(json.dumps(value, ensure_ascii=False, sort_keys=True))


def _claim_view(
    claim: Claim,
    report: CircuitReport,
    verdict: Verdict,
    plan: ExperimentPlan | None,
    measurement: Measurement | None,
    entries: Mapping[str, tuple[int, str]],
) -> ClaimView:
    kind = CLAIM_KINDS[claim.kind]
    effect = verdict.effect if measurement is None else measurement.effect
    threshold = plan.threshold if plan is not None else verdict.threshold
    plot: StripPlot | None = None
    if measurement is not None and threshold is not None:
        plot = strip_plot(measurement.effect, threshold, measurement.control_effects, words=kind.amount)
    doses: DosePlot | None = None
    if isinstance(claim, SteeringClaim) and measurement is not None and threshold is not None:
        doses = dose_plot(measurement.doses, claim.multiplier, measurement.effect, threshold, kind.amount)
    interval = verdict.interval or (measurement.interval if measurement is not None else None)
    rank = f"{verdict.rank} of {verdict.n_controls + 1}" if verdict.rank is not None else ""
    return ClaimView(
        claim_id=claim.claim_id,
        kind=claim.kind,
        statement=visible_text(claim.statement),
        subjects=subjects_of(claim, report),
        outcome=verdict.outcome,
        reason=_reason_words(verdict, plan),
        effect=kind.measure(effect) if effect is not None else "",
        threshold=kind.measure(threshold) if threshold is not None else "",
        interval=_interval_words(interval, kind),
        interval_of=interval_name(interval),
        rank=rank,
        p=numbers.p_value(verdict.p_value) if verdict.p_value is not None else "",
        q=numbers.p_value(verdict.q_value) if verdict.q_value is not None else "",
        plot=plot,
        expectation=expectation_of(claim),
        plan=plan_rows(plan, entries) if plan is not None else (),
        changes=tuple(change_words(change) for change in measurement.changes) if measurement is not None else (),
        doses=doses,
        wordings=wordings_words(measurement, kind.amount),
        wording_rows=wording_rows(measurement, kind.measure),
        details=detail_rows(measurement, interval),
        edits=_edits(plan),
    )


def claim_groups(report: CircuitReport) -> tuple[ClaimGroup, ...]:
    """All claims of a report by kind, refuted ones in their place among the others."""
    verdicts = {verdict.claim_id: verdict for verdict in report.verdicts}
    plans = {plan.claim_id: plan for plan in report.plans}
    measurements = {measurement.plan_id: measurement for measurement in report.measurements}
    entries: dict[str, dict[str, tuple[int, str]]] = {}
    for entry in report.registry:
        entries.setdefault(entry.subject, {})[entry.event] = (entry.sequence, entry.sha256)
    groups: list[ClaimGroup] = []
    for kind, words in CLAIM_KINDS.items():
        views: list[ClaimView] = []
        for claim in report.claims:
            if claim.kind == kind:
                plan = plans.get(claim.claim_id)
                measurement = measurements.get(plan.plan_id) if plan is not None else None
                verdict = verdicts[claim.claim_id]
                views.append(_claim_view(claim, report, verdict, plan, measurement, entries.get(claim.claim_id, {})))
        if views:
            groups.append(ClaimGroup(kind, words, tuple(views)))
    return tuple(groups)
