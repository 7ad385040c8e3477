"""Run registered claims' experiments: plan, log the plan, measure, log the measurement. In that order, always."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tracescribe.agents.claims import (
    Claim,
    EdgeClaim,
    LabelClaim,
    NecessityClaim,
    SteeringClaim,
    SufficiencyClaim,
    SwapClaim,
)
from tracescribe.agents.experiment_settings import ExperimentSettings
from tracescribe.agents.findings import ExperimentPlan, Interval, Measurement, Supernode
from tracescribe.agents.label_tests import design_label_test, measure_label
from tracescribe.agents.planning import InterventionTest, Members, design_intervention
from tracescribe.agents.resampling import mean_interval
from tracescribe.tracer.errors import BudgetExceededError, InputError, InterventionError, WorkError
from tracescribe.tracer.statistics import Float64Array

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.tracer.interventions import InterventionResult


MIN_WHOLE = 0.1
"""Sufficiency: least probability that the features together must carry; shares of less would rest on next to nothing."""

FULL_OWN_PART = math.log(2)
"""Nats from which a supernode's removal counts as having its part in a swap: it at least doubles the odds of the donor's
answer against the old one, beyond what the donor's features alone do."""


@dataclass(frozen=True)
class ExperimentBatch:
    """What a batch of experiments gave.

    Attributes:
        plans, measurements: one each for every claim that could be tested.
        untestable: (claim id, reason) for the others.
        cut_short: why the batch ended early, or None.
    """

    plans: tuple[ExperimentPlan, ...]
    measurements: tuple[Measurement, ...]
    untestable: tuple[tuple[str, str], ...]
    cut_short: str | None


def run_experiments(
    tools: CaseTools, supernodes: Sequence[Supernode], claims: Sequence[Claim], settings: ExperimentSettings
) -> ExperimentBatch:
    """Test registered claims, in the order given.

    A claim that cannot be tested is told with its reason; a budget that runs out leaves the rest untested.

    Raises:
        RegistrationError: a claim that was not registered in this form.
    """
    members: Members = {s.supernode_id: tuple(m.node for m in s.members) for s in supernodes}
    plans: list[ExperimentPlan] = []
    measurements: list[Measurement] = []
    untestable: list[tuple[str, str]] = []
    cut_short: str | None = None
    for claim in claims:
        reason = cut_short if cut_short is not None else tools.why_untestable()
        if reason is None:
            try:
                plan, measurement = _run(tools, members, claim, settings)
                plans.append(plan)
                measurements.append(measurement)
            except BudgetExceededError as error:
                reason = cut_short = str(error)
            except _NotTestable as error:
                reason = str(error)
        if reason is not None:
            untestable.append((claim.claim_id, reason))
    return ExperimentBatch(tuple(plans), tuple(measurements), tuple(untestable), cut_short)


class _NotTestable(Exception):
    """A claim for which no experiment could be designed; carries the reason."""


def _run(
    tools: CaseTools, members: Members, claim: Claim, settings: ExperimentSettings
) -> tuple[ExperimentPlan, Measurement]:
    measure: Callable[[], Measurement]
    try:
        if isinstance(claim, LabelClaim):
            label_test = design_label_test(tools, claim, settings)
            plan, measure = label_test.plan, lambda: measure_label(tools, label_test, settings)
        else:
            test = design_intervention(tools, members, claim, settings)
            plan, measure = test.plan, lambda: measure_intervention(tools, test, settings)
    except BudgetExceededError:
        raise
    except (WorkError, InputError) as error:
        raise _NotTestable(str(error)) from error
    tools.meter.charge(experiments=1)
    tools.registry.plan(plan)
    try:
        measurement = measure()
    except BudgetExceededError:
        raise
    except WorkError as error:
        measurement = Measurement(
            plan_id=plan.plan_id, effect=None, control_effects=(), interval=None, failure=str(error)
        )
    tools.registry.measure(plan, measurement)
    return plan, measurement


