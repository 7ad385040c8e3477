"""A language model as judge of names: is this name of a group as right as those that people accept?

Nobody has to believe it. Before it judges anything it judges the calibration set, pairs of names with known verdicts, and
how far it agrees with them (share of equal verdicts, Cohen's kappa) stands beside every score that it gives. The set that
ships was written by the authors of this product; who has verdicts of independent raters gives a file of them. A judge that
gave too few usable answers there is refused: without calibration there is no score.

Each pair is asked by itself, so that a verdict does not depend on what else is judged. Names are data inside fences. Every
call goes through the call log; a question that was asked before is answered from there.

Source: Cohen 1960 (kappa); Wilson 1927 (interval of a share).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tracescribe.evals.gold import CANARY
from tracescribe.evals.scorers.label_similarity import NamedPair
from tracescribe.tracer.errors import BudgetExceededError, GoldFormatError, WorkError

if TYPE_CHECKING:
    from tracescribe.agents.budget import Meter
    from tracescribe.agents.llm.session import LlmSession

TEMPLATE = "judge_gold_label"
CALIBRATION_FILE = "label_calibration.json"
MIN_USABLE = 0.9
"""Share of the calibration pairs that a judge must give a usable answer on; else its agreement tells of other pairs."""
MAX_NAME_CHARS = 300
"""Longer names are cut before they are judged: a name is not an essay."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NameJudgementAnswer(_Frozen):
    """The answer to one question: why, and whether the name is right."""

    reason: str
    right: bool


class CalibrationPair(_Frozen):
    """A name that people held against accepted names.

    Attributes:
        right: what people decided.
        reason: why, in words; the judge never sees it.
    """

    prompt: str
    accepted: tuple[str, ...] = Field(min_length=1)
    given: str
    right: bool
    reason: str = Field(min_length=1)

    @property
    def pair(self) -> NamedPair:
        """What a judge sees."""
        return NamedPair(self.given, self.accepted, self.prompt)


class CalibrationSet(_Frozen):
    """Pairs with verdicts of people.

    Attributes:
        origin: who wrote them and who decided.
    """

    schema_id: Literal["tracescribe-label-calibration/1"] = "tracescribe-label-calibration/1"
    canary: str = CANARY
    origin: str
    licence: str
    pairs: tuple[CalibrationPair, ...] = Field(min_length=2)


class JudgeAgreement(_Frozen):
    """How far a judge agrees with people on the calibration set.

    Attributes:
        judge: the model by the prompt that it was asked with.
        n_pairs, n_failed: pairs with a usable answer, and without.
        accuracy: share of equal verdicts, with its 95 % interval.
        kappa: Cohen's kappa: agreement beyond chance, 1 at best, 0 by chance.
        wrongly_right, wrongly_wrong: names it took for right that people call wrong, and the other way round.
    """

    judge: str
    n_pairs: int = Field(ge=0)
    n_failed: int = Field(ge=0)
    accuracy: float = Field(ge=0, le=1)
    low: float
    high: float
    kappa: float
    wrongly_right: int = Field(ge=0)
    wrongly_wrong: int = Field(ge=0)

    def told(self) -> str:
        """In one line, to stand beside a score."""
        failed = f", {self.n_failed} without an answer" if self.n_failed else ""
        return (
            f"judge {self.judge} agrees with the calibration set on {self.accuracy:.0%} ({self.low:.0%} to {self.high:.0%}) of "
            f"{self.n_pairs} pairs{failed}, kappa {self.kappa:.2f}"
        )


def load_calibration_set(path: Path | None = None) -> CalibrationSet:
    """A calibration set: the one that ships, or a file of the same layout.

    Raises:
        GoldFormatError: no such file, or it is damaged.
    """
    source = files("tracescribe.evals") / "data" / CALIBRATION_FILE if path is None else path
    try:
        text = source.read_text(encoding="utf-8")
        return CalibrationSet.model_validate(json.loads(text))
    except OSError as error:
        raise GoldFormatError(f"cannot read calibration set {source}: {error.strerror}; check the path") from error
    except (ValidationError, ValueError, RecursionError) as error:
        told = one_line(str(error))
        raise GoldFormatError(f"calibration set {source}: {told}; expected {{origin, licence, pairs}}") from None


def one_line(text: str) -> str:
    """A fault's text without line breaks, cut to what a person reads."""
    return " ".join(text.split())[:300]


