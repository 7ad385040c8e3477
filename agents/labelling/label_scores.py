"""Test proposed labels on sentences that the labeller never saw, and send poor ones back once.

Scores and counter-examples come from the part `score` of the test half. A label that replaces another is compared with it
on the part `rescore`, which neither was made from; the better one stays. See `unseen` for the parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracescribe.agents.agent import LabelJudge, PoorLabel
from tracescribe.agents.findings import DetectionScore, FeatureLabel, JudgedScore
from tracescribe.agents.labelling.label_judging import (
    METHODS,
    PREDICATE,
    Answers,
    JudgeJob,
    answer_by_predicate,
    answers_of_model,
    deciding,
    first_of_each,
    is_poor,
    judged_score,
    mean_accuracy,
)
from tracescribe.agents.labelling.label_test_settings import LabelTestSettings
from tracescribe.agents.labelling.label_tests import score_predicate
from tracescribe.agents.labelling.label_windows import Window, as_text, draw_windows
from tracescribe.agents.labelling.unseen import Part
from tracescribe.agents.report import StepFailure
from tracescribe.agents.testing.experiment_settings import ExperimentSettings
from tracescribe.tracer.errors import BudgetExceededError, EvidenceError, WorkError
from tracescribe.tracer.graph import FeatureRef
from tracescribe.tracer.redaction import current_redactor

if TYPE_CHECKING:
    from tracescribe.agents.agent import Proposer
    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.agents.labelling.corpus_facts import CorpusFacts
    from tracescribe.agents.survey import Survey

STEP = "test_labels"


@dataclass(frozen=True)
class TestedLabels:
    """Labels after their tests.

    Attributes:
        labels: one for each label given, in their order, with scores where there is evidence for them.
        failures: what went wrong on the way.
        cut_short: why the tests ended early (a budget is used up); None where they did not.
    """

    labels: tuple[FeatureLabel, ...]
    failures: tuple[StepFailure, ...] = ()
    cut_short: str | None = None


def test_labels(
    tools: CaseTools,
    survey: Survey,
    proposer: Proposer,
    labels: Sequence[FeatureLabel],
    settings: ExperimentSettings,
    judging: LabelTestSettings | None = None,
) -> TestedLabels:
    """Score labels by predicate, by detection and by fuzzing; send poor ones back once, and keep the better of the two.

    A budget that runs out ends the tests, never the labels: those without a score stay as they were.

    Args:
        settings: of every test.
        judging: of detection and fuzzing; None for the defaults.
    """
    corpus = tools.corpus
    if corpus is None or not labels:
        return TestedLabels(tuple(labels))
    bench = _Bench(tools, corpus, proposer.label_judge(), settings, judging or LabelTestSettings())
    tested = bench.test([label.model_copy(update={"judged": (), "score": None}) for label in labels], "score")
    if tested.cut_short is None:
        return bench.relabel(survey, proposer, tested)
    return TestedLabels(tuple(one.label for one in tested.items), tested.failures, tested.cut_short)


@dataclass(frozen=True)
class _Tested:
    """A label with its scores, and the contexts and answers that they rest on, by judge and method."""

    label: FeatureLabel
    answered: tuple[tuple[JudgedScore, tuple[Window, ...], Answers], ...] = ()


@dataclass(frozen=True)
class _Batch:
    items: tuple[_Tested, ...]
    failures: tuple[StepFailure, ...] = ()
    cut_short: str | None = None


@dataclass(frozen=True, eq=False)
class _Bench:
    """Where labels are tested: everything that the tests of one case need."""

    tools: CaseTools
    corpus: CorpusFacts
    judge: LabelJudge | None
    settings: ExperimentSettings
    judging: LabelTestSettings

    def test(self, labels: Sequence[FeatureLabel], part: Part) -> _Batch:
        """Score labels on one part of the test half, by every judge there is."""
        drawn = [self.windows(_ref(label), part) for label in labels]
        failures: list[StepFailure] = []
        jobs = [
            JudgeJob(label, method, first_of_each(windows, self.judging.model_contexts))
            for label, windows in zip(labels, drawn, strict=True)
            for method in METHODS
            if windows
        ]
        said: dict[tuple[FeatureRef, str], tuple[JudgeJob, Answers]] = {}
        cut_short = None
        if self.judge is not None and jobs:
            answers = answers_of_model(self.tools, self.judge, jobs, self.corpus.store)
            cut_short = answers.cut_short
            for job, given in zip(jobs, answers.answers, strict=True):
                if given is not None:
                    said[_ref(job.label), job.method] = job, given
                    failures += _unanswered(job, given)
        items = []
        for label, windows in zip(labels, drawn, strict=True):
            answered = []
            for method in METHODS if windows else ():
                if label.predicate is not None:
                    job = JudgeJob(label, method, windows)
                    answered += self._counted(job, PREDICATE, answer_by_predicate(self.corpus, label.predicate, job))
                if self.judge is not None and (_ref(label), method) in said:
                    job, given = said[_ref(label), method]
                    answered += self._counted(job, self.judge.name, given)
            scores = {"score": self._predicate_score(label, part), "judged": tuple(score for score, _, _ in answered)}
            items.append(_Tested(label.model_copy(update=scores), tuple(answered)))
        return _Batch(tuple(items), tuple(failures), cut_short)

    def windows(self, ref: FeatureRef, part: Part) -> tuple[Window, ...]:
        """The contexts of a feature in one part; none where it is too rare."""
        rng = self.tools.rng("label contexts", part, str(ref))
        return draw_windows(self.corpus, ref, part, self.judging, self.settings.min_positive, rng)

    def _counted(
        self, job: JudgeJob, judge: str, answers: Answers
    ) -> list[tuple[JudgedScore, tuple[Window, ...], Answers]]:
        rng = self.tools.rng("label interval", job.method, judge, str(_ref(job.label)))
        score = judged_score(job, judge, answers, rng, self.settings.n_bootstrap)
        return [] if score is None else [(score, job.windows, answers)]

    def _predicate_score(self, label: FeatureLabel, part: Part) -> DetectionScore | None:
        """By token; None where there is too little evidence, which is not a score of 0."""
        if label.predicate is None:
            return None
        ref = _ref(label)
        rng = self.tools.rng("label score", *(() if part == "score" else (part,)), str(ref))
        try:
            return score_predicate(self.corpus, ref, label.predicate, part, self.settings, rng)
        except EvidenceError:
            return None

    def relabel(self, survey: Survey, proposer: Proposer, tested: _Batch) -> TestedLabels:
        """Send the poor labels back with their counter-examples; of each and its successor, keep the better one."""
        given = tuple(one.label for one in tested.items)
        failures = list(tested.failures)
        poor = self._poor(tested.items)
        if not poor:
            return TestedLabels(given, tested.failures)
        try:
            proposal = proposer.relabel(self.tools, survey, poor)
        except BudgetExceededError as error:
            return TestedLabels(given, tested.failures, str(error))
        except WorkError as error:
            told = current_redactor().text(f"poor labels were not made again: {error}")
            failures.append(StepFailure(step=STEP, error=told))
            return TestedLabels(given, tuple(failures))
        failures += proposal.failures
        old = {_ref(one.label): one.label for one in poor}
        new = {
            _ref(label): label for label in proposal.items if _ref(label) in old and _differ(label, old[_ref(label)])
        }
        again = [label.model_copy(update={"judged": (), "score": None}) for label in new.values()]
        before = self.test([old[ref] for ref in new], "rescore")
        after = _Batch(()) if before.cut_short is not None else self.test(again, "rescore")
        failures += [*before.failures, *after.failures]
        better: dict[FeatureRef, FeatureLabel] = {}
        for was, now in zip(before.items, after.items, strict=False):
            if after.cut_short is None and _is_better(now.label, was.label):
                replaced = old[_ref(was.label)]
                update = {"earlier": (*replaced.earlier, replaced.text), "here": now.label.here or replaced.here}
                better[_ref(was.label)] = now.label.model_copy(update=update)
        labels = tuple(better.get(_ref(label), label) for label in given)
        return TestedLabels(labels, tuple(failures), before.cut_short or after.cut_short)

    def _poor(self, items: Sequence[_Tested]) -> tuple[PoorLabel, ...]:
        """The poor labels that there are fresh contexts for, with the contexts that they were wrong on."""
        found: list[PoorLabel] = []
        for one in items:
            if not is_poor(one.label.judged, self.judging.poor_high, self.judging.poor_mean):
                continue
            if len(found) < self.judging.max_relabelled and self.windows(_ref(one.label), "rescore"):
                found.append(self._counterexamples(one))
        return tuple(found)

    def _counterexamples(self, one: _Tested) -> PoorLabel:
        """What a label was wrong on: contexts told wrong in detection first, then marks told wrong in fuzzing."""
        chosen = deciding(one.label.judged)
        fires = self.corpus.store.dense(_ref(one.label)) > 0
        missed: dict[int, str] = {}
        false: dict[int, str] = {}
        for score, windows, answers in one.answered:
            if score not in chosen:
                continue
            for window, answer in zip(windows, answers, strict=True):
                wrong = missed if window.kind == "positive" else false
                if answer is None or answer == (window.kind == "positive"):
                    continue
                if len(wrong) < self.judging.n_counterexamples:
                    text = as_text(self.corpus.store, window.at, window.at[fires[window.at]])
                    wrong.setdefault(window.sentence, text)
        return PoorLabel(
            label=one.label,
            missed=tuple(missed.values()),
            false_alarms=tuple(false.values()),
            missed_ids=tuple(f"s{sentence}" for sentence in missed),
            false_alarm_ids=tuple(f"s{sentence}" for sentence in false),
        )


def _ref(label: FeatureLabel) -> FeatureRef:
    return FeatureRef(label.layer, label.feature)


def _differ(label: FeatureLabel, other: FeatureLabel) -> bool:
    return (label.text, label.predicate, label.reads) != (other.text, other.predicate, other.reads)


def _is_better(new: FeatureLabel, old: FeatureLabel) -> bool:
    """Whether a label scores better than another on the same contexts, by the same judge and methods."""
    if [(s.judge, s.method) for s in deciding(new.judged)] != [(s.judge, s.method) for s in deciding(old.judged)]:
        return False
    found, known = mean_accuracy(new.judged), mean_accuracy(old.judged)
    return found is not None and known is not None and found > known


def _unanswered(job: JudgeJob, answers: Answers) -> list[StepFailure]:
    n_failed = sum(answer is None for answer in answers)
    if not n_failed:
        return []
    told = f"feature {_ref(job.label)}: {n_failed} of {len(answers)} contexts were not judged ({job.method})"
    return [StepFailure(step=STEP, error=told)]
