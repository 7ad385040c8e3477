"""What the tests of a supernode gave, in words: ablation, swap, steering; doses and other wordings besides."""

from __future__ import annotations

from collections.abc import Sequence

from tracescribe.agents.claims import Claim, NecessityClaim, SteeringClaim, SwapClaim
from tracescribe.agents.findings import DosePoint, Measurement
from tracescribe.agents.reporting.phrases import Phrase, amount, count, joined, percent, phrase
from tracescribe.agents.reporting.story_telling import Teller

UNITS = {"necessity": " nats", "steering": " nats", "swap": " of probability"}
"""What effects of these claims are counted in."""
MAX_DOSES_TOLD = 3
"""Doses told in a sentence; the page plots them all."""


def tell(teller: Teller, claims: Sequence[Claim], place: str) -> Phrase:
    """What the tests of one supernode gave, all of one kind and outcome.

    Args:
        teller: of the report.
        claims: at least one.
        place: JSON Pointer to the claims that the sentence will cite.
    """
    swaps = [claim for claim in claims if isinstance(claim, SwapClaim)]
    if len(swaps) > 1:
        return _tell_swaps(teller, swaps, place)
    return joined([_tell_one(teller, claim) for claim in claims], "; ")


def _tell_one(teller: Teller, claim: Claim) -> Phrase:
    match claim:
        case NecessityClaim():
            return phrase("switching it off moves ", _moved(teller, claim, claim.target_token))
        case SteeringClaim():
            times = amount(claim.multiplier, teller.at_claim(claim, "multiplier"))
            return phrase("multiplying it by ", times, " moves ", _moved(teller, claim, claim.expected_token))
        case SwapClaim():
            return phrase("in its place, what the model holds for ", _swapped(teller, claim, " moves "))
        case _:
            return (f"'{claim.statement}'",)


def _moved(teller: Teller, claim: Claim, token: str) -> Phrase:
    """A token's probability before and after, and its rank where it lost or won the first place."""
    before, after = teller.detail(claim, "probability_before"), teller.detail(claim, "probability_after")
    moved = phrase(f"the probability of '{token.strip()}' from ", before, " to ", after)
    measurement = teller.measurement(claim)
    for at, change in enumerate(measurement.changes if measurement is not None else ()):
        if change.token.strip() == token.strip() and change.rank_before != change.rank_after:
            source = teller.at_measurement(claim, f"changes/{at}")
            ranks = (
                count(change.rank_before, f"{source}/rank_before"),
                " to ",
                count(change.rank_after, f"{source}/rank_after"),
            )
            return phrase(moved, ", its rank from ", *ranks)
    return moved


def _swapped(teller: Teller, claim: SwapClaim, moves: str) -> Phrase:
    donor = _difference(teller.report.prompt, claim.donor_prompt)
    moved = _moved(teller, claim, claim.expected_token)
    top = teller.text_detail(claim, "top_token_after")
    told = phrase(donor, moves, moved)
    return told if top in (claim.expected_token.strip(), "?") else phrase(told, f" (the answer becomes '{top}')")


def _tell_swaps(teller: Teller, claims: Sequence[SwapClaim], place: str) -> Phrase:
    """Several swaps of one outcome: how many, and what the one with the largest effect did."""
    first = max(claims, key=lambda claim: teller.verdict(claim).effect or 0.0)
    n = count(len(claims), place)
    return phrase("the strongest of ", n, " swaps, with what the model holds for ", _swapped(teller, first, ", moves "))


def _difference(prompt: str, donor: str) -> str:
    """The donor's words that this prompt does not have, quoted; the whole donor prompt where lengths differ."""
    ours, theirs = prompt.split(), donor.split()
    words = [b for a, b in zip(ours, theirs, strict=False) if a != b] if len(ours) == len(theirs) else []
    return " ".join(f"'{word}'" for word in words) if words else f"the prompt '{donor}'"


def _smaller(claim: SteeringClaim, measurement: Measurement) -> list[tuple[int, DosePoint]]:
    """Doses between none and the claim's own, the smallest first, with their places; a few of them."""
    own = claim.multiplier - 1.0
    found = [(at, dose) for at, dose in enumerate(measurement.doses) if 0.0 < (dose.multiplier - 1.0) / own < 1.0]
    found.sort(key=lambda item: abs(item[1].multiplier - 1.0))
    return found[:: max(1, -(-len(found) // MAX_DOSES_TOLD))]


def more_of(teller: Teller, claim: Claim) -> list[Phrase]:
    """What a supported claim's measurement tells besides: the effect of smaller doses, and in other wordings."""
    measurement = teller.measurement(claim)
    if measurement is None:
        return []
    told: list[Phrase] = []
    unit = UNITS.get(claim.kind, "")
    doses = _smaller(claim, measurement) if isinstance(claim, SteeringClaim) else []
    if doses:
        parts = [
            phrase(
                amount(dose.effect, teller.at_measurement(claim, f"doses/{at}/effect")), unit, " at a factor of ",
                amount(dose.multiplier, teller.at_measurement(claim, f"doses/{at}/multiplier")),
            )
            for at, dose in doses
        ]  # fmt: skip
        told.append(phrase("On the way there, the effect is ", joined(parts, ", ", " and "), "."))
    interval = measurement.paraphrase_interval
    if interval is not None:
        source = teller.at_measurement(claim, "paraphrase_interval")
        holds = "is" if interval.low > 0.0 else "may be nothing: it is"
        told.append(
            phrase(
                f"In other wordings of the prompt, that effect {holds} ", amount(interval.low, f"{source}/low"), " to ",
                amount(interval.high, f"{source}/high"), unit, " on average (", percent(interval.level, f"{source}/level"),
                " interval).",
            )
        )  # fmt: skip
    return told
