"""What a report is made of besides its claims: labels, supernodes, plans, measurements and verdicts, as data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tracescribe.agents.claims import FeatureAt, Frozen, Predicate
from tracescribe.tracer.provenance import sha256_json

Role = Literal["input", "intermediate", "relation", "output", "suppressor", "other"]
Outcome = Literal["supported", "refuted", "inconclusive", "untested"]


BEYOND_CONTROLS = "effect beyond controls, bootstrap over controls"
"""Method of an interval that is of the effect less what controls do: the effect itself need not lie in it."""


class Interval(Frozen):
    """A confidence interval.

    Attributes:
        method: how it was computed, in a few words.
    """

    low: float
    high: float
    level: float = Field(default=0.95, gt=0, lt=1)
    method: str


class DetectionScore(Frozen):
    """How well a label's predicate tells, on contexts the labeller never saw, where the feature fires.

    Attributes:
        auc: area under the ROC curve of the activation against the predicate, over tokens.
        f1: of 'fires' against the predicate.
        precision, recall: of the predicate as a detector of firing.
        n_positive, n_negative: tokens on which the feature fires, and does not.
        interval: of the F1 score, by bootstrap over contexts.
    """

    auc: float
    f1: float
    precision: float
    recall: float
    n_positive: int = Field(ge=0)
    n_negative: int = Field(ge=0)
    interval: Interval | None = None


class JudgedScore(Frozen):
    """How well a label's words tell which unseen contexts a feature fires in, or on which of their tokens.

    Source: detection and fuzzing as in Delphi (arXiv 2410.13928), with near-miss negatives beside random ones.

    Attributes:
        method: `detection`: does the feature fire in this context; `fuzzing`: does it fire on the marked tokens.
        judge: who answered: `predicate` (code) or a language model's name with its prompt version.
        balanced_accuracy: mean of the shares of positives and of negatives that were told right, 0 to 1.
        interval: of the balanced accuracy, by bootstrap over contexts.
        n_positive, n_random, n_near_miss: contexts that were judged, by kind.
        right_positive, right_random, right_near_miss: those that were told right.
        n_failed: contexts for which no usable judgement came; they are in no other count.
    """

    method: Literal["detection", "fuzzing"]
    judge: str
    balanced_accuracy: float = Field(ge=0, le=1)
    interval: Interval
    n_positive: int = Field(ge=0)
    n_random: int = Field(ge=0)
    n_near_miss: int = Field(ge=0)
    right_positive: int = Field(ge=0)
    right_random: int = Field(ge=0)
    right_near_miss: int = Field(ge=0)
    n_failed: int = Field(default=0, ge=0)


class FeatureLabel(Frozen):
    """A short label of one feature.

    Attributes:
        text: what people read.
        predicate: what the label predicts, checkable by code; None where a label predicts nothing.
        score: detection on unseen contexts; None where there was no evidence.
        evidence: ids of the contexts that the label rests on.
        proposed_by: agent, or prompt version and model, or person.
        reads: `input` where the label tells what the feature reads, `output` where it tells what it says.
        here: what the feature stands for in this prompt (where it fires, what feeds it, what it feeds), in a few words;
            empty where nothing is known beyond the label itself.
        judged: detection and fuzzing of the label's words; empty where there was no evidence.
        earlier: texts that this label replaced after they scored poorly, oldest first.
    """

    layer: int = Field(ge=0)
    feature: int = Field(ge=0)
    text: str
    reads: Literal["input", "output"] = "input"
    here: str = ""
    judged: tuple[JudgedScore, ...] = ()
    earlier: tuple[str, ...] = ()
    predicate: Predicate | None = None
    score: DetectionScore | None = None
    evidence: tuple[str, ...] = ()
    proposed_by: str


class SupernodeQuality(Frozen):
    """How well a supernode hangs together, and what it does as a unit, beside random groups of the same size.

    Attributes:
        agreement: mean likeness of its members' attribution profiles over all pairs, 0 to 1; None for a single member.
        random_agreement: the mean of the same over the random groups; None where `agreement` is.
        agreement_p: rank p value of `agreement` among the random groups; None where `agreement` is.
        effect: drop of the target's log-probability when all members are ablated together, in nats; None untested.
        random_effect: the mean of the same over the random groups.
        effect_p: rank p value of `effect` among the random groups.
        n_random: random groups of the same number of active features, drawn layer by layer where that is possible.
    """

    agreement: float | None = None
    random_agreement: float | None = None
    agreement_p: float | None = Field(default=None, ge=0, le=1)
    effect: float | None = None
    random_effect: float | None = None
    effect_p: float | None = Field(default=None, ge=0, le=1)
    n_random: int = Field(default=0, ge=0)


class Supernode(Frozen):
    """Features that play one role in this prompt.

    Attributes:
        members: feature nodes. Embedding and logit nodes are not members; they are drawn from the graph itself.
        influence: summed influence share of the members on the target logits; above 1 where members feed each other.
        rejected: every intervention that tested this supernode by itself was refuted: a guess that failed, kept in the
            report as such, and no part of the circuit that the report stands by.
        quality: measured after grouping; None where it was not. Never part of what the registry fixes.
    """

    supernode_id: str = Field(pattern=r"^s[0-9]+$")
    label: str
    role: Role
    members: tuple[FeatureAt, ...] = Field(min_length=1)
    influence: float = Field(default=0.0, ge=0)
    rejected: bool = False
    quality: SupernodeQuality | None = None


def supernode_sha256(supernode: Supernode) -> str:
    """Hash of a supernode's id and members: what the registry fixes before a claim may name it."""
    members = sorted([m.layer, m.position, m.feature] for m in supernode.members)
    return sha256_json([supernode.supernode_id, members])


