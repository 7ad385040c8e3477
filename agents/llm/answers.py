"""The schemas that language models answer in. Limits here are checked on every answer; what breaks them is repaired."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from tracescribe.agents.findings import Role
from tracescribe.prompts.fences import visible

MAX_LABEL_CHARS = 60
"""Six words; a label is a name, not a description."""
MAX_HERE_CHARS = 160
"""One short sentence on what a feature means in one prompt."""
MAX_REASON_CHARS = 600
"""A few sentences."""
MAX_DONOR_CHARS = 2000
"""A donor prompt is as long as the prompt under study, in tokens; the model itself refuses longer ones."""
MAX_ID_CHARS = 40
"""Ids are short; what is longer is none, and is told as such."""
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


def _one_line(text: str) -> str:
    return " ".join(visible(text).split())[:MAX_HERE_CHARS]


LabelText = Annotated[ShortText, AfterValidator(_plain)]
"""A name for people: on one line, with nothing hidden in it."""
HereText = Annotated[str, AfterValidator(_one_line)]
"""What a feature means in this prompt: on one line, cut where it runs long; may be empty."""
Id = Annotated[str, Field(max_length=MAX_ID_CHARS)]
"""An id that the data give: of a group, a feature, a supernode, a donor."""


class AnswerPart(BaseModel):
    """Base of every schema that a language model answers in: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PredicateAnswer(AnswerPart):
    """Where the label says that the feature fires."""

    on: Literal["token", "previous", "next"]
    words: list[ShortText] = Field(min_length=1, max_length=MAX_WORDS)


class FeatureLabelAnswer(AnswerPart):
    """A label of one feature: what it means everywhere, and here. The reason comes first, so that it comes before the name."""

    reason: str = ""
    text: LabelText
    reads: Literal["input", "output"]
    here: HereText = ""
    predicate: PredicateAnswer


class SupernodeAnswer(AnswerPart):
    """One supernode: candidate groups taken together, single features taken out of groups, or both, under one name."""

    groups: list[Id] = Field(default_factory=list)
    members: list[Id] = Field(default_factory=list)
    label: LabelText
    role: Role

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        if not self.groups and not self.members:
            raise ValueError("a supernode names at least one group, or one member as layer/feature@position")
        return self


class SupernodesAnswer(AnswerPart):
    """All supernodes of a prompt."""

    supernodes: list[SupernodeAnswer]


class NecessityAnswer(AnswerPart):
    """Without the supernode the answer becomes at most half as probable."""

    kind: Literal["necessity"]
    supernode: str


class SufficiencyAnswer(AnswerPart):
    """These supernodes alone keep at least half of the answer's probability."""

    kind: Literal["sufficiency"]
    supernodes: list[str] = Field(min_length=1)


class SwapAnswer(AnswerPart):
    """A listed donor's counterpart in the supernode's place gives the donor's answer."""

    kind: Literal["swap"]
    donor: str


class SteeringAnswer(AnswerPart):
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


class EdgeAnswer(AnswerPart):
    """Without the source, the destination's activation falls (sign 1) or rises (sign -1)."""

    kind: Literal["edge"]
    source: str
    destination: str
    sign: Literal[1, -1]


class LabelClaimAnswer(AnswerPart):
    """The feature's label predicts where it fires in unseen texts."""

    kind: Literal["label"]
    feature: str


ClaimAnswer = Annotated[
    NecessityAnswer | SufficiencyAnswer | SwapAnswer | SteeringAnswer | EdgeAnswer | LabelClaimAnswer,
    Field(discriminator="kind"),
]


class ClaimsAnswer(AnswerPart):
    """Claims to be registered and tested; an empty list ends the revision."""

    claims: list[ClaimAnswer]


class NewSupernodeAnswer(AnswerPart):
    """A supernode made from single features, under an id of the answer's own choice that its claims may use."""

    id: Id
    members: list[Id] = Field(min_length=1)
    label: LabelText
    role: Role


class RevisionAnswer(AnswerPart):
    """An answer to verdicts: supernodes regrouped, and claims about old and new ones; two empty lists end the revision."""

    supernodes: list[NewSupernodeAnswer] = Field(default_factory=list)
    claims: list[ClaimAnswer] = Field(default_factory=list)


class WrittenSwapAnswer(AnswerPart):
    """A donor prompt of the model's own: its counterpart in the supernode's place gives the donor prompt's answer."""

    kind: Literal["swap"]
    supernode: str
    donor_prompt: str = Field(min_length=1, max_length=MAX_DONOR_CHARS)


OneShotClaimAnswer = Annotated[
    NecessityAnswer | SufficiencyAnswer | WrittenSwapAnswer | SteeringAnswer | EdgeAnswer | LabelClaimAnswer,
    Field(discriminator="kind"),
]


class OneShotLabelAnswer(AnswerPart):
    """A label of one feature among many."""

    feature: Id
    text: LabelText
    reads: Literal["input", "output"]
    here: HereText = ""
    predicate: PredicateAnswer


class OneShotAnswer(AnswerPart):
    """A whole interpretation in one answer."""

    labels: list[OneShotLabelAnswer] = Field(default_factory=list)
    supernodes: list[NewSupernodeAnswer] = Field(default_factory=list)
    claims: list[OneShotClaimAnswer] = Field(default_factory=list)
