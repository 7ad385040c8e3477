"""From a language model's answer to typed claims: what names something unknown is dropped, and told.

Statements are written here from what the claim says, never taken from the model, so that a verdict on the claim is a
verdict on its words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tracescribe.agents.claims import Claim, EdgeClaim, LabelClaim, SteeringClaim
from tracescribe.agents.findings import FeatureLabel, Supernode
from tracescribe.agents.labelling.predicates import in_words
from tracescribe.agents.llm.answers import (
    ClaimAnswer,
    EdgeAnswer,
    LabelClaimAnswer,
    NecessityAnswer,
    SteeringAnswer,
    SufficiencyAnswer,
    SwapAnswer,
)
from tracescribe.agents.llm.case_view import CaseView
from tracescribe.agents.llm.told import told
from tracescribe.agents.llm.words import Vocabulary
from tracescribe.agents.report import StepFailure
from tracescribe.agents.testing.donors import Donor
from tracescribe.agents.testing.hypotheses import necessity, place_of, sufficiency, swap_claim

MAX_LISTED = 12
"""Ids that a message lists."""


@dataclass(frozen=True, eq=False)
class Known:
    """What a claim may name.

    Attributes:
        supernodes: by id.
        donors: supernode and donor, by donor id.
        labels: testable labels, by `layer/feature`.
        vocabulary: the words that the model can say.
    """

    supernodes: Mapping[str, Supernode]
    donors: Mapping[str, tuple[Supernode, Donor]]
    labels: Mapping[str, FeatureLabel]
    vocabulary: Vocabulary


class _Dropped(Exception):
    """A claim that names something unknown; carries the reason."""


def typed_claims(
    view: CaseView,
    answers: Sequence[ClaimAnswer],
    known: Known,
    limit: int,
    *,
    step: str = "hypothesise",
    earlier: Sequence[Claim] = (),
) -> tuple[tuple[Claim, ...], tuple[StepFailure, ...]]:
    """Claims in the order given, and what was dropped and why.

    Args:
        limit: most claims kept.
        step: the step of the loop that a dropped claim is told under.
        earlier: claims already registered; the same again is dropped.
    """
    claims, faults = checked_claims(view, answers, known, limit, earlier=earlier)
    return claims, told(step, [f"proposed {fault}" for fault in faults])


def checked_claims(
    view: CaseView, answers: Sequence[ClaimAnswer], known: Known, limit: int, *, earlier: Sequence[Claim] = ()
) -> tuple[tuple[Claim, ...], tuple[str, ...]]:
    """Claims in the order given, and a line on each that was dropped; arguments as in `typed_claims`."""
    claims: list[Claim] = []
    faults: list[str] = []
    said = {_content(claim) for claim in earlier}
    for number, answer in enumerate(answers, start=1):
        if len(claims) == limit:
            faults.append(f"claims from number {number} on were dropped: {limit} is the most that is tested")
            break
        try:
            claim = _typed(view, answer, known)
            if _content(claim) in said:
                raise _Dropped("the same as another claim")
            said.add(_content(claim))
            claims.append(claim)
        except _Dropped as reason:
            faults.append(f"claim {number} ({answer.kind}) was dropped: {reason}")
    return tuple(claims), tuple(faults)


def _content(claim: Claim) -> str:
    """What a claim says, its id and words aside."""
    return claim.model_copy(update={"claim_id": "c0", "statement": "-"}).model_dump_json()


def _typed(view: CaseView, answer: ClaimAnswer, known: Known) -> Claim:
    target = view.survey.target_token
    match answer:
        case NecessityAnswer():
            return necessity(view.tools, view.facts, _supernode(known, answer.supernode), target)
        case SufficiencyAnswer():
            chosen = [_supernode(known, supernode_id) for supernode_id in dict.fromkeys(answer.supernodes)]
            return sufficiency(view.tools, chosen, target)
        case SwapAnswer():
            if answer.donor not in known.donors:
                raise _Dropped(f"no donor {answer.donor[:20]!r}; there are {_listed(known.donors)}")
            supernode, donor = known.donors[answer.donor]
            return swap_claim(view.tools, view.facts, supernode, donor, target)
        case SteeringAnswer():
            return _steering(view, answer, known)
        case EdgeAnswer():
            return _edge(view, answer, known)
        case LabelClaimAnswer():
            return _label(view, answer, known)


def _steering(view: CaseView, answer: SteeringAnswer, known: Known) -> SteeringClaim:
    supernode = _supernode(known, answer.supernode)
    token = known.vocabulary.find(answer.expected_token)
    if token is None:
        raise _Dropped(f"the model has no token {answer.expected_token[:30]!r}")
    moved = "doubles" if answer.direction == "up" else "halves"
    return SteeringClaim(
        claim_id=view.tools.new_claim_id(),
        statement=(
            f"Multiplying '{supernode.label}' (at {place_of(view.facts, supernode)}) by {answer.multiplier:g} at least "
            f"{moved} the probability of '{token.strip()}'."
        ),
        supernode=supernode.supernode_id,
        multiplier=answer.multiplier,
        expected_token=token,
        direction=answer.direction,
    )


def _edge(view: CaseView, answer: EdgeAnswer, known: Known) -> EdgeClaim:
    source, destination = _supernode(known, answer.source), _supernode(known, answer.destination)
    if source.supernode_id == destination.supernode_id:
        raise _Dropped("a supernode has no edge to itself")
    if min(m.position for m in source.members) > max(m.position for m in destination.members):
        raise _Dropped("its source stands behind its destination, and the model never looks ahead")
    verb, change = ("drives", "loses") if answer.sign == 1 else ("holds down", "gains")
    return EdgeClaim(
        claim_id=view.tools.new_claim_id(),
        statement=(
            f"'{source.label}' {verb} '{destination.label}': with the first switched off, the second {change} at least "
            "a quarter of its activity."
        ),
        source=source.supernode_id,
        destination=destination.supernode_id,
        sign=answer.sign,
    )


def _label(view: CaseView, answer: LabelClaimAnswer, known: Known) -> LabelClaim:
    label = known.labels.get(answer.feature)
    if label is None or label.predicate is None:
        raise _Dropped(f"feature {answer.feature[:20]!r} has no label that can be tested")
    return LabelClaim(
        claim_id=view.tools.new_claim_id(),
        statement=f"Feature {answer.feature} fires where {in_words(label.predicate)}, and hardly elsewhere.",
        layer=label.layer,
        feature=label.feature,
        predicate=label.predicate,
    )


def _supernode(known: Known, supernode_id: str) -> Supernode:
    if supernode_id not in known.supernodes:
        raise _Dropped(f"no supernode {supernode_id[:20]!r}; there are {_listed(known.supernodes)}")
    return known.supernodes[supernode_id]


def _listed(ids: Mapping[str, object]) -> str:
    named = list(ids)[:MAX_LISTED]
    more = [f"and {len(ids) - MAX_LISTED} more"] if len(ids) > MAX_LISTED else []
    return ", ".join([*named, *more]) or "none"
