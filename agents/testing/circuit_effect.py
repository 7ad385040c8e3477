"""What the circuit as a whole does: necessity and sufficiency as normalised recovered logit difference.

Every claim speaks of a part. Whether the parts together are the circuit is asked here: how much of the preference for the
answer the circuit alone keeps, and how much of it the rest keeps without the circuit, beside random circuits of its size.
It is a measurement of the report, not a claim: nothing is registered, and no verdict comes of it.

Source: Wang et al. 2022 (arXiv 2211.00593) for faithfulness and completeness as logit differences; MIB (arXiv 2504.13151)
for the normalisation by the whole and the empty model.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tracescribe.agents.findings import CircuitEffect, Supernode
from tracescribe.agents.survey import Survey
from tracescribe.agents.testing.experiment_settings import ExperimentSettings
from tracescribe.agents.testing.random_circuits import random_circuits
from tracescribe.tracer.edits import Row, ablation
from tracescribe.tracer.errors import BudgetExceededError, InterventionError, UnknownIdError
from tracescribe.tracer.graph import FeatureNode
from tracescribe.tracer.statistics import Float64Array, rank_p_value

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools

logger = logging.getLogger(__name__)

N_RANDOM_CIRCUITS = 99
"""Random circuits that the circuit is compared with: the smallest p value is then .01."""
MIN_WHOLE_DIFFERENCE = math.log(2)
"""Least logit difference, in nats of the odds of answer against foil, that all features together must carry: where they
do not even double the odds, a share of them is a share of next to nothing."""


def measure_circuit(
    tools: CaseTools, survey: Survey, supernodes: Sequence[Supernode], settings: ExperimentSettings
) -> CircuitEffect | None:
    """Necessity and sufficiency of all members together, beside random circuits of the same size.

    Args:
        supernodes: those that the report stands by; rejected ones are left out.
        settings: `N_RANDOM_CIRCUITS` are drawn, or `settings.n_controls` where that is fewer.

    Returns:
        None where nothing can be run, no member fires, the answer is no single token of the model, or all features
        together carry less than `MIN_WHOLE_DIFFERENCE`; the log says which.

    Raises:
        BudgetExceededError: the forward passes are used up.
    """
    why = tools.why_untestable()
    if why is not None:
        _log(why)
        return None
    active = tools.active_features()
    members = {member.node for supernode in supernodes if not supernode.rejected for member in supernode.members}
    circuit = [node for node in active if node in members]
    if not circuit:
        _log("no member of a supernode that stands fires in the prompt")
        return None
    try:
        target, foil = answer_and_foil(tools, survey.target_token)
        effect = _measured(tools, circuit, active, target, foil, min(N_RANDOM_CIRCUITS, settings.n_controls))
    except BudgetExceededError:
        raise
    except (InterventionError, UnknownIdError) as error:
        _log(str(error))
        return None
    return effect.model_copy(
        update={"n_features": len(members)}
    )  # a silent member is one of the circuit's all the same


def answer_and_foil(tools: CaseTools, target_token: str) -> tuple[int, int]:
    """Ids of the answer, and of the most probable other token of the untouched model.

    Raises:
        UnknownIdError: the answer is no single token of the model.
    """
    target = tools.model.token_id(target_token)
    logits = tools.clean().logits[-1].clone()
    logits[target] = -math.inf
    return target, int(logits.argmax())


def kept_differences(
    tools: CaseTools,
    kept: Sequence[Collection[FeatureNode]],
    active: Sequence[FeatureNode],
    target: int,
    foil: int,
) -> Float64Array:
    """Logit difference of answer and foil when only some features are left, `[n_sets]`.

    Args:
        kept: the sets that are left; every other active feature is ablated.
        active: all features that fire in the prompt.

    Raises:
        InterventionError: the edits drive the model out of the range of numbers.
        BudgetExceededError: the forward passes are used up.
    """
    return row_differences(
        tools, [ablation(node for node in active if node not in nodes) for nodes in kept], target, foil
    )


def row_differences(tools: CaseTools, rows: Sequence[Row], target: int, foil: int) -> Float64Array:
    """Logit difference of answer and foil after each row of edits, `[n_rows]`; a row without edits is the untouched model.

    Raises:
        InterventionError: the edits drive the model out of the range of numbers.
        BudgetExceededError: the forward passes are used up.
    """
    clean = tools.clean().logits[-1].double()
    differences = np.full(len(rows), float(clean[target] - clean[foil]))
    edited = [number for number, row in enumerate(rows) if row]
    if edited:
        logits = tools.intervene([rows[number] for number in edited]).logits[:, -1].double()
        differences[edited] = (logits[:, target] - logits[:, foil]).cpu().numpy()
    return differences


def recovered(differences: Float64Array, whole: float, empty: float) -> Float64Array:
    """Logit differences as shares: 1 is the untouched model, 0 the model without any feature.

    Raises:
        InterventionError: too little lies between the two for a share to mean much.
    """
    if not whole - empty >= MIN_WHOLE_DIFFERENCE:
        raise InterventionError(
            f"all features together move the logit difference of answer and foil by {whole - empty:.3g}, and "
            f"{MIN_WHOLE_DIFFERENCE:.3g} is needed for a share of it to mean much"
        )
    return (differences - empty) / (whole - empty)


def _measured(
    tools: CaseTools,
    circuit: Sequence[FeatureNode],
    active: Sequence[FeatureNode],
    target: int,
    foil: int,
    n_random: int,
) -> CircuitEffect:
    drawn = random_circuits(tools, tools.rng("random circuits"), circuit, active, n_random)
    alone = [ablation(node for node in active if node not in set(circuit)), *drawn.alone]
    removed = [ablation(circuit), *drawn.removed]
    differences = row_differences(tools, [(), ablation(active), *alone, *removed], target, foil)
    whole, empty = float(differences[0]), float(differences[1])
    shares = recovered(differences[2:], whole, empty)
    sufficiency, necessity = shares[: len(alone)], 1.0 - shares[len(alone) :]
    return CircuitEffect(
        target=tools.model.token_text(target),
        foil=tools.model.token_text(foil),
        n_features=len(circuit),
        n_active=len(active),
        sufficiency=float(sufficiency[0]),
        necessity=float(necessity[0]),
        random_sufficiency=tuple(float(share) for share in sufficiency[1:]),
        random_necessity=tuple(float(share) for share in necessity[1:]),
        sufficiency_p=rank_p_value(float(sufficiency[0]), sufficiency[1:]).p_value if drawn.alone else None,
        necessity_p=rank_p_value(float(necessity[0]), necessity[1:]).p_value if drawn.alone else None,
        logit_difference=whole,
        logit_difference_empty=empty,
        matched_on=drawn.matched_on,
    )


def _log(why: str) -> None:
    logger.info("the circuit as a whole was not measured: %s", why)
