"""The story of a report: plain English, every sentence resting on claims, refuted ones told as plainly as the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tracescribe.agents.claims import (
    Claim,
    EdgeClaim,
    LabelClaim,
    NecessityClaim,
    SteeringClaim,
    SufficiencyClaim,
    SwapClaim,
)
from tracescribe.agents.findings import Supernode
from tracescribe.agents.reporting.phrases import Phrase, count, percent, phrase, probability, sentence
from tracescribe.agents.reporting.report_model import CircuitReport, Sentence, StopReason
from tracescribe.agents.reporting.story_telling import Teller
from tracescribe.agents.reporting.story_tests import more_of, tell
from tracescribe.agents.testing.experiment_settings import MIN_CONTROLS

ROLE_WORDS: Mapping[str, str] = {
    "input": "the word that is read",
    "intermediate": "an intermediate step",
    "relation": "what is asked for",
    "output": "what prepares the answer",
    "suppressor": "something that works against the answer",
    "other": "a part of the circuit whose role is open",
}
"""What a supernode's role means, for people."""
STOP_WORDS: Mapping[StopReason, str] = {
    "budget": "its budget was used up",
    "complete": "the circuit carries the answer, and no claim of the last round came back refuted or weak",
    "nothing new": "nothing new was proposed",
    "round limit": "no further round was allowed",
    "untestable": "its claims were not tested, since nothing can be tested here",
}
"""Why revision ended, for people."""


def tell_story(report: CircuitReport) -> tuple[Sentence, ...]:
    """The summary sentences of a report, from the rest of it alone; its own summary is not read.

    Order: the answer and how far the found circuit explains it; each supernode; what drives what; labels; the end.
    """
    teller = Teller(report)
    claims = report.claims
    sentences: list[Sentence] = []
    interventions = [claim for claim in claims if not isinstance(claim, LabelClaim)]
    if interventions and report.targets:
        sentences.append(_answer(teller, _on_the_whole(interventions)))
    sentences += [_sufficiency(teller, claim) for claim in claims if isinstance(claim, SufficiencyClaim)]
    if interventions:
        sentences += _with_asides(report, _whole(teller, _on_the_whole(interventions)))
    for supernode in report.supernodes:
        mine = [claim for claim in claims if _is_about(claim, supernode.supernode_id)]
        place = len(sentences)
        sentences += _with_asides(report, [*_about(teller, supernode, mine, place), *_swaps(teller, supernode, mine)])
    sentences += [_edge(teller, claim) for claim in claims if isinstance(claim, EdgeClaim)]
    sentences += _labels(teller, [claim for claim in claims if isinstance(claim, LabelClaim)], len(sentences))
    return (*sentences, *_end(teller))


def _with_asides(report: CircuitReport, block: Sequence[Sentence]) -> list[Sentence]:
    """The first sentence of a block stands for it; those after it whose claims all held are asides."""
    held = {verdict.claim_id for verdict in report.verdicts if verdict.outcome == "supported"}
    return [s.model_copy(update={"aside": n > 0 and held.issuperset(s.claims)}) for n, s in enumerate(block)]


def _is_about(claim: Claim, supernode_id: str) -> bool:
    return isinstance(claim, NecessityClaim | SwapClaim | SteeringClaim) and claim.supernode == supernode_id


def _on_the_whole(claims: Sequence[Claim]) -> Sequence[Claim]:
    """The claims on which statements about the whole circuit rest: that it is enough, else that its parts are needed."""
    for kind in ("sufficiency", "necessity"):
        if found := [claim for claim in claims if claim.kind == kind]:
            return found
    return claims


def _sentence(said: Phrase, claims: Sequence[Claim]) -> Sentence:
    return sentence(said, tuple(claim.claim_id for claim in claims))


def _answer(teller: Teller, claims: Sequence[Claim]) -> Sentence:
    target = teller.report.targets[0]
    share = probability(target.probability, "/targets/0/probability")
    said = phrase(f"The model goes on with '{target.token.strip()}' (probability ", share, ")")
    tested = any(teller.verdict(claim).effect is not None for claim in claims)
    return _sentence(phrase(said, "." if tested else "; what is said of it here was not tested."), claims)


