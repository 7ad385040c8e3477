"""Causal claims: is what the report calls supported true, and does it find what is true?

A claim is held against what was observed on the model by other means (see `evals.oracle`): its supernode is read as the
gold supernode that holds most of its members. Where gold cannot tell (a kind of claim it knows nothing of, a supernode of
undecided features or of several concepts mixed) the claim counts neither way, and how many there were is told. In a
gold circuit that was seen to be complete a supernode of other features has no effect, and a claim that it has is false.

Known effects are those that an agent that can only touch features could have shown: for each gold supernode that it is
necessary, and that swapping it for some other value gives that value's answer. A refutation is wrong only if the claim
is true and features could have shown it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from tracescribe.agents.claims import Claim, EdgeClaim, NecessityClaim, SwapClaim
from tracescribe.agents.findings import Outcome
from tracescribe.evals.gold import GoldCircuit
from tracescribe.evals.gold.parts import GoldTrap
from tracescribe.evals.matching import MAJORITY, Matching, match_supernodes
from tracescribe.evals.prediction import Prediction
from tracescribe.evals.scorers.labels import names_exactly
from tracescribe.evals.scorers.metric import NOTHING, Metric, Tally, harmonic

METRICS = (
    Metric("causal.precision", "causal precision", "every supported claim is true", "pooled", headline=True),
    Metric("causal.recall", "effects found", "every known effect has a supported claim", "pooled", headline=True),
    Metric("causal.f1", "causal F1", "harmonic mean of both, case by case"),
    Metric(
        "causal.false_discoveries", "false discoveries", "no supported claim is false", "pooled", higher_is_better=False
    ),
    Metric("causal.swap_precision", "swap precision", "every supported swap is true", "pooled"),
    Metric(
        "causal.wrongly_refuted",
        "wrongly refuted",
        "no true claim is refuted",
        "pooled",
        higher_is_better=False,
    ),
    Metric("causal.decidable", "decidable", "gold can tell of every supported necessity, swap and edge", "pooled"),
    Metric(
        "causal.trapped",
        "trapped",
        "a supported claim is about the tempting wrong concept wherever there is one",
        "pooled",
        higher_is_better=False,
    ),
)
_JUDGED = (NecessityClaim, SwapClaim, EdgeClaim)
"""Kinds of claims that gold speaks about."""


def score_causal(prediction: Prediction, gold: GoldCircuit, matching: Matching) -> Mapping[str, Tally]:
    """Score supported and refuted claims against the known effects of a gold circuit."""
    truth = [(judged, claim_truth(judged.claim, gold, matching)) for judged in prediction.claims]
    supported = [(judged.claim, true) for judged, true in truth if judged.outcome == "supported"]
    decided = [(claim, true) for claim, true in supported if true is not None]
    right = sum(true for _, true in decided)
    swaps = [true for claim, true in decided if isinstance(claim, SwapClaim)]
    shown = [judged.outcome for judged, true in truth if true and _shown_by_features(judged.claim, gold, matching)]
    known = known_effects(gold)
    found = {_effect_of(claim, matching) for claim, true in decided if true}
    return {
        "causal.precision": Tally(right, len(decided)),
        "causal.recall": Tally(len(known & found), len(known)),
        "causal.f1": _f1(right, len(decided), len(known & found), len(known)),
        "causal.false_discoveries": Tally(len(decided) - right, len(decided)),
        "causal.swap_precision": Tally(sum(swaps), len(swaps)),
        "causal.wrongly_refuted": Tally(shown.count("refuted"), len(shown)),
        "causal.decidable": Tally(len(decided), sum(isinstance(claim, _JUDGED) for claim, _ in supported)),
        "causal.trapped": Tally(sum(_is_told(trap, prediction, matching) for trap in gold.traps), len(gold.traps)),
    }


def _is_told(trap: GoldTrap, prediction: Prediction, matching: Matching) -> bool:
    """Whether a supported claim is about the wrong concept: about its features, or about a group that is named like it.

    A supernode that is made of the right features is no trap, whatever it is called, and a name without a claim is none:
    a word of the prompt may be named.
    """
    supported = {end for judged in prediction.claims if judged.outcome == "supported" for end in _ends(judged.claim)}
    for supernode in prediction.supernodes:
        if supernode.supernode_id in supported and supernode.supernode_id not in matching.owners:
            shared = len(set(supernode.members) & set(trap.members))
            if shared > MAJORITY * len(supernode.members) or names_exactly(supernode.label, trap):
                return True
    return False


def _ends(claim: Claim) -> tuple[str, ...]:
    match claim:
        case NecessityClaim() | SwapClaim():
            return (claim.supernode,)
        case EdgeClaim():
            return (claim.source, claim.destination)
        case _:
            return ()


def claim_truth(claim: Claim, gold: GoldCircuit, matching: Matching) -> bool | None:
    """Whether a claim is true by gold; None where gold cannot tell."""
    match claim:
        case NecessityClaim():
            return _necessity_truth(claim, gold, matching)
        case SwapClaim():
            return _swap_truth(claim, gold, matching)
        case EdgeClaim():
            return _edge_truth(claim, gold, matching)
        case _:
            return None


def confusion(prediction: Prediction, gold: GoldCircuit) -> dict[str, dict[str, int]]:
    """How many claims there are by outcome and by truth (`true`, `false`, `unknown`), of the kinds that gold speaks about.

    Empty where the gold circuit cannot score claims.
    """
    if "causal" not in gold.can_score:
        return {}
    matching = match_supernodes(prediction, gold)
    counts: dict[str, dict[str, int]] = {
        str(outcome): {"true": 0, "false": 0, "unknown": 0} for outcome in get_args(Outcome)
    }
    for judged in prediction.claims:
        if isinstance(judged.claim, _JUDGED):
            truth = claim_truth(judged.claim, gold, matching)
            counts[judged.outcome]["unknown" if truth is None else "true" if truth else "false"] += 1
    return counts


def _f1(right: int, decided: int, found: int, known: int) -> Tally:
    """Harmonic mean of precision and recall; it exists where there are effects to find, whatever was claimed."""
    if not known:
        return NOTHING
    return Tally(harmonic(right / decided if decided else 0.0, found / known))


def known_effects(gold: GoldCircuit) -> set[tuple[str, str]]:
    """(kind, gold supernode) of every effect that the gold features were seen to have."""
    found = set()
    for effects in gold.effects:
        if effects.necessary_by_features:
            found.add(("necessity", effects.supernode))
        if any(swap.shown_by_features for swap in effects.swaps):
            found.add(("swap", effects.supernode))
    return found


def _effect_of(claim: Claim, matching: Matching) -> tuple[str, str] | None:
    if isinstance(claim, NecessityClaim | SwapClaim):
        owner = matching.owners.get(claim.supernode)
        return (claim.kind, owner) if owner is not None else None
    return None


def _shown_by_features(claim: Claim, gold: GoldCircuit, matching: Matching) -> bool:
    """Whether a true claim could have been shown by touching features; edges of gold always could."""
    if not isinstance(claim, NecessityClaim | SwapClaim):
        return True
    owner = matching.owners.get(claim.supernode)
    effects = gold.effects_of(owner) if owner is not None else None
    if effects is None:
        return False
    if isinstance(claim, NecessityClaim):
        return effects.necessary_by_features
    return any(swap.shown_by_features for swap in effects.swaps_to(claim.expected_token))


def _necessity_truth(claim: NecessityClaim, gold: GoldCircuit, matching: Matching) -> bool | None:
    owner = matching.owners.get(claim.supernode)
    if owner is None:
        stranger = gold.complete and claim.supernode in matching.strangers
        return _false_of(claim.supernode, matching) if stranger else None
    effects = gold.effects_of(owner)
    if effects is None or effects.target_token != claim.target_token:
        return None
    if effects.site_drop is None and effects.features_drop is None:
        return None
    return True if effects.necessary else _false_of(claim.supernode, matching)


def _swap_truth(claim: SwapClaim, gold: GoldCircuit, matching: Matching) -> bool | None:
    owner = matching.owners.get(claim.supernode)
    if owner is None:
        stranger = gold.complete_for_swaps and claim.supernode in matching.strangers
        return _false_of(claim.supernode, matching) if stranger else None
    effects = gold.effects_of(owner)
    if effects is None:
        return None
    tried = effects.swaps_to(claim.expected_token)
    if any(swap.holds for swap in tried):
        return True
    return _false_of(claim.supernode, matching) if tried or effects.exhaustive else None


def _false_of(supernode: str, matching: Matching) -> bool | None:
    """False, unless undecided members could give the supernode an effect that its owner does not have."""
    return None if supernode in matching.impure else False


def _edge_truth(claim: EdgeClaim, gold: GoldCircuit, matching: Matching) -> bool | None:
    """An edge claim is about a total effect, so any path of gold edges with the right sign makes it true.

    Where the sign can only come of a path with an edge that gold is not sure of, gold cannot tell.
    """
    source, destination = matching.owners.get(claim.source), matching.owners.get(claim.destination)
    if source is None or destination is None or source == destination or not gold.edges:
        return None
    if claim.sign in _path_signs(_steps(gold, unsure=False), source, destination):
        return True
    return None if claim.sign in _path_signs(_steps(gold, unsure=True), source, destination) else False


def _steps(gold: GoldCircuit, unsure: bool) -> set[tuple[str, str, int]]:
    """(source, destination, sign) of every edge; with `unsure` also of undecided ones, which may have either sign."""
    steps = {(e.source, e.destination, int(e.sign)) for e in gold.edges if e.status == "asked"}
    open_ends = [(e.source, e.destination) for e in gold.edges if e.status == "undecided"]
    return steps | {(*ends, sign) for ends in open_ends for sign in (1, -1)} if unsure else steps


def _path_signs(steps: set[tuple[str, str, int]], source: str, destination: str) -> set[int]:
    """Signs of all paths between two supernodes."""
    signs: set[int] = set()
    frontier, seen = [(source, 1)], {(source, 1)}
    while frontier:
        name, sign = frontier.pop()
        for start, end, direction in steps:
            step = (end, sign * direction)
            if start != name or step in seen:
                continue
            seen.add(step)
            frontier.append(step)
            if end == destination:
                signs.add(step[1])
    return signs