def measure_intervention(tools: CaseTools, test: InterventionTest, settings: ExperimentSettings) -> Measurement:
    """Run the tested edits and all controls, as rows of one batch, and measure the claim's metric in every row.

    Raises:
        BudgetExceededError: the forward passes are used up.
        InterventionError: an effect that is not finite.
    """
    design = test.design
    rows = [design.tested, *design.controls] + ([design.reference] if design.reference is not None else [])
    result = tools.intervene(rows, read=design.read)
    effects, details = effects_of(tools, design.claim, result)
    if not np.isfinite(effects).all():
        raise InterventionError(f"the test of claim {design.claim.claim_id} gave an effect that is not finite")
    effect, controls = float(effects[0]), effects[1 : 1 + len(design.controls)]
    interval = None
    if len(controls):
        rng = tools.rng("interval", design.claim.claim_id)
        bounds = mean_interval(effect - controls, rng, settings.n_bootstrap)
        interval = Interval(low=bounds.low, high=bounds.high, method="effect beyond controls, bootstrap over controls")
        details["mean_control_effect"] = float(controls.mean())
    return Measurement(
        plan_id=test.plan.plan_id,
        effect=effect,
        control_effects=tuple(float(c) for c in controls),
        interval=interval,
        details=details,
    )


def effects_of(
    tools: CaseTools, claim: Claim, result: InterventionResult
) -> tuple[Float64Array, dict[str, float | str | None]]:
    """A claim's metric in every row, `[n_rows]`, and numbers for people about the first row."""
    match claim:
        case NecessityClaim():
            clean, edited = _of_token(tools, claim.target_token, result)
            effects = clean - edited
        case SteeringClaim():
            clean, edited = _of_token(tools, claim.expected_token, result)
            effects = (edited - clean) * (1.0 if claim.direction == "up" else -1.0)
        case SwapClaim():
            clean, edited = _of_token(tools, claim.expected_token, result)
            effects = np.exp(edited) - np.exp(clean)
            effects[0] *= _own_part(_own_nats(tools, claim, result))
        case SufficiencyClaim():
            clean, edited = _of_token(tools, claim.target_token, result)
            # the last row has nothing left: what it gives is not the circuit's doing
            empty = float(np.exp(edited[-1]))
            whole = float(np.exp(clean)) - empty
            if whole < MIN_WHOLE:
                raise InterventionError(
                    f"claim {claim.claim_id}: without any feature the probability of '{claim.target_token}' is {empty:.3f} "
                    f"already, so features carry only {whole:.3f} of it; {MIN_WHOLE:g} is needed for a share to mean much"
                )
            effects = _share(np.exp(edited) - empty, whole, claim)
        case EdgeClaim():
            before = float(result.clean_activations.double().sum())
            after = result.activations.double().sum(-1).numpy()
            return claim.sign * _share(before - after, before, claim), {
                "activation_before": before,
                "activation_after": float(after[0]),
            }
        case LabelClaim():
            raise InterventionError(f"claim {claim.claim_id} is about a label, which no intervention tests")
    top = result.log_probabilities[0].max(dim=-1)
    details: dict[str, float | str | None] = {
        "probability_before": float(np.exp(clean)),
        "probability_after": float(np.exp(edited[0])),
        "top_token_after": tools.model.token_text(int(top.indices)),
        "top_probability_after": float(top.values.exp()),
    }
    if isinstance(claim, SwapClaim):
        details["probability_added_alone"] = float(np.exp(edited[-1]))
        details["own_part_nats"] = _own_nats(tools, claim, result)
    return effects, details


def _own_nats(tools: CaseTools, claim: SwapClaim, result: InterventionResult) -> float:
    """What switching the members off adds to a swap, in nats of the odds of the donor's answer against the old one.

    The last row has the donor's features added and nothing taken away.
    """
    old = int(result.clean_log_probabilities.argmax())
    new = tools.model.token_id(claim.expected_token)
    odds = result.log_probabilities[:, new] - result.log_probabilities[:, old]
    return float(odds[0] - odds[-1])


def _own_part(own_nats: float) -> float:
    """Share of a swap's gain that counts, 0 to 1.

    Bringing in the donor's features may give the donor's answer whatever is taken away for them. Where the supernode's
    removal has no part in it (it is silent, or stands by), the gain is not its doing.
    """
    return min(1.0, max(0.0, own_nats / FULL_OWN_PART))


def _of_token(tools: CaseTools, token: str, result: InterventionResult) -> tuple[float, Float64Array]:
    """Log-probability of a token: in the clean run, and in every row `[n_rows]`."""
    index = tools.model.token_id(token)
    return float(result.clean_log_probabilities[index]), result.log_probabilities[:, index].numpy()


def _share(part: Float64Array, whole: float, claim: Claim) -> Float64Array:
    if whole <= 0.0:
        raise InterventionError(
            f"claim {claim.claim_id} speaks of a share, but the whole is {whole:.3g}: there is nothing to share"
        )
    return part / whole
