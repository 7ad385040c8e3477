"""How often is nothing found to be something? Two null worlds, each judged as whole reports.

*Random claims*: features drawn at random among those that are active in a prompt, and a claim of a random kind about them, with
random tokens, directions, donors and words; those that are true by accident are left out. They test what is measured.

*Exchanged controls*: measured claims in which one of the matched random controls takes the place of the tested features. A
control pushes the model as hard, at the same place, and is drawn at random: whatever it does, it does by chance. They test
the rule: rank, threshold, Benjamini-Hochberg.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracescribe.agents.claims import Claim, FeatureAt, supernodes_of
from tracescribe.agents.findings import ExperimentPlan, Measurement
from tracescribe.agents.testing.experiment_settings import MIN_CONTROLS
from tracescribe.agents.testing.verdicts import judge
from tracescribe.evals.judging.candidates import Candidate
from tracescribe.evals.judging.concepts import ConceptWords
from tracescribe.evals.judging.known_prompts import KnownPrompt
from tracescribe.evals.judging.rates import Rate
from tracescribe.evals.judging.sheet import Sheet, make_claim, predicate
from tracescribe.evals.judging.truth import TruthTeller
from tracescribe.tracer.embedded.training.corpus import SPECIAL_WORDS
from tracescribe.tracer.graph import FeatureNode

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport

CLAIMS_PER_REPORT = 15
"""As many as an agent makes."""
MAX_TRIES = 400
"""Random claims drawn for one sheet; some prompts have few active features, and so few claims that are not true."""
MULTIPLIERS = (-3.0, -1.0, 0.0, 0.5, 1.5, 2.0, 3.0)
_KINDS = ("necessity", "sufficiency", "steering", "swap", "edge", "label")


@dataclass(frozen=True, eq=False)
class RandomClaims:
    """Draws random claims about prompts.

    Attributes:
        teller: of what is true by accident.
        words: values of variables, for labels.
        seed: of the draws.
    """

    teller: TruthTeller
    words: ConceptWords
    seed: int = 0

    def sheet(self, known: KnownPrompt, number: int, n: int = CLAIMS_PER_REPORT) -> Sheet:
        """One report's worth of random claims that are not true.

        Args:
            known: the prompt.
            number: of the sheet; each is drawn anew.
            n: claims wanted; fewer come where the prompt has no more.
        """
        rng = random.Random(f"{self.seed} random claims {known.gold.gold_id} {number}")
        sheet = Sheet(known.prompt)
        said: set[str] = set()
        for _ in range(MAX_TRIES):
            if len(sheet.planted) == n:
                break
            candidate = self._draw(known, sheet, rng)
            if candidate is None or (content := candidate.claim.model_dump_json()) in said:
                continue
            said.add(content)
            truth = self.teller.of_claim(known.sample, candidate.claim, sheet.members())
            if truth.status == "false":
                sheet.add(candidate.claim, candidate.sort, truth)
        named = {name for planted in sheet.planted for name in supernodes_of(planted.claim)}
        sheet.supernodes = [s for s in sheet.supernodes if s.supernode_id in named]
        return sheet

    def _draw(self, known: KnownPrompt, sheet: Sheet, rng: random.Random) -> Candidate | None:
        kind = rng.choice(_KINDS)
        nodes = _some(known.active, rng)
        claim: Claim | None
        match kind:
            case "necessity":
                claim = make_claim("necessity", supernode=sheet.supernode("any", nodes), target_token=self._word(rng))
            case "sufficiency":
                claim = make_claim(
                    "sufficiency", supernodes=(sheet.supernode("any", nodes),), target_token=known.answer
                )
            case "steering":
                claim = make_claim(
                    "steering",
                    supernode=sheet.supernode("any", nodes),
                    multiplier=rng.choice(MULTIPLIERS),
                    expected_token=rng.choice([known.answer, self._word(rng)]),
                    direction=rng.choice(["up", "down"]),
                )
            case "swap":
                claim = self._swap(known, sheet, nodes, rng)
            case "edge":
                others = _some(known.active, rng)
                claim = make_claim(
                    "edge",
                    source=sheet.supernode("any", nodes),
                    destination=sheet.supernode("any", others),
                    sign=rng.choice([1, -1]),
                )
            case _:
                claim = self._label(nodes[0], rng)
        return None if claim is None else Candidate(claim, "a random claim")

    def _swap(self, known: KnownPrompt, sheet: Sheet, nodes: Sequence[FeatureNode], rng: random.Random) -> Claim | None:
        donors = [donor for variable in known.variables for donor in variable.donors]
        donor = rng.choice(donors)
        brought = donor.at(nodes, known.sample.answer)
        if not brought:
            return None
        return make_claim(
            "swap",
            supernode=sheet.supernode("any", nodes),
            donor_prompt=donor.prompt,
            donor_features=tuple(FeatureAt.of(node) for node in brought),
            expected_token=rng.choice([donor.answer, self._word(rng)]),
        )

    def _label(self, node: FeatureNode, rng: random.Random) -> Claim:
        code = rng.choice(sorted(self.words.here))
        on, words = rng.choice([("token", self.words.here[code]), ("next", self.words.said[code])])
        return make_claim(
            "label",
            layer=node.layer,
            feature=node.feature,
            predicate=predicate("token" if on == "token" else "next", words),
        )

    def _word(self, rng: random.Random) -> str:
        return rng.choice(sorted(set(self.teller.corpus.world.ids_of) - set(SPECIAL_WORDS)))


def _some(nodes: Sequence[FeatureNode], rng: random.Random) -> tuple[FeatureNode, ...]:
    return tuple(rng.sample(list(nodes), rng.randint(1, min(3, len(nodes)))))


@dataclass(frozen=True)
class Measured:
    """A claim with its plan and measurement, out of a report."""

    claim: Claim
    plan: ExperimentPlan
    measurement: Measurement


def measured_claims(report: CircuitReport) -> tuple[Measured, ...]:
    """Every claim of a report that has enough controls for a verdict."""
    plan_of = {plan.claim_id: plan for plan in report.plans}
    measured = {measurement.plan_id: measurement for measurement in report.measurements}
    found = []
    for claim in report.claims:
        plan = plan_of.get(claim.claim_id)
        measurement = None if plan is None else measured.get(plan.plan_id)
        if plan is None or measurement is None or measurement.effect is None:
            continue
        if len(measurement.control_effects) > MIN_CONTROLS:
            found.append(Measured(claim, plan, measurement))
    return tuple(found)


@dataclass(frozen=True)
class ExchangedNull:
    """What the rule made of controls in the place of tested features.

    Attributes:
        claims: supported, of all.
        reports: with at least one supported, of all. With nothing to find, that is the false discovery rate.
        small_p: claims with p at most .05, of all: near .05 if the ranks are right.
        without_threshold: reports in which some q is at most .05, whatever the size of the effect.
    """

    claims: Rate
    reports: Rate
    small_p: Rate
    without_threshold: Rate


def exchanged_null(pool: Sequence[Measured], n_reports: int, seed: int, alpha: float = 0.05) -> ExchangedNull:
    """Judge reports of measured claims whose tested features are exchanged for one of their own controls.

    Args:
        pool: claims of any truth; what was tested is taken out.
        n_reports: of `CLAIMS_PER_REPORT` claims each.
        seed: of the draws.
        alpha: level.
    """
    rng = random.Random(f"{seed} exchanged controls")
    supported = hit = small = discovered = n = 0
    for _ in range(n_reports if pool else 0):
        drawn = [_exchanged(rng.choice(pool), f"c{i}", rng) for i in range(1, CLAIMS_PER_REPORT + 1)]
        verdicts = judge([m.claim for m in drawn], [m.plan for m in drawn], [m.measurement for m in drawn], {})
        outcomes = [verdict.outcome for verdict in verdicts]
        n += len(outcomes)
        supported += outcomes.count("supported")
        hit += "supported" in outcomes
        small += sum(v.p_value is not None and v.p_value <= alpha for v in verdicts)
        discovered += any(v.q_value is not None and v.q_value <= alpha for v in verdicts)
    return ExchangedNull(
        claims=Rate.of(supported, n),
        reports=Rate.of(hit, n_reports if pool else 0),
        small_p=Rate.of(small, n),
        without_threshold=Rate.of(discovered, n_reports if pool else 0),
    )


def _exchanged(given: Measured, claim_id: str, rng: random.Random) -> Measured:
    """One control becomes the tested set; the tested set leaves, since it is not random."""
    effects = list(given.measurement.control_effects)
    effect = effects.pop(rng.randrange(len(effects)))
    plan = given.plan.model_copy(update={"plan_id": f"p-{claim_id}", "claim_id": claim_id})
    measurement = given.measurement.model_copy(
        update={"plan_id": plan.plan_id, "effect": effect, "control_effects": tuple(effects)}
    )
    return Measured(given.claim.model_copy(update={"claim_id": claim_id}), plan, measurement)