class SupernodeEdge(Frozen):
    """Summed direct effect from one end to another, in units of the target's pre-activation.

    Ends are supernode ids, or node ids of embeddings and logits.
    """

    source: str
    destination: str
    weight: float


class FeatureImportance(Frozen):
    """How much one feature node matters to the prompt's answer, in an agent's own ranking.

    Attributes:
        score: larger matters more; only the order means anything, and no two agents share a scale.
    """

    node: FeatureAt
    score: float = Field(allow_inf_nan=False)


class Controls(Frozen):
    """Matched random controls of an experiment.

    Attributes:
        n: how many control sets were drawn.
        matched_on: what each control shares with the tested set.
        seed: of the generator that drew them.
        sha256: content hash of the drawn sets.
    """

    n: int = Field(ge=0)
    matched_on: tuple[str, ...]
    seed: int
    sha256: str


class DecisionRule(Frozen):
    """By what a measurement becomes a verdict; part of the plan, so fixed before the measurement.

    Attributes:
        name: of the rule as `agents.testing.verdicts` implements it, with its version.
        threshold, alpha: as in the plan.
        min_controls: fewest matched controls with which a claim can be supported.
        refuted_below: effects below this refute the claim.
        min_dose_trend: steering: least rank correlation of dose and effect with which it can be supported; else None.
        interval_above: labels: what the effect's whole interval must exceed for the claim to be supported; else None.
    """

    name: str
    threshold: float
    alpha: float
    min_controls: int
    refuted_below: float
    min_dose_trend: float | None = None
    interval_above: float | None = None


class ExperimentPlan(Frozen):
    """Everything that decides an experiment's outcome except the measurement; hashed before it runs.

    Attributes:
        hypothesis: the claim's statement, as it was registered.
        rule: how the verdict will be computed.
        doses: steering: multipliers at which the effect is measured besides the claim's own.
        paraphrases: prompts on which the same edit is measured besides, for an interval over wordings.
        claim_id, claim_sha256: the registered claim.
        metric: name of the measured quantity.
        intervention: what is done, as typed edits in plain JSON values.
        mode: `open` (MLPs react), with attention recomputed unless `freeze_attention`.
        threshold: smallest effect that supports the claim, in units of the metric.
        alpha: level after Benjamini-Hochberg over the report's claims.
    """

    plan_id: str
    claim_id: str
    claim_sha256: str
    metric: str
    intervention: dict[str, object]
    mode: Literal["open", "constrained", "direct", "none"]
    freeze_attention: bool
    controls: Controls
    threshold: float
    alpha: float
    seed: int
    hypothesis: str = ""
    rule: DecisionRule | None = None
    doses: tuple[float, ...] = ()
    paraphrases: tuple[str, ...] = ()


