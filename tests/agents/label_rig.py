"""What the tests of judged labels share: features with contexts, planted features, proposers and judges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from tests.agents.fake_server import FakeServer, Question, Reply, Script, good, serving
from tests.agents.fake_thinker import data_of
from tracescribe.agents.agent import LabelJudge, PoorLabel, Proposal
from tracescribe.agents.calls.call_log import MemoryCallLog
from tracescribe.agents.case_tools import CaseTools
from tracescribe.agents.claims import Predicate
from tracescribe.agents.findings import FeatureLabel, JudgedScore
from tracescribe.agents.labelling import label_scores
from tracescribe.agents.labelling.corpus_facts import CorpusFacts
from tracescribe.agents.labelling.label_judging import (
    Answers,
    JudgeJob,
    Method,
    first_of_each,
    judged_score,
)
from tracescribe.agents.labelling.label_test_settings import LabelTestSettings
from tracescribe.agents.labelling.label_windows import Window, draw_windows
from tracescribe.agents.labelling.labels import LabelSettings, label_feature
from tracescribe.agents.labelling.predicates import holds_at
from tracescribe.agents.llm.label_judge import LlmLabelJudge
from tracescribe.agents.llm.session import LlmSession
from tracescribe.agents.offline import OfflineProposer
from tracescribe.agents.providers.settings import ProviderSettings, make_client
from tracescribe.agents.survey import Survey, make_survey
from tracescribe.agents.testing.experiment_settings import ExperimentSettings
from tracescribe.tracer.graph import FeatureRef

SETTINGS, N_BOOTSTRAP = LabelTestSettings(), 500


def features(corpus: CorpusFacts, n: int = 40) -> Iterator[tuple[FeatureRef, tuple[Window, ...]]]:
    """Features of the middle layers with windows enough to be judged."""
    for layer in (0, 1):
        for feature in corpus.store.live(layer)[:n]:
            ref = FeatureRef(layer, int(feature))
            windows = draw_windows(corpus, ref, "score", SETTINGS, 3, np.random.default_rng(feature))
            if windows:
                yield ref, windows


def label(ref: FeatureRef, predicate: Predicate | None = None, text: str = "something") -> FeatureLabel:
    return FeatureLabel(layer=ref.layer, feature=ref.feature, text=text, predicate=predicate, proposed_by="test")


def score_of(job: JudgeJob, answers: Answers, judge: str = "test") -> JudgedScore:
    score = judged_score(job, judge, answers, np.random.default_rng(0), N_BOOTSTRAP)
    assert score is not None
    return score


def planted(corpus: CorpusFacts, predicates: Sequence[Predicate]) -> CorpusFacts:
    """The same sentences, in which feature n of the only layer fires exactly where predicate n holds."""
    store = corpus.store
    at = np.flatnonzero(store.token_counts)
    pairs = [(at[holds_at(corpus, predicate, at)], n) for n, predicate in enumerate(predicates)]
    token = np.concatenate([tokens for tokens, _ in pairs])
    feature = np.concatenate([np.full(len(tokens), n) for tokens, n in pairs])
    order = np.lexsort((feature, token))
    entries = (token[order], feature[order], np.ones(len(token), dtype=np.float32))
    return CorpusFacts(replace(store, entries=(entries,), n_features=(len(predicates),)))


@dataclass(frozen=True)
class Changing(OfflineProposer):
    """Labels with a predicate that holds nowhere, and another one when they come back."""

    again: Callable[[CaseTools, FeatureLabel], FeatureLabel | None] = lambda tools, poor: None
    judge: LabelJudge | None = None
    asked: list[tuple[PoorLabel, ...]] = field(default_factory=list)

    def label(self, tools: CaseTools, survey: Survey) -> Proposal[FeatureLabel]:
        found = super().label(tools, survey)
        wrong = Predicate(on="token", words=("nowhere",))
        return Proposal(tuple(one.model_copy(update={"predicate": wrong, "text": "wrong"}) for one in found.items))

    def label_judge(self) -> LabelJudge | None:
        return self.judge

    def relabel(self, tools: CaseTools, survey: Survey, poor: tuple[PoorLabel, ...]) -> Proposal[FeatureLabel]:
        self.asked.append(poor)
        found = [self.again(tools, one.label) for one in poor]
        return Proposal(tuple(one for one in found if one is not None))


def run(
    tools: CaseTools, proposer: OfflineProposer, settings: LabelTestSettings = SETTINGS
) -> label_scores.TestedLabels:
    survey = make_survey(tools)
    labels = proposer.label(tools, survey).items
    tested = label_scores.test_labels(tools, survey, proposer, labels, ExperimentSettings(n_bootstrap=200), settings)
    assert [(one.layer, one.feature) for one in tested.labels] == [(one.layer, one.feature) for one in labels]
    return tested


def right(tools: CaseTools, poor: FeatureLabel) -> FeatureLabel:
    return label_feature(tools, FeatureRef(poor.layer, poor.feature), LabelSettings(), "again")


class Rig:
    """A judge on a fake server."""

    def __init__(self, server: FakeServer, **given: object) -> None:
        fields: dict[str, object] = {"provider": "openai", "model": "fake-1", "base_url": server.url("openai")}
        self.settings = ProviderSettings.of(environment={}, **{**fields, "max_attempts": 1, **given})
        self.client = make_client(self.settings, {})
        self.judge, self.server = (
            LlmLabelJudge(LlmSession(self.settings, self.client, MemoryCallLog()), per_call=10),
            server,
        )


@contextmanager
def judging(script: Script) -> Iterator[Rig]:
    with serving(script) as server:
        rig = Rig(server)
        try:
            yield rig
        finally:
            rig.client.close()


def contexts(question: Question) -> list[dict[str, object]]:
    data = data_of(question)
    assert set(data) == {"label", "contexts"} and question.schema_name == "JudgementsAnswer"
    found: list[dict[str, object]] = data["contexts"]
    assert [one["number"] for one in found] == list(range(1, len(found) + 1))
    return found


def always(fires: bool) -> Script:
    return lambda question: good({"fires": [fires] * len(contexts(question))})


def by_word(word: str) -> Script:
    """A perfect reader of a label that names one word: in detection it stands there, in fuzzing it is what is marked."""

    def script(question: Question) -> Reply:
        fuzzing = "marked" in question.system
        texts = [str(one["text"]).split() for one in contexts(question)]
        if fuzzing:
            marked = [[token for token in text if token.startswith("<<")] for text in texts]
            return good({"fires": [set(tokens) == {f"<<{word}>>"} for tokens in marked]})
        return good({"fires": [word in text for text in texts]})

    return script


def asked(tools: CaseTools, rig: Rig, corpus: CorpusFacts, method: Method) -> tuple[JudgeJob, Answers]:
    """Judgements of a feature that fires on one word, wherever it stands, by a label that says so."""
    exact = planted(corpus, [Predicate(on="token", words=("capital",)), Predicate(on="token", words=("city",))])
    windows = draw_windows(exact, FeatureRef(0, 0), "score", SETTINGS, 3, np.random.default_rng(0))
    job = JudgeJob(label(FeatureRef(0, 0), text="capital"), method, first_of_each(windows, 24))
    return job, rig.judge.judge(tools, job.label, method, job.tasks(corpus.store))
