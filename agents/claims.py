"""The closed set of typed claims. A claim says, before any test, what must be observed for it to be true."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from tracescribe.tracer.graph import FeatureNode, FeatureRef
from tracescribe.tracer.provenance import sha256_json

MIN_LOG_PROBABILITY_DROP = math.log(2)
"""Necessity, in nats: ablation must at least halve the target's probability."""
MIN_RECOVERED = 0.5
"""Sufficiency: share of the target's probability that the circuit alone must keep."""
MIN_SWAP_PROBABILITY = 0.5
"""Swap: gain in the donor answer's probability, as far as taking the supernode away has a part in it (see
`experiments`); at one half it is the model's answer."""
MIN_RELATIVE_CHANGE = 0.25
"""Edge: share of the destination's activation that the source must account for."""
MIN_STEERING_CHANGE = math.log(2)
"""Steering, in nats: the expected token's probability must at least double or halve."""
MIN_LABEL_AUC = 0.8
"""Label: area under the ROC curve of the activation against the predicate, and of the predicate against firing, on contexts
the labeller never saw; the smaller of the two."""


class Frozen(BaseModel):
    """Base of the boundary models: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FeatureAt(Frozen):
    """A transcoder feature at one position of the prompt."""

    layer: int = Field(ge=0)
    position: int = Field(ge=0)
    feature: int = Field(ge=0)

    @property
    def node(self) -> FeatureNode:
        """The same as the tracer's named tuple."""
        return FeatureNode(self.layer, self.position, self.feature)

    @property
    def ref(self) -> FeatureRef:
        """The feature without its position."""
        return FeatureRef(self.layer, self.feature)

    @property
    def node_id(self) -> str:
        """The node id in a graph: `{layer}_{feature}_{position}`."""
        return f"{self.layer}_{self.feature}_{self.position}"

    @classmethod
    def of(cls, node: FeatureNode) -> FeatureAt:
        """From the tracer's named tuple."""
        return cls(layer=node.layer, position=node.position, feature=node.feature)


class Predicate(Frozen):
    """A condition on a token in a context that code can check without a model's opinion.

    Attributes:
        on: `token`: the token itself is one of `words`; `previous`: one of `words` stands among the `window` tokens
            before it; `next`: the model's most probable next token is one of `words`.
        words: vocabulary words, at least one.
        window: how many tokens back `previous` looks.
    """

    on: Literal["token", "previous", "next"]
    words: tuple[str, ...] = Field(min_length=1)
    window: int = Field(default=8, ge=1)


class _ClaimBase(Frozen):
    claim_id: str = Field(pattern=r"^c[0-9]+$")
    statement: str = Field(min_length=1)
    """The claim in words, for people; verdicts never depend on it."""


class LabelClaim(_ClaimBase):
    """The feature fires where the predicate holds, and not elsewhere."""

    kind: Literal["label"] = "label"
    layer: int = Field(ge=0)
    feature: int = Field(ge=0)
    predicate: Predicate
    min_auc: float = Field(default=MIN_LABEL_AUC, gt=0.5, le=1.0)


class NecessityClaim(_ClaimBase):
    """Ablating the supernode lowers the target's log-probability by at least `min_effect` nats."""

    kind: Literal["necessity"] = "necessity"
    supernode: str
    target_token: str
    min_effect: float = Field(default=MIN_LOG_PROBABILITY_DROP, gt=0)


class SufficiencyClaim(_ClaimBase):
    """Keeping only these supernodes' features recovers at least `min_recovered` of the target's probability."""

    kind: Literal["sufficiency"] = "sufficiency"
    supernodes: tuple[str, ...] = Field(min_length=1)
    target_token: str
    min_recovered: float = Field(default=MIN_RECOVERED, gt=0, le=1)


class SteeringClaim(_ClaimBase):
    """Multiplying the supernode's activations moves a token's log-probability in the stated direction."""

    kind: Literal["steering"] = "steering"
    supernode: str
    multiplier: float
    expected_token: str
    direction: Literal["up", "down"]
    min_effect: float = Field(default=MIN_STEERING_CHANGE, gt=0)

    @field_validator("multiplier")
    @classmethod
    def _must_move(cls, value: float) -> float:
        if not math.isfinite(value) or value == 1.0:
            raise ValueError("a steering multiplier must be finite and differ from 1 (1 changes nothing)")
        return value


class SwapClaim(_ClaimBase):
    """Replacing the supernode by its counterpart in the donor prompt gives the donor's answer.

    `donor_features` are positions *in the donor prompt*; `expected_token` is the model's own answer to the donor
    prompt, read before the claim is registered.
    """

    kind: Literal["swap"] = "swap"
    supernode: str
    donor_prompt: str
    donor_features: tuple[FeatureAt, ...]
    expected_token: str
    min_effect: float = Field(default=MIN_SWAP_PROBABILITY, gt=0, le=1)


class EdgeClaim(_ClaimBase):
    """Ablating the source moves the destination's activation: down for sign +1, up for sign -1."""

    kind: Literal["edge"] = "edge"
    source: str
    destination: str
    sign: Literal[1, -1] = 1
    min_effect: float = Field(default=MIN_RELATIVE_CHANGE, gt=0)


Claim = Annotated[
    LabelClaim | NecessityClaim | SufficiencyClaim | SteeringClaim | SwapClaim | EdgeClaim,
    Field(discriminator="kind"),
]
CLAIM_KINDS: tuple[str, ...] = ("label", "necessity", "sufficiency", "steering", "swap", "edge")
claim_adapter: TypeAdapter[Claim] = TypeAdapter(Claim)


def claim_sha256(claim: Claim) -> str:
    """Content hash of a claim: what the registry records, and what a verdict is tied to."""
    return sha256_json(claim.model_dump(mode="json"))


def supernodes_of(claim: Claim) -> tuple[str, ...]:
    """Ids of the supernodes that a claim speaks about, in order."""
    match claim:
        case NecessityClaim() | SteeringClaim() | SwapClaim():
            return (claim.supernode,)
        case SufficiencyClaim():
            return claim.supernodes
        case EdgeClaim():
            return (claim.source, claim.destination)
        case LabelClaim():
            return ()