def _sufficiency(teller: Teller, claim: SufficiencyClaim) -> Sentence:
    verdict = teller.verdict(claim)
    source = teller.at_claim(claim, "supernodes")
    n = len(claim.supernodes)
    groups = phrase("the group" if n == 1 else phrase("the ", count(n, source), " groups"), " of features named here")
    if verdict.effect is None:
        return _sentence(phrase("Hypothesis, not tested: ", groups, " can give that answer alone."), [claim])
    share = percent(verdict.effect, teller.at_verdict(claim, "effect"))
    told = phrase(
        "With every other feature switched off, ",
        groups,
        " keep" if n > 1 else " keeps",
        " ",
        share,
        " of what features add to that probability",
    )
    match verdict.outcome:
        case "supported":
            ending = ", more than random groups of the same size."
        case "refuted":
            ending = ": not supported that this is enough."
        case _:
            ending = f": undecided whether this is enough, since {_why_open(teller, [claim])}."
    return _sentence(phrase(told, ending), [claim])


def _why_open(teller: Teller, claims: Sequence[Claim]) -> str:
    """Why claims are undecided, each reason once."""
    return ", or ".join(dict.fromkeys(_one_reason(teller, claim) for claim in claims))


def _one_reason(teller: Teller, claim: Claim) -> str:
    verdict, plan = teller.verdict(claim), teller.plan(claim)
    if verdict.threshold is not None and verdict.effect is not None and verdict.effect < verdict.threshold:
        return "it is less than was claimed"
    least, alpha = (plan.rule.min_controls if plan.rule else MIN_CONTROLS, plan.alpha) if plan else (MIN_CONTROLS, 0.0)
    if verdict.n_controls < least:
        return "there are too few random changes to compare with"
    if verdict.q_value is None or verdict.q_value > alpha:
        return "random changes of the same size do not fall clearly behind"
    return "it does not grow with the dose"


def _whole(teller: Teller, claims: Sequence[Claim]) -> list[Sentence]:
    """The circuit as a whole: what it keeps by itself, and what is lost without it."""
    circuit = teller.report.circuit
    if circuit is None:
        return []
    lead = f"of the lead of '{circuit.target.strip()}' over '{circuit.foil.strip()}'"

    def chance(name: str, p: float | None, random: Sequence[float]) -> Phrase:
        n = count(len(random), f"/circuit/random_{name}")
        if p is None:
            return phrase(" (too few random circuits to compare with: ", n, ")")
        return phrase(" (p ", probability(p, f"/circuit/{name}_p"), " among ", n, " random circuits of its size)")

    if circuit.n_features >= circuit.n_active:
        n = count(circuit.n_active, "/circuit/n_active")
        said = phrase(
            "The circuit holds every feature that fires in this prompt (", n, "), so it carries the answer by itself"
        )
        by_chance = chance("sufficiency", circuit.sufficiency_p, circuit.random_sufficiency)
        return [_sentence(phrase(said, by_chance, "."), claims)]
    alone = phrase(
        "The circuit, ", count(circuit.n_features, "/circuit/n_features"),
        " feature" if circuit.n_features == 1 else " features", " in all, keeps ",
        percent(circuit.sufficiency, "/circuit/sufficiency"), f" {lead} by itself",
        chance("sufficiency", circuit.sufficiency_p, circuit.random_sufficiency), ".",
    )  # fmt: skip
    without = phrase(
        "Without it, ", percent(circuit.necessity, "/circuit/necessity"), " of that lead is lost",
        chance("necessity", circuit.necessity_p, circuit.random_necessity), ".",
    )  # fmt: skip
    return [_sentence(alone, claims), _sentence(without, claims)]


def _about(teller: Teller, supernode: Supernode, claims: Sequence[Claim], place: int) -> list[Sentence]:
    """What was found of one supernode: what holds, what does not, what is open; one kind of test to a sentence."""
    name, role = teller.name(supernode.supernode_id), ROLE_WORDS[supernode.role]
    sentences: list[Sentence] = []
    openings = {
        "supported": f"{name} is {role}: ",
        "refuted": f"Not supported, for {name}, taken for {role}: ",
        "inconclusive": f"Undecided, for {name}, taken for {role}: ",
        "untested": f"Hypothesis, not tested: {name} is {role}. ",
    }
    for outcome, opening in openings.items():
        for kind in ("necessity", "swap", "steering"):
            mine = [c for c in claims if c.kind == kind and teller.verdict(c).outcome == outcome]
            if not mine:
                continue
            cited = f"/summary/{place + len(sentences)}/claims"
            if outcome == "untested":
                others = phrase(" (", count(len(mine), cited), " claims of this kind)") if len(mine) > 1 else ()
                said = phrase(f"'{mine[0].statement}'", others)
            else:
                said = tell(teller, mine, cited)
            if outcome == "supported":
                said = phrase(said, _strength(teller, mine))
            if outcome == "inconclusive":
                said = phrase(said, f"; {_why_open(teller, mine)}")
            sentences.append(_sentence(phrase(opening, said, "" if outcome == "untested" else "."), mine))
            if outcome == "supported":
                sentences += [_sentence(more, [claim]) for claim in mine for more in more_of(teller, claim)]
                opening = f"{name}, besides: "
    return sentences


