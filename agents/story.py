"""The story of a report: plain English, every sentence resting on claims, refuted ones told as plainly as the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tracescribe.agents.claims import (
    Claim,
    EdgeClaim,
    LabelClaim,
    NecessityClaim,
    SteeringClaim,
    SufficiencyClaim,
    SwapClaim,
)
from tracescribe.agents.findings import Measurement, Supernode, Verdict
from tracescribe.agents.report import Sentence
from tracescribe.agents.state import LoopState
from tracescribe.agents.survey import Survey

ROLE_WORDS: Mapping[str, str] = {
    "input": "the word that is read",
    "intermediate": "an intermediate step",
    "relation": "what is asked for",
    "output": "what prepares the answer",
    "suppressor": "something that works against the answer",
    "other": "a part of the circuit whose role is open",
}
"""What a supernode's role means, for people."""


@dataclass(frozen=True, eq=False)
class _Teller:
    """Everything that sentences are made from."""

    survey: Survey
    supernodes: Mapping[str, Supernode]
    verdicts: Mapping[str, Verdict]
    measurements: Mapping[str, Measurement]

    def name(self, supernode_id: str) -> str:
        supernode = self.supernodes[supernode_id]
        positions = sorted({member.position for member in supernode.members})
        words = [f"'{self.survey.full.tokens[p].strip()}'" for p in positions[:3]]
        return f"'{supernode.label}' (at {' and '.join(words)})"

    def detail(self, claim: Claim, key: str) -> float:
        measurement = self.measurements.get(self.verdict_key(claim))
        value = measurement.details.get(key) if measurement is not None else None
        return float(value) if isinstance(value, int | float) else float("nan")

    def text_detail(self, claim: Claim, key: str) -> str:
        measurement = self.measurements.get(self.verdict_key(claim))
        value = measurement.details.get(key) if measurement is not None else None
        return str(value).strip() if isinstance(value, str) else "?"

    @staticmethod
    def verdict_key(claim: Claim) -> str:
        return claim.claim_id


def tell_story(survey: Survey, state: LoopState) -> tuple[Sentence, ...]:
    """The summary sentences of a report, from its claims and verdicts alone.

    Order: how far the found circuit explains the answer; then each supernode; then what drives what; then labels.
    """
    plan_claim = {plan.plan_id: plan.claim_id for plan in state["plans"]}
    teller = _Teller(
        survey=survey,
        supernodes={s.supernode_id: s for s in state["supernodes"]},
        verdicts={v.claim_id: v for v in state["verdicts"]},
        measurements={plan_claim[m.plan_id]: m for m in state["measurements"]},
    )
    claims = state["claims"]
    enough = [c for c in claims if isinstance(c, SufficiencyClaim)]
    sentences = [_sufficiency(teller, claim) for claim in enough]
    needed = [c for c in claims if isinstance(c, NecessityClaim)]
    if not enough and needed:
        sentences = [_sentence(_answer(teller) + _untested(teller, needed), needed)]
    for supernode in state["supernodes"]:
        mine = [c for c in claims if _is_about(c, supernode.supernode_id)]
        sentences += _about(teller, supernode, mine)
    sentences += [_edge(teller, c) for c in claims if isinstance(c, EdgeClaim)]
    sentences += _labels(teller, [c for c in claims if isinstance(c, LabelClaim)])
    return tuple(sentences)


def _is_about(claim: Claim, supernode_id: str) -> bool:
    return isinstance(claim, NecessityClaim | SwapClaim | SteeringClaim) and claim.supernode == supernode_id