class TokenChange(Frozen):
    """What an edit did to one output token at the last position.

    Attributes:
        probability_before, probability_after: 0 to 1.
        logit_before, logit_after: raw, in the model's own units.
        rank_before, rank_after: 1 is the most probable token.
    """

    token: str
    probability_before: float
    probability_after: float
    logit_before: float
    logit_after: float
    rank_before: int = Field(ge=1)
    rank_after: int = Field(ge=1)


class DosePoint(Frozen):
    """The effect of one dose of steering.

    Attributes:
        multiplier: of the supernode's activations; 1 changes nothing.
        effect: in units of the plan's metric.
        probability: of the expected token.
    """

    multiplier: float
    effect: float
    probability: float


class ParaphraseEffect(Frozen):
    """The effect of the same edit in another wording of the prompt.

    Attributes:
        effect: in units of the plan's metric; None where the edit does not apply there, and `why` tells the reason.
    """

    prompt: str
    effect: float | None
    why: str = ""


class Measurement(Frozen):
    """What an experiment measured.

    Attributes:
        changes: probability, logit and rank of the tokens that the claim speaks of; empty for labels and edges.
        doses: steering: one point for each dose of the plan, by multiplier.
        paraphrases: one for each of the plan's.
        paraphrase_interval: of the mean effect over wordings, by bootstrap; None with fewer than three that apply.
        effect: of the tested set, in units of the plan's metric.
        control_effects: of every control set, in the order drawn.
        details: further numbers for people (probabilities before and after, top token, ...).
        failure: why there is no measurement; None where there is one.
    """

    plan_id: str
    effect: float | None
    control_effects: tuple[float, ...]
    interval: Interval | None
    details: dict[str, float | str | None] = Field(default_factory=dict)
    failure: str | None = None
    changes: tuple[TokenChange, ...] = ()
    doses: tuple[DosePoint, ...] = ()
    paraphrases: tuple[ParaphraseEffect, ...] = ()
    paraphrase_interval: Interval | None = None


class Verdict(Frozen):
    """Computed from plan and measurement alone, by rule (see `agents.testing.verdicts`)."""

    claim_id: str
    outcome: Outcome
    reason: str
    effect: float | None = None
    threshold: float | None = None
    interval: Interval | None = None
    rank: int | None = None
    """1 is the largest effect among the tested set and its controls."""
    n_controls: int = 0
    p_value: float | None = Field(default=None, ge=0, le=1)
    q_value: float | None = Field(default=None, ge=0, le=1)


class CircuitEffect(Frozen):
    """What the circuit as a whole does: all members of the supernodes that the report stands by.

    The measure is the logit difference of `target` and `foil` at the last position, normalised so that 1 is the
    untouched model and 0 the model with every active feature ablated (recovered logit difference; faithfulness and
    completeness in Wang et al. 2022, arXiv 2211.00593, and MIB, arXiv 2504.13151).

    Attributes:
        target, foil: the answer, and the token it is compared with (the most probable other one).
        n_features, n_active: members of the circuit, and all features that fire in the prompt.
        sufficiency: recovered logit difference with every other feature ablated.
        necessity: 1 minus the recovered logit difference with the circuit ablated.
        random_sufficiency, random_necessity: the same for every random circuit of the same size.
        sufficiency_p, necessity_p: rank p values among those.
        matched_on: what each random circuit shares with this one.
        logit_difference, logit_difference_empty: of the untouched model, and with every feature ablated.
    """

    target: str
    foil: str
    n_features: int = Field(ge=0)
    n_active: int = Field(ge=0)
    sufficiency: float
    necessity: float
    random_sufficiency: tuple[float, ...] = ()
    random_necessity: tuple[float, ...] = ()
    sufficiency_p: float | None = Field(default=None, ge=0, le=1)
    necessity_p: float | None = Field(default=None, ge=0, le=1)
    logit_difference: float
    logit_difference_empty: float
    matched_on: tuple[str, ...] = ()


class SwapSummary(Frozen):
    """Swaps of one supernode over all its donor prompts.

    Attributes:
        n_donors, n_supported: swap claims that were tested, and those that were supported.
        interval: of the share supported (Wilson).
    """

    supernode: str
    n_donors: int = Field(ge=1)
    n_supported: int = Field(ge=0)
    interval: Interval
