"""From what the model did to the number that a claim speaks of: the metrics of interventions."""

from __future__ import annotations

import math
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
from tracescribe.agents.findings import TokenChange
from tracescribe.tracer.errors import InterventionError
from tracescribe.tracer.statistics import Float64Array

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.tracer.interventions import InterventionResult

MIN_WHOLE = 0.1
"""Sufficiency: least probability that the features together must carry; shares of less would rest on next to nothing."""

FULL_OWN_PART = math.log(2)
"""Nats from which a supernode's removal counts as having its part in a swap: it at least doubles the odds of the donor's
answer against the old one, beyond what the donor's features alone do."""


def tokens_of(claim: Claim) -> tuple[str, ...]:
    """The output token whose probability a claim speaks of; none for labels and edges."""
    match claim:
        case NecessityClaim() | SufficiencyClaim():
            return (claim.target_token,)
        case SteeringClaim() | SwapClaim():
            return (claim.expected_token,)
        case EdgeClaim() | LabelClaim():
            return ()


def effects_of(
    tools: CaseTools, claim: Claim, result: InterventionResult
) -> tuple[Float64Array, dict[str, float | str | None]]:
    """A claim's metric in every row, `[n_rows]`, and numbers for people about the first row.

    Raises:
        InterventionError: the claim speaks of a share of next to nothing, or is about a label.
    """
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
            after = result.activations.double().sum(-1).cpu().numpy()
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


def token_changes(tools: CaseTools, claim: Claim, result: InterventionResult) -> tuple[TokenChange, ...]:
    """What the first row did to the token that the claim speaks of, and to the model's answer where that is another."""
    spoken_of = [tools.model.token_id(token) for token in tokens_of(claim)]
    if not spoken_of:
        return ()
    answer = int(result.clean_log_probabilities.argmax())
    ids = list(dict.fromkeys([*spoken_of, answer]))
    before, after = result.clean_log_probabilities.exp(), result.log_probabilities[0].exp()
    rank_before, rank_after = result.clean_ranks(ids), result.ranks(ids)[0]
    return tuple(
        TokenChange(
            token=tools.model.token_text(token),
            probability_before=float(before[token]),
            probability_after=float(after[token]),
            logit_before=float(result.clean_logits[-1, token]),
            logit_after=float(result.logits[0, -1, token]),
            rank_before=1 + int(rank_before[place]),
            rank_after=1 + int(rank_after[place]),
        )
        for place, token in enumerate(ids)
    )


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
    return float(result.clean_log_probabilities[index]), result.log_probabilities[:, index].cpu().numpy()


def _share(part: Float64Array, whole: float, claim: Claim) -> Float64Array:
    if whole <= 0.0:
        raise InterventionError(
            f"claim {claim.claim_id} speaks of a share, but the whole is {whole:.3g}: there is nothing to share"
        )
    return part / whole