def _about(teller: _Teller, supernode: Supernode, claims: Sequence[Claim]) -> list[Sentence]:
    """What was found of one supernode: one sentence of what holds, one of what does not."""
    if not claims:
        return []
    name, role = teller.name(supernode.supernode_id), ROLE_WORDS[supernode.role]
    by_outcome: dict[str, list[Claim]] = {}
    for claim in claims:
        by_outcome.setdefault(teller.verdicts[claim.claim_id].outcome, []).append(claim)
    sentences = []
    if held := by_outcome.get("supported"):
        parts = "; ".join(_tell(teller, claim) for claim in held)
        sentences.append(_sentence(f"{name} is {role}: {parts} {_strength(teller, held)}.", held))
    if failed := by_outcome.get("refuted"):
        parts = "; ".join(_tell(teller, claim) for claim in failed)
        sentences.append(_sentence(f"Not supported, for {name}, taken for {role}: {parts}.", failed))
    if open_ := by_outcome.get("inconclusive"):
        parts = "; ".join(_tell(teller, claim) for claim in open_)
        sentences.append(_sentence(f"Undecided, for {name}, taken for {role}: {parts}; {_open(teller, open_)}.", open_))
    if untested := by_outcome.get("untested"):
        parts = " ".join(claim.statement for claim in untested)
        sentences.append(_sentence(f"Hypothesis, not tested: {name} is {role}. {parts}", untested))
    return sentences


def _sentence(text: str, claims: Sequence[Claim]) -> Sentence:
    return Sentence(text=text, claims=tuple(claim.claim_id for claim in claims))


def _strength(teller: _Teller, claims: Sequence[Claim]) -> str:
    """How far beyond chance the weakest of these claims is."""
    verdicts = [teller.verdicts[claim.claim_id] for claim in claims]
    n_controls = min(verdict.n_controls for verdict in verdicts)
    q = max(verdict.q_value for verdict in verdicts if verdict.q_value is not None)
    return f"(beyond {n_controls} random changes of the same size, q {_p(q)})"


def _open(teller: _Teller, claims: Sequence[Claim]) -> str:
    """Why claims are undecided."""
    verdicts = [teller.verdicts[claim.claim_id] for claim in claims]
    weak = any(v.effect is not None and v.threshold is not None and v.effect < v.threshold for v in verdicts)
    matched = any(v.effect is None or v.threshold is None or v.effect >= v.threshold for v in verdicts)
    reasons = ["it is weaker than was claimed"] if weak else []
    if matched:
        reasons.append("random changes of the same size do not fall clearly behind")
    return ", or ".join(reasons)


def _tell(teller: _Teller, claim: Claim) -> str:
    match claim:
        case NecessityClaim():
            return _tell_necessity(teller, claim)
        case SwapClaim():
            return _tell_swap(teller, claim)
        case SteeringClaim():
            return _tell_steering(teller, claim)
        case _:
            return claim.statement.rstrip(".")


def _tell_necessity(teller: _Teller, claim: NecessityClaim) -> str:
    before, after = teller.detail(claim, "probability_before"), teller.detail(claim, "probability_after")
    return f"switching it off moves the probability of '{claim.target_token.strip()}' from {_p(before)} to {_p(after)}"


def _tell_swap(teller: _Teller, claim: SwapClaim) -> str:
    before, after = teller.detail(claim, "probability_before"), teller.detail(claim, "probability_after")
    expected, top = claim.expected_token.strip(), teller.text_detail(claim, "top_token_after")
    donor = _difference(teller.survey.full.prompt, claim.donor_prompt)
    told = (
        f"putting what the model holds for {donor} in its place moves the probability of '{expected}', the model's "
        f"own answer there, from {_p(before)} to {_p(after)}"
    )
    return told if top == expected else f"{told} (the answer becomes '{top}')"


def _tell_steering(teller: _Teller, claim: SteeringClaim) -> str:
    before, after = teller.detail(claim, "probability_before"), teller.detail(claim, "probability_after")
    return (
        f"multiplying it by {claim.multiplier:g} moves the probability of '{claim.expected_token.strip()}' from "
        f"{_p(before)} to {_p(after)}"
    )


def _difference(prompt: str, donor: str) -> str:
    """The donor's words that this prompt does not have, quoted; the whole donor prompt where lengths differ."""
    ours, theirs = prompt.split(), donor.split()
    words = [b for a, b in zip(ours, theirs, strict=False) if a != b] if len(ours) == len(theirs) else []
    return " ".join(f"'{word}'" for word in words) if words else f"the prompt '{donor}'"


