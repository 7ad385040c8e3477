"""The schemas that language models answer in. Limits here are checked on every answer; what breaks them is repaired."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from tracescribe.agents.findings import Role
from tracescribe.prompts.fences import visible

MAX_LABEL_CHARS = 60
"""Six words; a label is a name, not a description."""
MAX_WORDS = 12
"""Words of a predicate: enough for the triggers of one feature, too few to list a vocabulary."""
MAX_MULTIPLIER = 10.0
"""Steering beyond ten times a feature's activation leaves the range in which the model ever ran."""

ShortText = Annotated[str, Field(min_length=1, max_length=MAX_LABEL_CHARS)]


def _plain(text: str) -> str:
    plain = " ".join(visible(text).split())
    if not plain:
        raise ValueError("a label needs at least one character that can be seen")
    return plain


LabelText = Annotated[ShortText, AfterValidator(_plain)]
"""A name for people: on one line, with nothing hidden in it."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PredicateAnswer(_Answer):
    """Where the label says that the feature fires."""

    on: Literal["token", "previous", "next"]
    words: list[ShortText] = Field(min_length=1, max_length=MAX_WORDS)


class FeatureLabelAnswer(_Answer):
    """A label of one feature."""

    text: LabelText
    reads: Literal["input", "output"]
    predicate: PredicateAnswer
    reason: str = Field(max_length=600)


class SupernodeAnswer(_Answer):
    """One supernode: candidate groups, taken together under one name."""

    groups: list[str] = Field(min_length=1)
    label: LabelText
    role: Role


class SupernodesAnswer(_Answer):
    """All supernodes of a prompt."""

    supernodes: list[SupernodeAnswer]


class NecessityAnswer(_Answer):
    """Without the supernode the answer becomes at most half as probable."""

    kind: Literal["necessity"]
    supernode: str


class SufficiencyAnswer(_Answer):
    """These supernodes alone keep at least half of the answer's probability."""

    kind: Literal["sufficiency"]
    supernodes: list[str] = Field(min_length=1)


class SwapAnswer(_Answer):
    """A listed donor's counterpart in the supernode's place gives the donor's answer."""

    kind: Literal["swap"]
    donor: str


class SteeringAnswer(_Answer):
    """Multiplying the supernode's activations moves one token's probability."""

    kind: Literal["steering"]
    supernode: str
    multiplier: float = Field(ge=-MAX_MULTIPLIER, le=MAX_MULTIPLIER)
    expected_token: ShortText
    direction: Literal["up", "down"]

    @field_validator("multiplier")
    @classmethod
    def _must_move(cls, value: float) -> float:
        if not math.isfinite(value) or value == 1.0:
            raise ValueError("a multiplier must be finite and differ from 1 (1 changes nothing)")
        return value


class EdgeAnswer(_Answer):
    """Without the source, the destination's activation falls (sign 1) or rises (sign -1)."""

    kind: Literal["edge"]
    source: str
    destination: str
    sign: Literal[1, -1]


class LabelClaimAnswer(_Answer):
    """The feature's label predicts where it fires in unseen texts."""

    kind: Literal["label"]
    feature: str


ClaimAnswer = Annotated[
    NecessityAnswer | SufficiencyAnswer | SwapAnswer | SteeringAnswer | EdgeAnswer | LabelClaimAnswer,
    Field(discriminator="kind"),
]


class ClaimsAnswer(_Answer):
    """Claims to be registered and tested; an empty list ends the revision."""

    claims: list[ClaimAnswer]