def agreement_of(judge: str, truth: Sequence[bool], answers: Sequence[bool | None]) -> JudgeAgreement:
    """Hold a judge's answers against those of people.

    Raises:
        WorkError: too few usable answers.
    """
    from sklearn.metrics import cohen_kappa_score

    from tracescribe.tracer.statistics import wilson_interval

    usable = [(t, a) for t, a in zip(truth, answers, strict=True) if a is not None]
    if len(usable) < max(2, MIN_USABLE * len(truth)):
        raise WorkError(
            f"label judge {judge}: usable answers on {len(usable)} of {len(truth)} calibration pairs, at least "
            f"{MIN_USABLE:.0%} are needed; without calibration its verdicts are no scores: ask another model"
        )
    right = sum(t == a for t, a in usable)
    varied = len({t for t, _ in usable} | {a for _, a in usable}) > 1
    low, high = wilson_interval(right, len(usable))
    return JudgeAgreement(
        judge=judge,
        n_pairs=len(usable),
        n_failed=len(truth) - len(usable),
        accuracy=right / len(usable),
        low=low,
        high=high,
        kappa=float(cohen_kappa_score(*zip(*usable, strict=True))) if varied else 0.0,
        wrongly_right=sum(a and not t for t, a in usable),
        wrongly_wrong=sum(t and not a for t, a in usable),
    )


@dataclass(frozen=True, eq=False)
class LlmNameJudge:
    """Asks a language model of one name after another; no judge of scores until it was calibrated.

    Attributes:
        session: who is asked.
        meter: what the questions are charged to.
    """

    session: LlmSession
    meter: Meter

    @property
    def name(self) -> str:
        """The model by the template that it is asked with."""
        from tracescribe.prompts.library import load_prompt

        model = self.session.settings.shown_model or self.session.client.endpoint.model
        return f"{model} by {load_prompt(TEMPLATE).reference}"

    def answers(self, pairs: Sequence[NamedPair]) -> tuple[bool | None, ...]:
        """Whether each name is right; None where no usable answer came.

        Raises:
            BudgetExceededError: the budget does not allow every question.
            ProviderError: the provider refuses to be asked.
        """
        from tracescribe.agents.providers.errors import ProviderRequestError, ProviderSetupError
        from tracescribe.prompts.library import render

        if not pairs:
            return ()
        questions = [
            render(
                TEMPLATE,
                prompt=pair.prompt,
                accepted=[name[:MAX_NAME_CHARS] for name in pair.accepted],
                given=pair.given[:MAX_NAME_CHARS],
            )
            for pair in pairs
        ]
        found = self.session.ask_all(questions, NameJudgementAnswer, self.meter)
        for answer in found:
            if isinstance(answer, BudgetExceededError | ProviderRequestError | ProviderSetupError):
                raise answer
        return tuple(answer.right if isinstance(answer, NameJudgementAnswer) else None for answer in found)


@dataclass(frozen=True, eq=False)
class CalibratedJudge:
    """A judge with its agreement with people: the only kind that gives scores (see `JudgeRater`)."""

    asked: LlmNameJudge
    agreement: JudgeAgreement

    def judge(self, pairs: Sequence[NamedPair]) -> tuple[bool | None, ...]:
        """Whether each name is right; None where no usable answer came. A blank name is wrong without asking."""
        told = [pair for pair in pairs if pair.given.strip()]
        answers = iter(self.asked.answers(told))
        return tuple(next(answers) if pair.given.strip() else False for pair in pairs)


def make_label_judge(
    session: LlmSession, meter: Meter | None = None, calibration: CalibrationSet | None = None
) -> CalibratedJudge:
    """Calibrate a language model as a judge of names.

    Args:
        session: the model, with its call log and prices.
        meter: what the questions are charged to; without one nothing limits them.
        calibration: pairs that people decided; the set that ships unless told otherwise.

    Raises:
        WorkError: too few usable answers on the calibration set.
        BudgetExceededError: the budget does not allow the calibration.
        ProviderError: the provider refuses to be asked.
    """
    from tracescribe.agents.budget import Budget, Meter

    unlimited = Budget(experiments=None, forward_passes=None, seconds=None, llm_calls=None, tokens=None, usd=None)
    chosen = calibration or load_calibration_set()
    asked = LlmNameJudge(session, meter or Meter(unlimited))
    answers = asked.answers([one.pair for one in chosen.pairs])
    return CalibratedJudge(asked, agreement_of(asked.name, [one.right for one in chosen.pairs], answers))
