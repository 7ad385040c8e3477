"""By what rule a measurement becomes a verdict: what is measured for each kind of claim, and the numbers that decide.

A rule is part of the plan, fixed and hashed before the experiment runs. `agents.testing.verdicts` applies it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tracescribe.agents.claims import (
    Claim,
    EdgeClaim,
    LabelClaim,
    NecessityClaim,
    SteeringClaim,
    SufficiencyClaim,
    SwapClaim,
)
from tracescribe.agents.findings import DecisionRule, ExperimentPlan
from tracescribe.agents.testing.doses import MIN_DOSE_TREND
from tracescribe.agents.testing.experiment_settings import MIN_CONTROLS
from tracescribe.tracer.errors import ReportError

FIRST_RULE = "tracescribe-rule/1"
"""Rule of plans that name none: threshold, rank among at least 50 controls, Benjamini-Hochberg."""
RULE = "tracescribe-rule/2"
"""The same, and a steering claim needs an effect that grows with the dose."""
LABEL_RULE = "tracescribe-rule/3"
"""For labels: the same, on the worse of two areas, and its whole interval must lie where the claim is not refuted: a rare
feature fires in few unseen sentences, and luck on few must not support a label."""
KNOWN_RULES = (FIRST_RULE, RULE, LABEL_RULE)

NO_EFFECT: Mapping[str, float] = {"auc": 0.5, "two_way_auc": 0.5}
"""Value of a metric where nothing is going on; 0 for every metric that is not listed."""


def metric_of(claim: Claim) -> tuple[str, float]:
    """Name of the measured quantity, and the smallest value that supports the claim."""
    match claim:
        case NecessityClaim():
            return "log_probability_drop", claim.min_effect
        case SwapClaim():
            return "probability_gain", claim.min_effect
        case SteeringClaim():
            return "log_probability_change", claim.min_effect
        case EdgeClaim():
            return "relative_change", claim.min_effect
        case SufficiencyClaim():
            return "recovered", claim.min_recovered
        case LabelClaim():
            return "two_way_auc", claim.min_auc


def rule_for(claim: Claim, alpha: float) -> DecisionRule:
    """The rule by which a claim is judged, as its plan registers it."""
    metric, threshold = metric_of(claim)
    return DecisionRule(
        name=LABEL_RULE if isinstance(claim, LabelClaim) else RULE,
        threshold=threshold,
        alpha=alpha,
        min_controls=MIN_CONTROLS,
        refuted_below=half_way(metric, threshold),
        min_dose_trend=MIN_DOSE_TREND if isinstance(claim, SteeringClaim) else None,
        interval_above=half_way(metric, threshold) if isinstance(claim, LabelClaim) else None,
    )


def rule_of(plan: ExperimentPlan) -> DecisionRule:
    """The rule that a plan fixed; the first one where it names none.

    Raises:
        ReportError: a rule that this version does not know.
    """
    if plan.rule is None:
        return DecisionRule(
            name=FIRST_RULE,
            threshold=plan.threshold,
            alpha=plan.alpha,
            min_controls=MIN_CONTROLS,
            refuted_below=half_way(plan.metric, plan.threshold),
        )
    if plan.rule.name not in KNOWN_RULES:
        raise ReportError(
            f"plan {plan.plan_id} is to be judged by the rule {plan.rule.name[:40]!r}, and this version knows "
            f"{', '.join(KNOWN_RULES)}; read the report with the version that wrote it"
        )
    return plan.rule


def half_way(metric: str, threshold: float) -> float:
    """The middle between no effect and the threshold: below it a claim is refuted."""
    no_effect = NO_EFFECT.get(metric, 0.0)
    return no_effect + (threshold - no_effect) / 2.0


def rule_faults(claims: Sequence[Claim], plans: Sequence[ExperimentPlan]) -> list[str]:
    """Plans that do not test what their claim says, or would judge it by other numbers than its kind has.

    A plan is hashed before its experiment, so that it cannot be changed afterwards; that it was right in the first place
    is checked here.
    """
    by_id = {claim.claim_id: claim for claim in claims}
    faults: list[str] = []
    for plan in plans:
        claim = by_id.get(plan.claim_id)
        if claim is None:
            faults.append(f"plan {plan.plan_id} tests unknown claim {plan.claim_id}")
            continue
        if (plan.metric, plan.threshold) != metric_of(claim):
            faults.append(f"plan {plan.plan_id} measures something else than claim {claim.claim_id} says")
        if plan.rule is not None and plan.rule != rule_for(claim, plan.alpha):
            faults.append(f"plan {plan.plan_id} would judge claim {claim.claim_id} by numbers that are not the rule's")
        if plan.hypothesis not in ("", claim.statement):
            faults.append(f"plan {plan.plan_id} words claim {claim.claim_id} otherwise than it was registered")
    return faults
