"""A language model that judges labels by their words: it sees a label and contexts, and nothing about the feature.

Contexts come in an order drawn at random, so that their place tells nothing, a few in each question. An answer that cannot
be used, after its repairs, leaves its contexts unjudged; it never counts as a wrong judgement.

Source: the question as in Delphi (arXiv 2410.13928); its answers that cannot be read drop out unseen, here they are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, create_model

from tracescribe.agents.agent import JudgeTask
from tracescribe.agents.findings import FeatureLabel
from tracescribe.agents.labelling.label_judging import Answers, Method
from tracescribe.agents.labelling.label_test_settings import LabelTestSettings
from tracescribe.agents.llm.session import LlmSession
from tracescribe.prompts.library import load_prompt, render
from tracescribe.prompts.template import RenderedPrompt
from tracescribe.tracer.errors import BudgetExceededError, WorkError

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools

JUDGE_TEMPLATES: dict[Method, str] = {"detection": "detect_feature", "fuzzing": "fuzz_feature"}
"""Template of each method."""
Job = tuple[FeatureLabel, Method, Sequence[JudgeTask]]
"""A label, how it is judged, and on what."""


class JudgementsAnswer(BaseModel):
    """One boolean for each context, in the order of their numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fires: list[bool]


@cache
def judgements_of(n_contexts: int) -> type[JudgementsAnswer]:
    """The answer to a question on so many contexts; any other number of booleans is repaired, then a failure."""
    exactly = Annotated[list[bool], Field(min_length=n_contexts, max_length=n_contexts)]
    return create_model(JudgementsAnswer.__name__, __base__=JudgementsAnswer, fires=(exactly, ...))


@dataclass(frozen=True, eq=False)
class LlmLabelJudge:
    """A `LabelJudge` that asks a language model.

    Attributes:
        session: who is asked.
        per_call: contexts in one question.
    """

    session: LlmSession
    per_call: int = LabelTestSettings.per_call

    @property
    def name(self) -> str:
        """The model by the templates that it is asked with."""
        templates = ", ".join(load_prompt(name).reference for name in JUDGE_TEMPLATES.values())
        return f"{self.session.settings.shown_model or self.session.client.endpoint.model} by {templates}"

    def judge(self, tools: CaseTools, label: FeatureLabel, method: Method, tasks: Sequence[JudgeTask]) -> Answers:
        """One answer for each task; None where no usable one came.

        Raises:
            BudgetExceededError: a limit is reached.
        """
        (answers,) = self.judge_all(tools, [(label, method, tasks)])
        if isinstance(answers, BudgetExceededError):
            raise answers
        return answers

    def judge_all(self, tools: CaseTools, jobs: Sequence[Job]) -> tuple[Answers | BudgetExceededError, ...]:
        """The answers to many jobs, whose questions go out together; the error for a job that the budget ended."""
        questions: list[tuple[int, tuple[int, ...], RenderedPrompt]] = []
        for number, (label, method, tasks) in enumerate(jobs):
            order = [
                int(i)
                for i in tools.rng("judge order", method, str(label.layer), str(label.feature)).permutation(len(tasks))
            ]
            for start in range(0, len(order), self.per_call):
                asked = tuple(order[start : start + self.per_call])
                questions.append((number, asked, _question(label, method, [tasks[i] for i in asked])))
        found: list[list[bool | None]] = [[None] * len(tasks) for _, _, tasks in jobs]
        unanswered: set[int] = set()
        spent: BudgetExceededError | None = None
        for (number, asked, _), answer in zip(questions, self._ask(tools, questions), strict=True):
            if isinstance(answer, WorkError):
                unanswered.add(number)
                if isinstance(answer, BudgetExceededError):
                    spent = spent or answer
                continue
            for place, fires in zip(asked, answer.fires, strict=True):
                found[number][place] = fires
        # once the budget is used up, what is missing may be missing for that reason: such a job has no score at all
        return tuple(
            spent if spent is not None and number in unanswered else tuple(answers)
            for number, answers in enumerate(found)
        )

    def _ask(
        self, tools: CaseTools, questions: Sequence[tuple[int, tuple[int, ...], RenderedPrompt]]
    ) -> list[JudgementsAnswer | WorkError]:
        """Answers in the order of the questions; those on equally many contexts are asked together."""
        answers: dict[int, JudgementsAnswer | WorkError] = {}
        for size in sorted({len(asked) for _, asked, _ in questions}, reverse=True):
            places = [place for place, (_, asked, _) in enumerate(questions) if len(asked) == size]
            given = self.session.ask_all([questions[p][2] for p in places], judgements_of(size), tools.meter)
            answers.update(zip(places, given, strict=True))
        return [answers[place] for place in range(len(questions))]


def _question(label: FeatureLabel, method: Method, tasks: Sequence[JudgeTask]) -> RenderedPrompt:
    return render(
        JUDGE_TEMPLATES[method],
        n_contexts=len(tasks),
        label={"label": label.text, "reads": label.reads},
        contexts=[{"number": number, "text": task.text} for number, task in enumerate(tasks, start=1)],
    )