def _answer(teller: _Teller) -> str:
    target = teller.survey.targets[0]
    return f"The model goes on with '{target.token.strip()}' (probability {_p(target.probability)})"


def _untested(teller: _Teller, claims: Sequence[Claim]) -> str:
    tested = any(teller.verdicts[claim.claim_id].effect is not None for claim in claims)
    return "." if tested else "; what is said of it here was not tested."


def _sufficiency(teller: _Teller, claim: SufficiencyClaim) -> Sentence:
    verdict = teller.verdicts[claim.claim_id]
    answer = _answer(teller)
    one = len(claim.supernodes) == 1
    groups = (
        "the one group of features named here" if one else f"the {len(claim.supernodes)} groups of features named here"
    )
    if verdict.effect is None:
        text = f"{answer}; hypothesis, not tested: {groups} {'is' if one else 'are'} enough for that."
        return _sentence(text, [claim])
    share = f"{max(0.0, verdict.effect):.0%}"
    told = f"{answer}; with every other feature switched off, {groups} {'keeps' if one else 'keep'} {share} of that"
    match verdict.outcome:
        case "supported":
            text = f"{told}, more than random groups of the same size."
        case "refuted":
            text = f"{told}: not supported that {'it is' if one else 'they are'} enough."
        case _:
            text = f"{told}: undecided whether {'it is' if one else 'they are'} enough, since {_why(verdict)}."
    return _sentence(text, [claim])


def _why(verdict: Verdict) -> str:
    if verdict.threshold is not None and verdict.effect is not None and verdict.effect < verdict.threshold:
        return "that is less than was claimed"
    return "random groups of the same size do not fall clearly behind, or are too few"


def _edge(teller: _Teller, claim: EdgeClaim) -> Sentence:
    verdict = teller.verdicts[claim.claim_id]
    source, destination = teller.name(claim.source), teller.name(claim.destination)
    if verdict.effect is None:
        return _sentence(f"Hypothesis, not tested: {source} drives {destination}.", [claim])
    change = f"{abs(verdict.effect):.0%} of its activity"
    moved = f"loses {change}" if verdict.effect * claim.sign >= 0 else f"gains {change}"
    told = f"without {source}, {destination} {moved}"
    match verdict.outcome:
        case "supported":
            text = f"{source} drives {destination}: {told} {_strength(teller, [claim])}."
        case "refuted":
            text = f"Not supported that {source} drives {destination}: {told}."
        case _:
            text = f"Undecided whether {source} drives {destination}: {told}; {_open(teller, [claim])}."
    return _sentence(text, [claim])


def _labels(teller: _Teller, claims: Sequence[LabelClaim]) -> list[Sentence]:
    """One sentence on all labels of one outcome."""
    endings = {
        "supported": "hold on sentences that played no part in making them",
        "refuted": "do not hold on sentences that played no part in making them: not supported",
        "inconclusive": "could not be confirmed on sentences that played no part in making them",
        "untested": "were not tested",
    }
    sentences = []
    for outcome, ending in endings.items():
        mine = [claim for claim in claims if teller.verdicts[claim.claim_id].outcome == outcome]
        if mine:
            n = f"{len(mine)} of {len(claims)} feature labels" if len(claims) > 1 else "The one feature label"
            sentences.append(_sentence(f"{n} {ending if len(claims) > 1 else _singular(ending)}.", mine))
    return sentences


def _singular(ending: str) -> str:
    return (
        ending.replace("hold on", "holds on", 1)
        .replace("do not holds", "does not hold", 1)
        .replace("were not", "was not", 1)
        .replace("making them", "making it")
    )


def _p(value: float) -> str:
    """A probability or q value for people: two decimals, three below one in ten."""
    if math.isnan(value):
        return "?"
    if value >= 0.995:
        return "1.00"
    text = f"{value:.2f}" if value >= 0.1 or value == 0.0 else f"{value:.3f}"
    return text.removeprefix("0")