def _strength(teller: Teller, claims: Sequence[Claim]) -> Phrase:
    """How far beyond chance the weakest of these claims is."""
    weakest = max(claims, key=lambda claim: teller.verdict(claim).q_value or 0.0)
    verdict = teller.verdict(weakest)
    if verdict.q_value is None:
        return ()
    return phrase(
        " (q ", probability(verdict.q_value, teller.at_verdict(weakest, "q_value")),
        " against ", count(verdict.n_controls, teller.at_verdict(weakest, "n_controls")), " random changes)",
    )  # fmt: skip


def _swaps(teller: Teller, supernode: Supernode, claims: Sequence[Claim]) -> list[Sentence]:
    """How many of a supernode's swaps hold, where there are several and some do."""
    mine = [claim for claim in claims if isinstance(claim, SwapClaim)]
    for place, summary in enumerate(teller.report.swaps):
        if summary.supernode == supernode.supernode_id and summary.n_donors > 1 and summary.n_supported:
            at, interval = f"/swaps/{place}", summary.interval
            said = phrase(
                "In all, ", count(summary.n_supported, f"{at}/n_supported"), " of ", count(summary.n_donors, f"{at}/n_donors"),
                f" swaps of {teller.name(supernode.supernode_id)} hold (", percent(interval.level, f"{at}/interval/level"),
                " interval of the share: ", probability(interval.low, f"{at}/interval/low"), " to ",
                probability(interval.high, f"{at}/interval/high"), ").",
            )  # fmt: skip
            return [_sentence(said, mine)]
    return []


def _edge(teller: Teller, claim: EdgeClaim) -> Sentence:
    source, destination = teller.name(claim.source), teller.name(claim.destination)
    drives = f"{source} {'drives' if claim.sign > 0 else 'holds back'} {destination}"
    verdict = teller.verdict(claim)
    if verdict.effect is None:
        return _sentence(phrase(f"Hypothesis, not tested: {drives}."), [claim])
    before, after = teller.detail(claim, "activation_before"), teller.detail(claim, "activation_after")
    told = phrase("without it, the activity there goes from ", before, " to ", after)
    match verdict.outcome:
        case "supported":
            said = phrase(f"{drives}: ", told, _strength(teller, [claim]), ".")
        case "refuted":
            said = phrase(f"Not supported that {drives}: ", told, ".")
        case _:
            said = phrase(f"Undecided whether {drives}: ", told, f"; {_why_open(teller, [claim])}.")
    return _sentence(said, [claim])


def _labels(teller: Teller, claims: Sequence[LabelClaim], place: int) -> list[Sentence]:
    """One sentence on all labels of one outcome."""
    endings = {
        "supported": ("holds", "hold", " on sentences that played no part in making {}."),
        "refuted": ("does", "do", " not hold on sentences that played no part in making {}: not supported."),
        "inconclusive": ("could", "could", " not be confirmed on sentences that played no part in making {}."),
        "untested": ("was", "were", " not tested."),
    }
    sentences: list[Sentence] = []
    for outcome, (one, many, rest) in endings.items():
        mine = [claim for claim in claims if teller.verdict(claim).outcome == outcome]
        if mine:
            n = count(len(mine), f"/summary/{place + len(sentences)}/claims")
            single = len(mine) == 1
            words = f" feature label {one}" if single else f" feature labels {many}"
            sentences.append(_sentence(phrase(n, words, rest.format("it" if single else "them")), mine))
    return sentences


def _end(teller: Teller) -> list[Sentence]:
    """Why the agent stopped, resting on what it left open; on what it says of the whole where nothing is open."""
    stopped, claims = teller.report.stopped, teller.report.claims
    if stopped is None or not claims:
        return []
    open_ = [claim for claim in claims if teller.verdict(claim).outcome in ("inconclusive", "untested")]
    after = phrase(
        "after ", count(stopped.rounds, "/stopped/rounds"), " round of revision" if stopped.rounds == 1 else " rounds of revision"
    )  # fmt: skip
    said = phrase("The agent stopped ", after, f": {STOP_WORDS[stopped.reason]}.")
    return [_sentence(said, open_ or _on_the_whole(claims))]
