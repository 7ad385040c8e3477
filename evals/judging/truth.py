"""Is a claim true? Decided before the judge sees it, from measurements that share no code with the judge's."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Literal

from tracescribe.agents.claims import (
    Claim,
    EdgeClaim,
    LabelClaim,
    NecessityClaim,
    SteeringClaim,
    SufficiencyClaim,
    SwapClaim,
)
from tracescribe.evals.judging.corpus_truth import CorpusTruth
from tracescribe.evals.judging.independent import IndependentModel, Members
from tracescribe.tracer.embedded.training.corpus import Sample

Status = Literal["true", "false", "unclear"]

FALSE_BELOW = 0.75
"""A claim is false from this share of its threshold downwards: it says at least a third more than there is."""
ABSENT_BELOW = 0.25
"""Below this share there is next to nothing of what the claim says."""
TRUE_ABOVE = 1.25
"""A claim is true from this multiple of its threshold upwards. Between the two bounds it is neither."""
COMMON = 0.25
"""A claim is false if this share of random pushes of the same size do as much: the features are nothing special."""
RARE = 0.01
"""A claim is true only if at most this share of them does: the rule's line lies near .05, lower where a report holds more
claims. Between the two shares the claim is neither."""
RANDOM_PUSHES = 200
"""Behind those shares; the standard error at the upper one is .03, and two of them make the lower one."""
ALONE = 0.25 * math.log(2)
"""A swap is false if taking the members away adds less than this to the odds, in nats: the donor's features alone do it."""
NO_AREA = 0.5
"""Area under the ROC curve of a label that tells nothing."""


@dataclass(frozen=True)
class Truth:
    """What is known of a claim.

    Attributes:
        status: `unclear` claims are counted and left out.
        effect: in units of the threshold; None where the quantity does not exist.
        strength: effect as a share of the threshold, both counted from no effect.
        common: share of random pushes of the same size that do as much; None where it was not tried.
        why: what decided.
    """

    status: Status
    effect: float | None
    strength: float | None
    common: float | None
    why: str


@dataclass(frozen=True, eq=False)
class TruthTeller:
    """Tells what is true of the embedded model.

    Attributes:
        corpus: for labels.
        model: for everything else.
        seed: of random pushes.
        pushes: how many of them decide.
    """

    corpus: CorpusTruth
    model: IndependentModel
    seed: int = 0
    pushes: int = RANDOM_PUSHES

    @classmethod
    def of(cls, corpus: CorpusTruth, seed: int = 0, pushes: int = RANDOM_PUSHES) -> TruthTeller:
        """On the corpus' own model."""
        return cls(corpus, IndependentModel(corpus.world, corpus.live()), seed, pushes)

    def of_claim(self, sample: Sample, claim: Claim, members: Members) -> Truth:
        """The truth of a claim about one prompt.

        Args:
            sample: the prompt.
            claim: any kind.
            members: of every supernode that it names.
        """
        if isinstance(claim, LabelClaim):
            areas = self.corpus.both_ways(claim.layer, claim.feature, claim.predicate)
            if areas is None:
                return Truth("unclear", None, None, None, "the predicate holds nowhere or everywhere")
            area = min(areas)
            return _by_strength(area, (area - NO_AREA) / (claim.min_auc - NO_AREA))
        observed = self.model.observe(sample, claim, members)
        if observed.effect is None:
            return Truth("unclear", None, None, None, observed.why)
        found = _by_strength(observed.effect, observed.effect / threshold_of(claim))
        if found.status == "false":
            return found
        if observed.added_alone is not None and observed.added_alone <= ALONE:
            return Truth("false", found.effect, found.strength, None, "the donor's features alone do it")
        rng = random.Random(f"{self.seed} {sample.prompt} {claim.model_dump_json(exclude={'claim_id', 'statement'})}")
        common = self.model.reached_by_chance(sample, claim, members, observed.effect, self.pushes, rng)
        if common is not None and common >= COMMON:
            return Truth("false", found.effect, found.strength, common, "random pushes of the same size do as much")
        if found.status == "true" and common is not None and common > RARE:
            return Truth(
                "unclear", found.effect, found.strength, common, "some random pushes of the same size do as much"
            )
        return Truth(found.status, found.effect, found.strength, common, found.why)


def threshold_of(claim: Claim) -> float:
    """Smallest effect with which the claim holds."""
    match claim:
        case SufficiencyClaim():
            return claim.min_recovered
        case LabelClaim():
            return claim.min_auc
        case NecessityClaim() | SteeringClaim() | SwapClaim() | EdgeClaim():
            return claim.min_effect


def _by_strength(effect: float, strength: float) -> Truth:
    if strength <= ABSENT_BELOW:
        return Truth("false", effect, strength, None, "next to nothing of what it says")
    if strength <= FALSE_BELOW:
        return Truth("false", effect, strength, None, "much less than it says")
    if strength >= TRUE_ABOVE:
        return Truth("true", effect, strength, None, "more than it says")
    return Truth("unclear", effect, strength, None, "too near its threshold")
