"""Detection and fuzzing: laws of the contexts and of the counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from tests.agents.conftest import DALLAS
from tests.agents.label_rig import (
    N_BOOTSTRAP,
    SETTINGS,
    features,
    label,
    planted,
    score_of,
)
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.case_tools import CaseTools
from tracescribe.agents.claims import Predicate
from tracescribe.agents.findings import JudgedScore
from tracescribe.agents.labelling.corpus_facts import CorpusFacts
from tracescribe.agents.labelling.label_judging import (
    METHODS,
    PREDICATE,
    JudgeJob,
    Method,
    answer_by_predicate,
    deciding,
    first_of_each,
    is_poor,
    judged_score,
)
from tracescribe.agents.labelling.label_test_settings import LabelTestSettings
from tracescribe.agents.labelling.label_windows import as_text, draw_windows
from tracescribe.agents.labelling.labels import LabelSettings, label_feature
from tracescribe.agents.toolbox import Toolbox
from tracescribe.tracer.errors import SettingError
from tracescribe.tracer.graph import FeatureRef


@pytest.fixture(scope="module")
def corpus(embedded_toolbox: Toolbox) -> CorpusFacts:
    assert embedded_toolbox.corpus is not None
    return embedded_toolbox.corpus


@pytest.fixture
def tools(embedded_toolbox: Toolbox) -> CaseTools:
    return embedded_toolbox.open(InterpretationCase("x", prompt=DALLAS), Budget())


# -- contexts ----------------------------------------------------------------------------------------------------------


def test_the_feature_fires_in_positives_and_in_no_negative(corpus: CorpusFacts) -> None:
    """Near misses among them: there, one of the nearest features fires instead, and the marks are where it does."""
    store, seen = corpus.store, 0
    for ref, windows in features(corpus):
        fires = store.dense(ref) > 0
        near = [
            store.dense(FeatureRef(ref.layer, f)) > 0 for f in corpus.firing_places(ref.layer).nearest(ref.feature, 10)
        ]
        assert len({w.sentence for w in windows}) == len(windows)
        for window in windows:
            whole = np.arange(store.span(window.sentence).start, store.span(window.sentence).stop)
            assert set(window.at) <= set(whole) and set(window.marked) <= set(window.at) and len(window.marked)
            if window.kind == "positive":
                assert fires[window.marked].all()
                continue
            assert not fires[whole].any()
            if window.kind == "near_miss":
                seen += 1
                assert np.any([other[window.marked] for other in near])
    assert seen > 300


def test_as_many_tokens_are_marked_wrongly_as_rightly(corpus: CorpusFacts) -> None:
    for _, windows in features(corpus, 20):
        right = np.mean([len(w.marked) for w in windows if w.kind == "positive"])
        wrong = {len(w.marked) for w in windows if w.kind != "positive" and len(w.at) >= right}
        assert wrong == {int(np.ceil(right))}


def test_positives_and_negatives_are_balanced_as_set(corpus: CorpusFacts) -> None:
    settings = LabelTestSettings(n_positive=5, n_random=4, n_near_miss=3)
    for ref, _ in features(corpus, 10):
        windows = draw_windows(corpus, ref, "score", settings, 3, np.random.default_rng(0))
        kinds = [w.kind for w in windows]
        assert kinds.count("positive") <= 5 and kinds.count("near_miss") <= 3
        assert (
            kinds.count("random") + kinds.count("near_miss") == 7
        )  # random ones fill the place of missing near misses
        some = first_of_each(windows, 8)
        assert [w.kind for w in some].count("positive") == min(4, kinds.count("positive"))
        assert len([w for w in some if w.kind != "positive"]) == 4


def test_long_sentences_are_cut_to_windows_around_the_firing(corpus: CorpusFacts) -> None:
    narrow = replace(SETTINGS, window=4)
    for ref, _ in features(corpus, 10):
        activation = corpus.store.dense(ref)
        for window in draw_windows(corpus, ref, "score", narrow, 3, np.random.default_rng(1)):
            assert len(window.at) <= 4 and (np.diff(window.at) == 1).all()
            if window.kind == "positive":
                span = corpus.store.span(window.sentence)
                assert activation[window.at].max() == activation[span].max()


def test_marks_in_the_corpus_itself_are_broken_up(corpus: CorpusFacts) -> None:
    texts = dict(corpus.store.token_texts)
    at = np.arange(1, 6)
    texts[int(corpus.store.token_ids[2])] = "<<evil>>"
    spoofed = replace(corpus.store, token_texts=texts)
    text = as_text(spoofed, at, at[:1])
    assert text.count("<<") == 1 and "< <evil> >" in text


# -- counts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("on", ["token", "next", "previous"])
def test_a_predicate_that_equals_firing_scores_one(
    corpus: CorpusFacts, method: Method, on: Literal["token", "next", "previous"]
) -> None:
    common = [corpus.store.token_texts[int(i)] for i in np.bincount(corpus.store.token_ids).argsort()[::-1][20:80]]
    predicates = [Predicate(on=on, words=tuple(common[n : n + 3]), window=2) for n in range(0, 60, 4)]
    exact = planted(corpus, predicates)
    for n, predicate in enumerate(predicates):
        windows = draw_windows(exact, FeatureRef(0, n), "score", SETTINGS, 3, np.random.default_rng(n))
        job = JudgeJob(label(FeatureRef(0, n), predicate), method, windows)
        score = score_of(job, answer_by_predicate(exact, predicate, job))
        assert score.balanced_accuracy == 1.0 and (score.interval.low, score.interval.high) == (1.0, 1.0)
        assert score.n_positive == score.right_positive >= 3
        assert (score.n_random, score.n_near_miss) == (score.right_random, score.right_near_miss)


def test_labels_dealt_to_other_features_fall_to_guessing(corpus: CorpusFacts, tools: CaseTools) -> None:
    found = [(label_feature(tools, ref, LabelSettings(), "test"), windows) for ref, windows in features(corpus, 30)]
    found = [(one, windows) for one, windows in found if one.predicate is not None]
    for method in METHODS:
        own: list[JudgedScore] = []
        others: list[JudgedScore] = []
        for shift, scores in ((0, own), (7, others)):
            for place, (_, windows) in enumerate(found):
                given = found[(place + shift) % len(found)][0]
                assert given.predicate is not None
                job = JudgeJob(given, method, windows)
                scores.append(score_of(job, answer_by_predicate(corpus, given.predicate, job)))
        assert np.mean([s.balanced_accuracy for s in own]) > 0.85
        assert np.mean([s.balanced_accuracy for s in others]) == pytest.approx(0.5, abs=0.04)
        inside = [s.interval.low - 1e-9 <= 0.5 <= s.interval.high + 1e-9 for s in others]
        assert np.mean(inside) > 0.8


def test_a_failed_judgement_is_never_a_wrong_one(corpus: CorpusFacts) -> None:
    """Whatever is left unanswered, right answers stay all right; and all counts add up."""
    _, windows = next(features(corpus))
    job = JudgeJob(label(FeatureRef(0, 0)), "detection", windows)
    rng = np.random.default_rng(0)
    for share in (0.0, 0.3, 0.8):
        answers = tuple(None if rng.random() < share else w.kind == "positive" for w in windows)
        score = judged_score(job, "test", answers, np.random.default_rng(0), N_BOOTSTRAP)
        if score is None:
            assert share > 0
            continue
        assert score.balanced_accuracy == 1.0
        assert score.n_failed == answers.count(None)
        assert score.n_positive + score.n_random + score.n_near_miss + score.n_failed == len(windows)
    assert judged_score(job, "test", (None,) * len(windows), rng, N_BOOTSTRAP) is None
    assert judged_score(job, "test", (True,), rng, N_BOOTSTRAP) is None  # of another number: no answers at all


def test_always_yes_is_guessing(corpus: CorpusFacts) -> None:
    for _, windows in features(corpus, 5):
        score = score_of(JudgeJob(label(FeatureRef(0, 0)), "fuzzing", windows), (True,) * len(windows))
        assert score.balanced_accuracy == 0.5 and (score.right_random, score.right_near_miss) == (0, 0)


def test_the_poor_rule(corpus: CorpusFacts) -> None:
    _, windows = next((r, w) for r, w in features(corpus) if len([x for x in w if x.kind == "positive"]) > 5)
    job = JudgeJob(label(FeatureRef(0, 0)), "detection", windows)
    truth = tuple(w.kind == "positive" for w in windows)
    good_score, bad = score_of(job, truth, PREDICATE), score_of(job, (False,) * len(windows), "model")
    assert not is_poor([good_score], 0.8, 0.7) and is_poor([bad], 0.8, 0.7)
    assert is_poor([good_score, bad], 0.8, 0.7)  # the model's score decides where there is one
    assert deciding([good_score, bad]) == (bad,) and deciding([good_score]) == (good_score,)
    assert not is_poor([], 0.8, 0.7)


@pytest.mark.parametrize("given", [{"n_positive": 0}, {"poor_high": 0.3}, {"model_contexts": 1}, {"window": 0}])
def test_impossible_settings_are_refused(given: dict[str, int]) -> None:
    with pytest.raises(SettingError, match=next(iter(given))):
        LabelTestSettings(**given)
