"""The story against the rest of the report: every number tells a value of what its sentence cites, and equals it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tracescribe.agents.claims import Claim, LabelClaim, SteeringClaim, SwapClaim, supernodes_of
from tracescribe.agents.findings import Measurement
from tracescribe.agents.reporting.report_model import CircuitReport, Sentence
from tracescribe.agents.reporting.report_numbers import number_faults

_OF_THE_WHOLE = frozenset({"targets", "circuit", "stopped", "unexplained"})
"""Parts of a report that every sentence may tell numbers of: they are about the prompt as a whole."""


def story_faults(report: CircuitReport) -> list[str]:
    """What is wrong with the numbers of the story, in words. Ids must be known to fit each other."""
    if not report.summary:
        return []
    document = report.model_dump(mode="json")
    return [
        f"summary[{place}] {fault}"
        for place, sentence in enumerate(report.summary)
        for fault in sentence_faults(report, document, place, sentence)
    ]


def sentence_faults(report: CircuitReport, document: Mapping[str, Any], place: int, sentence: Sentence) -> list[str]:
    """What is wrong with the numbers of one sentence, in words.

    Args:
        report: to which it belongs.
        document: the report as plain JSON values.
        place: of the sentence in the summary.
        sentence: as it stands, or would stand, there.
    """
    faults = number_faults(sentence.text, sentence.numbers, set(_quotable(report, sentence)), document)
    return faults + [
        f"takes {number.text!r} from {number.source}, which is none of the claims that it cites"
        for number in sentence.numbers
        if not _is_cited(number.source, place, sentence, document)
    ]


def _is_cited(pointer: str, place: int, sentence: Sentence, document: Mapping[str, Any]) -> bool:
    """Whether a pointer leads into a claim that the sentence cites, its experiment, or the report's account as a whole."""
    parts = pointer.split("/")[1:]
    if parts[0] in _OF_THE_WHOLE:
        return True
    if len(parts) < 2 or not parts[1].isascii() or not parts[1].isdecimal():
        return False
    if parts[0] == "summary":
        return parts[1:] == [str(place), "claims"]
    items, index = document.get(parts[0]), int(parts[1])
    if not isinstance(items, list) or index >= len(items):
        return False
    plans = {plan["plan_id"]: plan["claim_id"] for plan in document["plans"]}
    match parts[0]:
        case "claims" | "plans" | "verdicts":
            return items[index]["claim_id"] in sentence.claims
        case "measurements":
            return plans[items[index]["plan_id"]] in sentence.claims
        case "swaps":
            swapped = {
                c["supernode"] for c in document["claims"] if c["kind"] == "swap" and c["claim_id"] in sentence.claims
            }
            return items[index]["supernode"] in swapped
        case _:
            return False


def _quotable(report: CircuitReport, sentence: Sentence) -> Iterator[str]:
    """Texts that a sentence may quote: those of the prompt, and of the claims that it cites."""
    yield report.prompt
    tokens = [*report.tokens, *(target.token for target in report.targets)]
    if report.circuit is not None:
        tokens += [report.circuit.target, report.circuit.foil]
    labels = {supernode.supernode_id: supernode.label for supernode in report.supernodes}
    plan_of = {plan.plan_id: plan.claim_id for plan in report.plans}
    measured = {plan_of[m.plan_id]: m for m in report.measurements}
    for claim in report.claims:
        if claim.claim_id in sentence.claims:
            yield claim.statement
            yield from (labels[supernode] for supernode in supernodes_of(claim))
            tokens += _tokens_of(claim, measured.get(claim.claim_id))
            if isinstance(claim, SwapClaim):
                yield claim.donor_prompt
                tokens += claim.donor_prompt.split()
            if isinstance(claim, LabelClaim):
                ref = (claim.layer, claim.feature)
                yield from (label.text for label in report.labels if (label.layer, label.feature) == ref)
    for token in tokens:
        yield token
        yield token.strip()


def _tokens_of(claim: Claim, measurement: Measurement | None) -> list[str]:
    """Tokens that a claim speaks of, and those that its measurement names."""
    told = [claim.expected_token] if isinstance(claim, SteeringClaim | SwapClaim) else []
    target = getattr(claim, "target_token", None)
    told += [target] if isinstance(target, str) else []
    if measurement is not None:
        told += [value for value in measurement.details.values() if isinstance(value, str)]
        told += [change.token for change in measurement.changes]
    return told
