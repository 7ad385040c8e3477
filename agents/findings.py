"""What a report is made of besides its claims: labels, supernodes, plans, measurements and verdicts, as data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tracescribe.agents.claims import FeatureAt, Frozen, Predicate
from tracescribe.tracer.provenance import sha256_json

Role = Literal["input", "intermediate", "relation", "output", "suppressor", "other"]
Outcome = Literal["supported", "refuted", "inconclusive", "untested"]


class Interval(Frozen):
    """A confidence interval.

    Attributes:
        method: how it was computed, in a few words.
    """

    low: float
    high: float
    level: float = 0.95
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


class FeatureLabel(Frozen):
    """A short label of one feature.

    Attributes:
        text: what people read.
        predicate: what the label predicts, checkable by code; None where a label predicts nothing.
        score: detection on unseen contexts; None where there was no evidence.
        evidence: ids of the contexts that the label rests on.
        proposed_by: agent, or prompt version and model, or person.
        reads: `input` where the label tells what the feature reads, `output` where it tells what it says.
    """

    layer: int = Field(ge=0)
    feature: int = Field(ge=0)
    text: str
    reads: Literal["input", "output"] = "input"
    predicate: Predicate | None = None
    score: DetectionScore | None = None
    evidence: tuple[str, ...] = ()
    proposed_by: str


class Supernode(Frozen):
    """Features that play one role in this prompt.

    Attributes:
        members: feature nodes. Embedding and logit nodes are not members; they are drawn from the graph itself.
        influence: summed influence share of the members on the target logits; above 1 where members feed each other.
        rejected: every intervention that tested this supernode by itself was refuted: a guess that failed, kept in the
            report as such, and no part of the circuit that the report stands by.
    """

    supernode_id: str = Field(pattern=r"^s[0-9]+$")
    label: str
    role: Role
    members: tuple[FeatureAt, ...] = Field(min_length=1)
    influence: float = Field(default=0.0, ge=0)
    rejected: bool = False


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


class ExperimentPlan(Frozen):
    """Everything that decides an experiment's outcome except the measurement; hashed before it runs.

    Attributes:
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


class Measurement(Frozen):
    """What an experiment measured.

    Attributes:
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


class Verdict(Frozen):
    """Computed from plan and measurement alone, by rule (see `agents.verdicts`)."""

    claim_id: str
    outcome: Outcome
    reason: str
    effect: float | None = None
    threshold: float | None = None
    interval: Interval | None = None
    rank: int | None = None
    """1 is the largest effect among the tested set and its controls."""
    n_controls: int = 0
    p_value: float | None = None
    q_value: float | None = None
