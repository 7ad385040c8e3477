"""The tools of an investigator, as answers: a closed union of typed actions.

A provider's own tool calling is not used: these are structured answers like any other, so that every provider and every
local model can give them, and each is recorded, validated, repaired and replayed like any other. The union is fixed in
code: no text that a model reads can add to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from tracescribe.agents.findings import Role
from tracescribe.agents.llm.answers import (
    MAX_REASON_CHARS,
    AnswerPart,
    ClaimAnswer,
    HereText,
    Id,
    LabelText,
    PredicateAnswer,
)
from tracescribe.prompts.fences import visible

Step = Literal["explore", "hypothesise", "revise"]


def _cut(text: str) -> str:
    return " ".join(visible(text).split())[:MAX_REASON_CHARS]


Words = Annotated[str, AfterValidator(_cut)]
"""What a model says to itself: on one line, cut where it runs long."""


class ListFeatures(AnswerPart):
    """Features by influence, a page at a time."""

    tool: Literal["list_features"]
    page: int = Field(ge=1)


class LookAtFeature(AnswerPart):
    """What is known of one feature."""

    tool: Literal["look_at_feature"]
    feature: Id


class LookAtToken(AnswerPart):
    """The features at one token of the prompt."""

    tool: Literal["look_at_token"]
    position: int = Field(ge=0)


class Neighbours(AnswerPart):
    """The strongest direct inputs and outputs of a feature at one position."""

    tool: Literal["neighbours"]
    feature: Id


class LabelFeature(AnswerPart):
    """A label of one feature; the same feature again replaces it."""

    tool: Literal["label"]
    feature: Id
    text: LabelText
    reads: Literal["input", "output"]
    here: HereText = ""
    predicate: PredicateAnswer


class MakeSupernode(AnswerPart):
    """A new supernode."""

    tool: Literal["make_supernode"]
    members: list[Id] = Field(min_length=1)
    label: LabelText
    role: Role


class DropSupernode(AnswerPart):
    """Take back a supernode that was made in this step."""

    tool: Literal["drop_supernode"]
    supernode: Id


class FindDonors(AnswerPart):
    """Look for prompts whose features can stand in for a supernode's."""

    tool: Literal["find_donors"]
    supernode: Id


class ProposeClaims(AnswerPart):
    """Claims to be registered and tested after this dialogue."""

    tool: Literal["propose_claims"]
    claims: list[ClaimAnswer] = Field(min_length=1)


class Finish(AnswerPart):
    """End this step."""

    tool: Literal["finish"]
    reason: Words


Action = Annotated[
    ListFeatures
    | LookAtFeature
    | LookAtToken
    | Neighbours
    | LabelFeature
    | MakeSupernode
    | DropSupernode
    | FindDonors
    | ProposeClaims
    | Finish,
    Field(discriminator="tool"),
]


class InvestigatorAnswer(AnswerPart):
    """One turn: what the model is after, and what it does."""

    note: Words = ""
    actions: list[Action] = Field(min_length=1)


LOOKING = frozenset({"list_features", "look_at_feature", "look_at_token", "neighbours"})
ALLOWED: Mapping[Step, frozenset[str]] = {
    "explore": LOOKING | {"label", "make_supernode", "drop_supernode", "finish"},
    "hypothesise": LOOKING | {"find_donors", "propose_claims", "finish"},
    "revise": LOOKING | {"make_supernode", "drop_supernode", "find_donors", "propose_claims", "finish"},
}
"""Tools of each step: labels and supernodes are fixed while claims about them are made."""
