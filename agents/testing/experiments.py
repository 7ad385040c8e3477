"""Run registered claims' experiments: plan, log the plan, measure, log the measurement. In that order, always."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tracescribe.agents.claims import Claim, LabelClaim, SteeringClaim
from tracescribe.agents.findings import BEYOND_CONTROLS, DosePoint, ExperimentPlan, Interval, Measurement, Supernode
from tracescribe.agents.labelling.label_tests import design_label_test, measure_label
from tracescribe.agents.spans import experiment_span, tell_measured
from tracescribe.agents.testing.decision_rules import rule_for
from tracescribe.agents.testing.effects import effects_of, token_changes
from tracescribe.agents.testing.experiment_settings import ExperimentSettings
from tracescribe.agents.testing.paraphrases import measure_wordings
from tracescribe.agents.testing.planning import InterventionDesign, InterventionTest, Members, design_intervention
from tracescribe.agents.testing.resampling import mean_interval
from tracescribe.tracer.errors import BudgetExceededError, InputError, InterventionError, WorkError
from tracescribe.tracer.statistics import Float64Array

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.tracer.interventions import InterventionResult


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
                with experiment_span(claim) as told:
                    plan, measurement = _run(tools, members, claim, settings)
                    tell_measured(told, plan, measurement)
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
    known = tools.recall(claim)
    if known is not None:
        return known
    plan, measure = _planned(tools, members, claim, settings.for_claims(_n_registered(tools)))
    tools.meter.charge(experiments=1)
    tools.registry.plan(plan)
    try:
        measurement = measure()
    except BudgetExceededError:
        raise
    except (WorkError, InputError) as error:
        measurement = Measurement(
            plan_id=plan.plan_id, effect=None, control_effects=(), interval=None, failure=str(error)
        )
    tools.registry.measure(plan, measurement)
    return plan, measurement


def _planned(
    tools: CaseTools, members: Members, claim: Claim, settings: ExperimentSettings
) -> tuple[ExperimentPlan, Callable[[], Measurement]]:
    """The plan of a claim's experiment, and what will run it.

    Raises:
        _NotTestable: there is no such experiment.
        BudgetExceededError: the forward passes are used up.
    """
    try:
        if isinstance(claim, LabelClaim):
            label_test = design_label_test(tools, claim, settings)
            judged_by = {"hypothesis": claim.statement, "rule": rule_for(claim, settings.alpha)}
            label_test = replace(label_test, plan=label_test.plan.model_copy(update=judged_by))
            return label_test.plan, lambda: measure_label(tools, label_test, settings)
        test = design_intervention(tools, members, claim, settings)
        return test.plan, lambda: measure_intervention(tools, test, settings)
    except BudgetExceededError:
        raise
    except (WorkError, InputError) as error:
        raise _NotTestable(str(error)) from error


def _n_registered(tools: CaseTools) -> int:
    """Claims registered so far: those that the correction for multiplicity will span, as far as is known."""
    return sum(entry.event == "registered" for entry in tools.registry.entries)


def measure_intervention(tools: CaseTools, test: InterventionTest, settings: ExperimentSettings) -> Measurement:
    """Run the tested edits, all controls and doses as rows of one batch, and measure the claim's metric in every row.

    Raises:
        BudgetExceededError: the forward passes are used up.
        InterventionError: an effect that is not finite.
    """
    design = test.design
    result = tools.intervene(design.rows(), read=design.read)
    effects, details = effects_of(tools, design.claim, result)
    if not np.isfinite(effects).all():
        raise InterventionError(f"the test of claim {design.claim.claim_id} gave an effect that is not finite")
    n_controls = len(design.controls)
    effect, controls = float(effects[0]), effects[1 : 1 + n_controls]
    interval = None
    if n_controls:
        rng = tools.rng("interval", design.claim.claim_id)
        bounds = mean_interval(effect - controls, rng, settings.n_bootstrap)
        interval = Interval(low=bounds.low, high=bounds.high, method=BEYOND_CONTROLS)
        details["mean_control_effect"] = float(controls.mean())
    paraphrases, paraphrase_interval = measure_wordings(tools, design.claim, design.wordings, settings)
    return Measurement(
        plan_id=test.plan.plan_id,
        effect=effect,
        control_effects=tuple(float(c) for c in controls),
        interval=interval,
        details=details,
        changes=token_changes(tools, design.claim, result),
        doses=_doses(tools, design, effects[1 + n_controls :], result),
        paraphrases=paraphrases,
        paraphrase_interval=paraphrase_interval,
    )


def _doses(
    tools: CaseTools, design: InterventionDesign, effects: Float64Array, result: InterventionResult
) -> tuple[DosePoint, ...]:
    """The points of a steering claim's doses; `effects` begins with theirs, as the rows of `result` behind the controls."""
    if not isinstance(design.claim, SteeringClaim):
        return ()
    token, first = tools.model.token_id(design.claim.expected_token), 1 + len(design.controls)
    probability = result.log_probabilities[first : first + len(design.doses), token].exp()
    return tuple(
        DosePoint(multiplier=dose, effect=float(effects[place]), probability=float(probability[place]))
        for place, (dose, _) in enumerate(design.doses)
    )
