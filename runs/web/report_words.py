"""What a verdict rests on, in sentences that somebody understands who has never met an ablation."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, assert_never

from tracescribe.agents.claims import (
    Claim,
    EdgeClaim,
    LabelClaim,
    NecessityClaim,
    SteeringClaim,
    SufficiencyClaim,
    SwapClaim,
)
from tracescribe.agents.rendering import numbers
from tracescribe.agents.rendering.claim_words import CLAIM_KINDS, OUTCOME_WORDS
from tracescribe.agents.rendering.visible_text import visible_text, visible_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tracescribe.agents.findings import ExperimentPlan, Measurement, Verdict
    from tracescribe.agents.report import CircuitReport

_HARDLY = 0.01
"""Nats below which a probability is said not to have moved: less than one part in a hundred."""
_LARGEST_FACTOR = 1000.0
_CONDITION = re.compile(r"\S+ \S+ against a threshold of \S+?(?::|, but) (?P<why>.+)", re.DOTALL)
"""How the rule words a verdict: the numbers, then the condition that decided."""


def supernode_names(report: CircuitReport) -> dict[str, str]:
    """Labels by supernode id, made visible."""
    return {node.supernode_id: visible_text(node.label).strip() or node.supernode_id for node in report.supernodes}


def _times(nats: float, more: bool) -> str:
    if abs(nats) < _HARDLY:
        return "hardly changed in probability"
    factor = math.exp(min(abs(nats), 50.0))
    told = f"more than {numbers.count(int(_LARGEST_FACTOR))}" if factor > _LARGEST_FACTOR else numbers.number(factor)
    return f"became {told} times {'more' if more else 'less'} probable"


def _done(claim: Claim, effect: float, names: Mapping[str, str]) -> str:
    """What was done to the model, and what came of it."""

    def name(supernode: str) -> str:
        return f"“{names.get(supernode, visible_text(supernode))}”"

    match claim:
        case NecessityClaim():
            token = visible_token(claim.target_token)
            return f"With {name(claim.supernode)} switched off, “{token}” {_times(effect, effect < 0)}."
        case SteeringClaim():
            more = (effect > 0) == (claim.direction == "up")
            dose = numbers.number(claim.multiplier)
            token = visible_token(claim.expected_token)
            return f"With {name(claim.supernode)} multiplied by {dose}, “{token}” {_times(effect, more)}."
        case SwapClaim():
            token, points = visible_token(claim.expected_token), numbers.number(abs(100 * effect))
            moved = "rose" if effect >= 0 else "fell"
            return (
                f"With {name(claim.supernode)} taken from the prompt “{visible_text(claim.donor_prompt)}”, the probability of "
                f"“{token}” {moved} by {points} percentage points."
            )
        case EdgeClaim():
            lost = (effect >= 0) == (claim.sign > 0)
            return (
                f"With {name(claim.source)} switched off, {name(claim.destination)} {'lost' if lost else 'gained'} "
                f"{numbers.percent(abs(effect))} of its activation."
            )
        case SufficiencyClaim():
            return (
                f"With everything outside the circuit switched off, the circuit kept {numbers.percent(effect)} of what "
                f"features add to the probability of “{visible_token(claim.target_token)}” (what it has without any "
                "feature is not counted)."
            )
        case LabelClaim():
            return f"On texts that the labeller never saw, the label and the feature agree with an AUC of {numbers.number(effect)}."
        case _:
            assert_never(claim)


def _chance(verdict: Verdict, measurement: Measurement, n_claims: int) -> str:
    finite = [value for value in measurement.control_effects if math.isfinite(value)]
    if not finite or measurement.effect is None:
        return "There were no random controls to compare it with."
    reached = sum(value >= measurement.effect for value in finite)
    told = f"Of {numbers.counted(len(finite), 'random control')}, {reached or 'none'} did as much"
    if verdict.p_value is None:
        return told + "."
    told += f": the chance of that by luck is p {_with_sign(verdict.p_value)}"
    if verdict.q_value is not None:
        told += f", or q {_with_sign(verdict.q_value)} once all {n_claims} claims of the report are allowed for"
    return told + "."


def _with_sign(value: float) -> str:
    text = numbers.p_value(value)
    return text.replace("<", "< ") if text.startswith("<") else f"= {text}"


def outcome_words(verdict: Verdict) -> str:
    """Why a measured claim came out as it did: the one condition of the rule that decided, where the verdict names it."""
    found = _CONDITION.fullmatch(verdict.reason)
    if found is None or verdict.outcome == "supported":
        return OUTCOME_WORDS[verdict.outcome]
    if verdict.outcome == "refuted" and verdict.effect is not None and verdict.effect < 0:
        return "the effect points the other way"
    why = visible_text(found["why"])
    return (
        f"the effect is {why}"
        if why.startswith(("less", "weaker"))
        else f"the effect is as large as claimed, but {why}"
    )


def verdict_words(
    claim: Claim,
    report: CircuitReport,
    verdict: Verdict,
    plan: ExperimentPlan | None,
    measurement: Measurement | None,
    names: Mapping[str, str],
) -> str:
    """What was done, what was needed, what chance does, and what follows.

    Args:
        plan, measurement: of the claim's experiment; None where there is none.
        names: from `supernode_names`.
    """
    follows = f"So it is {verdict.outcome}: {outcome_words(verdict)}."
    if verdict.outcome == "untested" and measurement is None:
        return f"No experiment was run, so nobody can say. {visible_text(verdict.reason)}".strip()
    if measurement is None or measurement.effect is None or not math.isfinite(measurement.effect):
        failure = f" ({visible_text(measurement.failure)})" if measurement is not None and measurement.failure else ""
        return f"The experiment gave no measurement{failure}. {follows}"
    parts = [_done(claim, measurement.effect, names)]
    threshold = plan.threshold if plan is not None else verdict.threshold
    if threshold is not None:
        measure = CLAIM_KINDS[claim.kind].measure
        parts.append(f"The claim needs {measure(threshold)}.")
    parts += [_chance(verdict, measurement, len(report.claims)), follows]
    return " ".join(parts)
