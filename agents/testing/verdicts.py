"""The verdict rule: a verdict is computed from plan and measurement alone, and no agent can set it.

For every measured claim, with `effect` and matched controls as measured, and the numbers of the rule that its plan fixed
(`agents.testing.decision_rules`):

* `p` = (1 + number of controls with at least this effect) / (1 + number of controls);
* `q` = Benjamini-Hochberg over all claims of the report that have a p;
* **supported**: effect >= threshold, q <= alpha, at least 50 controls, for steering an effect that grows with the
  dose, for labels an interval that lies wholly above what refutes;
* **refuted**: effect below the middle between no effect and the threshold (an effect of the wrong sign is included);
* **inconclusive**: anything between: weaker than claimed, or not to be told from the controls;
* **untested**: no measurement; the reason says why (no weights, budget, a recorded failure, numbers that are not finite).

'No effect' is 0 for interventions; it is .5 for labels, whose metric is the smaller of two areas under ROC curves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tracescribe.agents.claims import Claim
from tracescribe.agents.findings import DecisionRule, ExperimentPlan, Measurement, Outcome, Verdict
from tracescribe.agents.testing.decision_rules import NO_EFFECT, rule_of
from tracescribe.agents.testing.doses import dose_trend
from tracescribe.tracer.statistics import RankTest, benjamini_hochberg, rank_p_value

__all__ = ["NO_EFFECT", "judge"]


def judge(
    claims: Sequence[Claim],
    plans: Sequence[ExperimentPlan],
    measurements: Sequence[Measurement],
    untestable: Mapping[str, str],
) -> tuple[Verdict, ...]:
    """Verdicts of all claims of a report, in the order of the claims.

    Args:
        claims: every registered claim.
        plans: at most one for each claim.
        measurements: at most one for each plan.
        untestable: why a claim has no plan, by claim id.

    Raises:
        ReportError: a plan is to be judged by a rule that this version does not know.
    """
    plan_of = {plan.claim_id: plan for plan in plans}
    measured = {m.plan_id: m for m in measurements}
    tests: dict[str, tuple[ExperimentPlan, Measurement, RankTest]] = {}
    for claim in claims:
        plan = plan_of.get(claim.claim_id)
        measurement = measured.get(plan.plan_id) if plan is not None else None
        if plan is not None and measurement is not None and measurement.effect is not None and _is_finite(measurement):
            test = rank_p_value(measurement.effect, measurement.control_effects)
            tests[claim.claim_id] = (plan, measurement, test)
    q_values = dict(zip(tests, benjamini_hochberg([t.p_value for _, _, t in tests.values()]), strict=True))
    verdicts: list[Verdict] = []
    for claim in claims:
        if claim.claim_id in tests:
            verdicts.append(_verdict(*tests[claim.claim_id], float(q_values[claim.claim_id])))
        else:
            verdicts.append(_untested(claim.claim_id, plan_of, measured, untestable))
    return tuple(verdicts)


def _is_finite(measurement: Measurement) -> bool:
    """Whether every number that the rule reads is one."""
    numbers = [measurement.effect, *measurement.control_effects, *(point.effect for point in measurement.doses)]
    return all(number is not None and math.isfinite(number) for number in numbers)


def _verdict(plan: ExperimentPlan, measurement: Measurement, test: RankTest, q_value: float) -> Verdict:
    rule = rule_of(plan)
    outcome, reason = _outcome(plan, rule, measurement, q_value)
    return Verdict(
        claim_id=plan.claim_id,
        outcome=outcome,
        reason=reason,
        effect=measurement.effect,
        threshold=rule.threshold,
        interval=measurement.interval,
        rank=test.rank,
        n_controls=len(measurement.control_effects),
        p_value=test.p_value,
        q_value=q_value,
    )


def _outcome(plan: ExperimentPlan, rule: DecisionRule, measurement: Measurement, q_value: float) -> tuple[Outcome, str]:
    effect, n_controls = measurement.effect, len(measurement.control_effects)
    assert effect is not None, "only measured claims come here"
    told = f"{plan.metric} {effect:.3g} against a threshold of {rule.threshold:.3g}"
    if effect < rule.refuted_below:
        return "refuted", f"{told}: less than half of what was claimed"
    if effect < rule.threshold:
        return "inconclusive", f"{told}: weaker than claimed, but more than half of it"
    if n_controls < rule.min_controls:
        return (
            "inconclusive",
            f"{told}, but only {n_controls} distinct controls exist and {rule.min_controls} are needed",
        )
    if q_value > rule.alpha:
        return "inconclusive", f"{told}, but matched random controls do as much (q {q_value:.3g} > {rule.alpha:g})"
    missing = _trend_fault(plan, rule, measurement, effect) or _interval_fault(rule, measurement)
    if missing is not None:
        return "inconclusive", f"{told}, but {missing}"
    return "supported", f"{told}, beyond {n_controls} matched random controls (q {q_value:.3g})"


def _interval_fault(rule: DecisionRule, measurement: Measurement) -> str | None:
    """Why the interval does not bear a claim out; None where it does, or where the rule asks for none."""
    if rule.interval_above is None:
        return None
    if measurement.interval is None:
        return "it has no interval"
    if measurement.interval.low <= rule.interval_above:
        return (
            f"its interval begins at {measurement.interval.low:.3g}, where the claim would be refuted "
            f"(up to {rule.interval_above:.3g}): too few sentences"
        )
    return None


def _trend_fault(plan: ExperimentPlan, rule: DecisionRule, measurement: Measurement, effect: float) -> str | None:
    """Why the doses do not bear a steering claim out; None where they do, or where the rule asks for none."""
    if rule.min_dose_trend is None:
        return None
    if not plan.doses or tuple(point.multiplier for point in measurement.doses) != plan.doses:
        return "not every planned dose was measured"
    trend = dose_trend(measurement.doses, effect)
    if trend < rule.min_dose_trend:
        return (
            f"it does not grow with the dose (rank correlation {trend:.2g} over {len(plan.doses) + 1} doses, "
            f"{rule.min_dose_trend:.2g} needed)"
        )
    return None


def _untested(
    claim_id: str,
    plan_of: Mapping[str, ExperimentPlan],
    measured: Mapping[str, Measurement],
    untestable: Mapping[str, str],
) -> Verdict:
    reason = untestable.get(claim_id)
    plan = plan_of.get(claim_id)
    measurement = measured.get(plan.plan_id) if plan is not None else None
    if reason is None and measurement is not None:
        reason = measurement.failure
        if reason is None and measurement.effect is not None:
            reason = "its experiment gave numbers that are not finite; nothing can be said of the claim"
        elif reason is None:
            reason = "its experiment failed, and no reason was recorded"
    return Verdict(claim_id=claim_id, outcome="untested", reason=reason or "its experiment was never run")
