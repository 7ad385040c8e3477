"""What an agent from outside may say: a question before its answer, or its answer. Limits are checked on every line."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from tracescribe.agents.external.strict_json import shown
from tracescribe.agents.findings import Role
from tracescribe.agents.llm.answers import (
    MAX_DONOR_CHARS,
    AnswerPart,
    HereText,
    LabelText,
    OneShotClaimAnswer,
    PredicateAnswer,
)

SCHEMA_ID: Final = "tracescribe-external/1"
"""Of the case, of every question, and of the answer."""
MAX_ID_CHARS = 80
"""Ids of published graphs are under 30 characters long."""
MAX_SUPERNODES = 2000
MAX_LABELS = 5000
MAX_EDGES = 20_000
MAX_CLAIMS = 200
"""Claims of one answer; how many of them are tested is told in the case."""
MAX_EDITS = 2000
MAX_ROWS = 256
"""Interventions of one question."""
MAX_PROMPTS = 64
"""Texts of one question."""

NodeId = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARS)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class ExternalSupernode(AnswerPart):
    """Features that play one role; `id` is of the answer's own choice, for its claims and edges."""

    id: NodeId
    label: LabelText
    role: Role = "other"
    members: list[NodeId] = Field(min_length=1)


class ExternalLabel(AnswerPart):
    """A label of one feature, named by a node id of the case or as `layer/feature`."""

    feature: NodeId
    text: LabelText
    reads: Literal["input", "output"] = "input"
    here: HereText = ""
    predicate: PredicateAnswer | None = None


class ToldCost(AnswerPart):
    """What an agent says that it spent; what it leaves out is not known. Checked by `told_cost`, not here.

    Attributes:
        seconds: from its start to its answer, by its own clock.
        llm_calls, tokens, usd: of language models, tokens read and written together.
    """

    seconds: Number | None = None
    llm_calls: int | None = None
    tokens: int | None = None
    usd: Number | None = None


class ExternalAnswer(AnswerPart):
    """A whole interpretation.

    Attributes:
        supernodes: disjoint; a feature that stands in two counts for the first.
        scores: how much nodes matter, larger is more; None ranks by influence.
        edges: pairs of supernode ids of the answer, or node ids of tokens and outputs; None tells every edge of the graph.
        labels: of features.
        claims: about the supernodes; `templates` leaves them to the templates that baselines use.
        cost: what the agent says that it spent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_id: Literal["tracescribe-external/1"] = Field(default=SCHEMA_ID, alias="schema")
    supernodes: list[ExternalSupernode] = Field(default_factory=list, max_length=MAX_SUPERNODES)
    scores: dict[NodeId, Number] | None = None
    edges: list[tuple[NodeId, NodeId]] | None = Field(default=None, max_length=MAX_EDGES)
    labels: list[ExternalLabel] = Field(default_factory=list, max_length=MAX_LABELS)
    claims: list[OneShotClaimAnswer] | Literal["templates"] = Field(default_factory=list, max_length=MAX_CLAIMS)
    cost: ToldCost | None = None


class LookUp(AnswerPart):
    """What the corpus scan says of one feature, named by a node id or as `layer/feature`."""

    act: Literal["evidence"]
    feature: NodeId


class Predict(AnswerPart):
    """What the studied model says after some texts; costs a forward pass each."""

    act: Literal["predict"]
    prompts: list[Annotated[str, Field(min_length=1, max_length=MAX_DONOR_CHARS)]] = Field(
        min_length=1, max_length=MAX_PROMPTS
    )


class FeatureSetting(AnswerPart):
    """One feature's activation multiplied: 0 switches it off, 1 changes nothing."""

    node: NodeId
    multiplier: Annotated[float, Field(ge=-10, le=10, allow_inf_nan=False)]


class Intervene(AnswerPart):
    """What the studied model says when features are set, each row by itself; costs a forward pass a row."""

    act: Literal["intervene"]
    rows: list[Annotated[list[FeatureSetting], Field(min_length=1, max_length=MAX_EDITS)]] = Field(
        min_length=1, max_length=MAX_ROWS
    )


Act = Annotated[LookUp | Predict | Intervene, Field(discriminator="act")]


class Question(AnswerPart):
    """A question before the answer."""

    ask: Act


_QUESTION: TypeAdapter[Question] = TypeAdapter(Question)
_ANSWER: TypeAdapter[ExternalAnswer] = TypeAdapter(ExternalAnswer)


def read_line(document: dict[str, Any]) -> Question | ExternalAnswer:
    """A question where there is the key `ask`, else the answer.

    Raises:
        ValueError: it is neither; the message lists the first faults, in one line.
    """
    kind: TypeAdapter[Question] | TypeAdapter[ExternalAnswer] = _QUESTION if "ask" in document else _ANSWER
    try:
        return kind.validate_python(document, strict=False)
    except ValidationError as error:
        raise ValueError(_faults(error)) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _faults(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    told = [f"{shown('.'.join(map(str, one['loc'])), 80) or 'answer'}: {shown(one['msg'])}" for one in found[:5]]
    more = [f"and {len(found) - 5} more faults"] if len(found) > 5 else []
    return "; ".join([*told, *more])
