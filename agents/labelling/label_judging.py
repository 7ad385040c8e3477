"""Detection and fuzzing: do a label's words tell which unseen contexts its feature fires in, and on which tokens?

Two judges answer. Code asks the label's predicate; a language model, where the agent has one, reads the label's words and
nothing else. Both see the same contexts (the model the first of them), and neither is told which are which. What no usable
answer came for is counted apart and is never taken for a wrong answer.

Source: Delphi (arXiv 2410.13928).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np

from tracescribe.agents.agent import JudgeTask, LabelJudge
from tracescribe.agents.claims import Predicate
from tracescribe.agents.findings import FeatureLabel, Interval, JudgedScore
from tracescribe.agents.labelling.label_windows import Kind, Window, as_text
from tracescribe.agents.labelling.predicates import holds_at
from tracescribe.agents.testing.resampling import balanced_interval
from tracescribe.tracer.errors import BudgetExceededError, WorkError

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.agents.labelling.corpus_facts import CorpusFacts
    from tracescribe.tracer.evidence_store import EvidenceStore

Method = Literal["detection", "fuzzing"]
METHODS: tuple[Method, ...] = ("detection", "fuzzing")
Answers = tuple[bool | None, ...]
"""One for each context; None where no usable answer came."""
PREDICATE = "predicate"
"""Name of the judge that is code."""


@dataclass(frozen=True, eq=False)
class JudgeJob:
    """One label and one method.

    Attributes:
        label: whose words are judged.
        windows: what they are judged on.
    """

    label: FeatureLabel
    method: Method
    windows: tuple[Window, ...]

    def tasks(self, store: EvidenceStore) -> tuple[JudgeTask, ...]:
        """The contexts as text; for fuzzing with marks."""
        return tuple(
            JudgeTask(as_text(store, w.at, w.marked if self.method == "fuzzing" else ())) for w in self.windows
        )


@runtime_checkable
class ManyLabelsJudge(Protocol):
    """A judge that takes the questions of many labels at once, so that they need not wait for each other."""

    def judge_all(
        self, tools: CaseTools, jobs: Sequence[tuple[FeatureLabel, Method, Sequence[JudgeTask]]]
    ) -> tuple[Answers | BudgetExceededError, ...]:
        """The answers to each job; the error where the budget ended before its last question."""
        ...


def answer_by_predicate(corpus: CorpusFacts, predicate: Predicate, job: JudgeJob) -> Answers:
    """What the predicate says: of a context, whether it holds anywhere in it; of marks, whether it holds on each of them.

    A mark is right only if every marked token is, as in Delphi's fuzzing.
    """
    asked = [w.at if job.method == "detection" else w.marked for w in job.windows]
    place = np.repeat(np.arange(len(asked)), [len(at) for at in asked])
    met = holds_at(corpus, predicate, np.concatenate(asked) if asked else np.zeros(0, dtype=np.int64))
    hits, sizes = np.bincount(place[met], minlength=len(asked)), np.bincount(place, minlength=len(asked))
    told = hits > 0 if job.method == "detection" else (hits == sizes) & (sizes > 0)
    return tuple(bool(answer) for answer in told)


@dataclass(frozen=True)
class ModelAnswers:
    """What a language model said on many jobs.

    Attributes:
        answers: of each job; None where it was not asked.
        cut_short: why the rest was not asked; None where all was.
    """

    answers: tuple[Answers | None, ...]
    cut_short: str | None = None


def answers_of_model(
    tools: CaseTools, judge: LabelJudge, jobs: Sequence[JudgeJob], store: EvidenceStore
) -> ModelAnswers:
    """Ask a model on many jobs. A job that fails for another reason than the budget has no usable answers."""
    asked: list[tuple[FeatureLabel, Method, Sequence[JudgeTask]]] = [
        (job.label, job.method, job.tasks(store)) for job in jobs
    ]
    found: list[Answers | None] = []
    cut_short: str | None = None
    if isinstance(judge, ManyLabelsJudge):
        for answers in judge.judge_all(tools, asked):
            if isinstance(answers, BudgetExceededError):
                cut_short = cut_short or str(answers)
                found.append(None)
            else:
                found.append(answers)
        return ModelAnswers(tuple(found), cut_short)
    for label, method, tasks in asked:
        if cut_short is not None:
            found.append(None)
            continue
        try:
            found.append(judge.judge(tools, label, method, tasks))
        except BudgetExceededError as error:
            cut_short = str(error)
            found.append(None)
        except WorkError:
            found.append((None,) * len(tasks))
    return ModelAnswers(tuple(found), cut_short)


def judged_score(
    job: JudgeJob, judge: str, answers: Answers, rng: np.random.Generator, n_bootstrap: int
) -> JudgedScore | None:
    """Count the answers; None where no positive or no negative was judged."""
    if len(answers) != len(job.windows):
        answers = (None,) * len(job.windows)  # answers that cannot be told apart are no answers
    judged: dict[Kind, int] = {"positive": 0, "random": 0, "near_miss": 0}
    right: dict[Kind, int] = dict(judged)
    for window, answer in zip(job.windows, answers, strict=True):
        if answer is not None:
            judged[window.kind] += 1
            right[window.kind] += answer == (window.kind == "positive")
    negatives, right_negatives = judged["random"] + judged["near_miss"], right["random"] + right["near_miss"]
    if not judged["positive"] or not negatives:
        return None
    bounds = balanced_interval((right["positive"], right_negatives), (judged["positive"], negatives), rng, n_bootstrap)
    return JudgedScore(
        method=job.method,
        judge=judge,
        balanced_accuracy=(right["positive"] / judged["positive"] + right_negatives / negatives) / 2.0,
        interval=Interval(low=bounds.low, high=bounds.high, method="bootstrap over contexts"),
        n_positive=judged["positive"],
        n_random=judged["random"],
        n_near_miss=judged["near_miss"],
        right_positive=right["positive"],
        right_random=right["random"],
        right_near_miss=right["near_miss"],
        n_failed=sum(answer is None for answer in answers),
    )


def first_of_each(windows: Sequence[Window], n: int) -> tuple[Window, ...]:
    """The first positives and the first negatives, `n // 2` of each; half of the negatives near misses where there are."""
    half = n // 2
    positive = [w for w in windows if w.kind == "positive"][:half]
    near = [w for w in windows if w.kind == "near_miss"][: half - half // 2]
    random = [w for w in windows if w.kind == "random"][: half - len(near)]
    return (*positive, *near, *random)


def deciding(scores: Sequence[JudgedScore]) -> tuple[JudgedScore, ...]:
    """The scores that a label is judged by: the language model's where there are any, else the predicate's."""
    of_model = tuple(score for score in scores if score.judge != PREDICATE)
    return of_model or tuple(scores)


def mean_accuracy(scores: Sequence[JudgedScore]) -> float | None:
    """Mean balanced accuracy over the methods of the judge that decides; None without scores."""
    values = [score.balanced_accuracy for score in deciding(scores)]
    return sum(values) / len(values) if values else None


def is_poor(scores: Sequence[JudgedScore], high: float, mean: float) -> bool:
    """Whether detection or fuzzing by the judge that decides is poor: its interval ends below `high`, or it is below `mean`.

    Either method is enough: a label that tells the right texts by their topic, and not the words, fails fuzzing alone.
    """
    return any(score.interval.high < high or score.balanced_accuracy < mean for score in deciding(scores))
