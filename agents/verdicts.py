"""The verdict rule: a verdict is computed from plan and measurement alone, and no agent can set it.

For every measured claim, with `effect`, `threshold` and matched controls as its plan fixed them:

* `p` = (1 + number of controls with at least this effect) / (1 + number of controls);
* `q` = Benjamini-Hochberg over all claims of the report that have a p;
* **supported**: effect >= threshold, q <= alpha, and at least 50 controls;
* **refuted**: effect below the middle between no effect and the threshold (an effect of the wrong sign is included);
* **inconclusive**: anything between: weaker than claimed, or not to be told from the controls;
* **untested**: no measurement; the reason says why (no weights, budget, a recorded failure).

'No effect' is 0 for interventions; it is .5 for labels, whose metric is an area under the ROC curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tracescribe.agents.claims import Claim
from tracescribe.agents.experiment_settings import MIN_CONTROLS
from tracescribe.agents.findings import ExperimentPlan, Measurement, Outcome, Verdict
from tracescribe.tracer.statistics import RankTest, benjamini_hochberg, rank_p_value

NO_EFFECT: Mapping[str, float] = {"auc": 0.5}
"""Value of a metric where nothing is going on; 0 for every metric that is not listed."""


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
    """
    plan_of = {plan.claim_id: plan for plan in plans}
    measured = {m.plan_id: m for m in measurements}
    tests: dict[str, tuple[ExperimentPlan, Measurement, RankTest]] = {}
    for claim in claims:
        plan = plan_of.get(claim.claim_id)
        measurement = measured.get(plan.plan_id) if plan is not None else None
        if plan is not None and measurement is not None and measurement.effect is not None:
            test = rank_p_value(measurement.effect, measurement.control_effects)
            tests[claim.claim_id] = (plan, measurement, test)
    q_values = dict(zip(tests, benjamini_hochberg([t.p_value for _, _, t in tests.values()]), strict=True))
    verdicts: list[Verdict] = []
    for claim in claims:
        if claim.claim_id in tests:
            verdicts.append(_rule(*tests[claim.claim_id], float(q_values[claim.claim_id])))
        else:
            verdicts.append(_untested(claim.claim_id, plan_of, measured, untestable))
    return tuple(verdicts)


def _rule(plan: ExperimentPlan, measurement: Measurement, test: RankTest, q_value: float) -> Verdict:
    assert measurement.effect is not None
    n_controls = len(measurement.control_effects)
    outcome, reason = _outcome(plan, measurement.effect, n_controls, q_value)
    return Verdict(
        claim_id=plan.claim_id,
        outcome=outcome,
        reason=reason,
        effect=measurement.effect,
        threshold=plan.threshold,
        interval=measurement.interval,
        rank=test.rank,
        n_controls=n_controls,
        p_value=test.p_value,
        q_value=q_value,
    )


def _outcome(plan: ExperimentPlan, effect: float, n_controls: int, q_value: float) -> tuple[Outcome, str]:
    told = f"{plan.metric} {effect:.3g} against a threshold of {plan.threshold:.3g}"
    no_effect = NO_EFFECT.get(plan.metric, 0.0)
    half_way = no_effect + (plan.threshold - no_effect) / 2.0
    if effect < half_way:
        return "refuted", f"{told}: less than half of what was claimed"
    if effect < plan.threshold:
        return "inconclusive", f"{told}: weaker than claimed, but more than half of it"
    if n_controls < MIN_CONTROLS:
        return "inconclusive", f"{told}, but only {n_controls} distinct controls exist and {MIN_CONTROLS} are needed"
    if q_value > plan.alpha:
        return "inconclusive", f"{told}, but matched random controls do as much (q {q_value:.3g} > {plan.alpha:g})"
    return "supported", f"{told}, beyond {n_controls} matched random controls (q {q_value:.3g})"


def _untested(
    claim_id: str,
    plan_of: Mapping[str, ExperimentPlan],
    measured: Mapping[str, Measurement],
    untestable: Mapping[str, str],
) -> Verdict:
    reason = untestable.get(claim_id)
    plan = plan_of.get(claim_id)
    if reason is None and plan is not None and plan.plan_id in measured:
        reason = measured[plan.plan_id].failure
    return Verdict(claim_id=claim_id, outcome="untested", reason=reason or "its experiment was never run")
