"""What the benchmark keeps of one agent on one gold circuit with one seed: scores, or why there are none, and the cost."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tracescribe.evals.scores import Scores

CASE_SCHEMA = "tracescribe-bench-case/2"

FailureKind = Literal["crash", "timeout", "flood", "bad answer", "dishonest cost", "agent error", "scoring"]
"""Why a case is lost.

crash: the agent's process ended without an answer. timeout: it was still at work when its time was up, and was ended.
flood: it wrote more than anybody reads. bad answer: what it answered is no answer. dishonest cost: it told a cost that
cannot be. agent error: it raised an error that says why. scoring: its report cannot be held against gold.
"""
FAILURE_KINDS: tuple[FailureKind, ...] = (
    "crash",
    "timeout",
    "flood",
    "bad answer",
    "dishonest cost",
    "agent error",
    "scoring",
)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CaseFailure(_Frozen):
    """Why a case has no scores.

    Attributes:
        message: one line; text of the agent in it is untrusted.
    """

    kind: FailureKind
    message: str


class CaseCost(_Frozen):
    """What a case took.

    Attributes:
        seconds: wall-clock time of the interpretation as the benchmark measured it, scoring not included.
        llm_calls, tokens: as our meter counted them.
        usd: money as our meter counted it; None where no price is known.
        told_seconds, told_llm_calls, told_tokens, told_usd: as an agent from outside told them; None where it told none.
    """

    seconds: float = Field(ge=0)
    llm_calls: int = Field(default=0, ge=0)
    tokens: int = Field(default=0, ge=0)
    usd: float | None = Field(default=None, ge=0)
    told_seconds: float | None = None
    told_llm_calls: int | None = None
    told_tokens: int | None = None
    told_usd: float | None = None


class CaseResult(_Frozen):
    """How one agent did on one gold circuit with one seed.

    Attributes:
        suite: the name of the suite that the circuit was run in.
        family, tags: of the circuit; tables break down by them.
        specification: hash of everything that decides the result; a result with another one is not reused.
        status: `scored`, or `failed` with a `failure`; a failed case has no scores and enters no average.
        scores: every metric of this product by name.
        control: the same answer scored against shuffled gold: what chance gives; None where the case has none.
        verdicts: number of claims by outcome.
        confusion: outcome -> truth (`true`, `false`, `unknown`) -> number of claims, of those that gold can speak about.
        unmeasured: why the scores that run the model are missing although they were asked for; None where they are not.
        cut_short: the budget that ended the work early; None where none did.
        report: the report's JSON, relative to the run's folder; None where there is none.
    """

    schema_id: Literal["tracescribe-bench-case/2"] = "tracescribe-bench-case/2"
    agent: str
    suite: str
    gold_id: str
    family: str
    tags: tuple[str, ...] = ()
    seed: int = Field(default=0, ge=0)
    specification: str
    status: Literal["scored", "failed"]
    failure: CaseFailure | None = None
    scores: Scores | None = None
    control: Scores | None = None
    verdicts: dict[str, int] = Field(default_factory=dict)
    confusion: dict[str, dict[str, int]] = Field(default_factory=dict)
    cost: CaseCost
    unmeasured: str | None = None
    cut_short: str | None = None
    report: str | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        """Suite, gold id and seed: what two agents are paired by."""
        return self.suite, self.gold_id, self.seed
