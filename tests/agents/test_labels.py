"""Statistical labels: on a corpus made by hand where the right answer is known, and on the embedded model."""

from __future__ import annotations

import numpy as np
import pytest

from tests.agents.conftest import DALLAS
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.claims import Predicate
from tracescribe.agents.grouping.naming import belongs
from tracescribe.agents.labelling.corpus_facts import CorpusFacts
from tracescribe.agents.labelling.label_tests import sample_sentences, score_predicate
from tracescribe.agents.labelling.labels import LabelSettings, best_triggers, label_feature
from tracescribe.agents.labelling.predicates import holds, holds_at, in_words
from tracescribe.agents.labelling.triggers import (
    Firing,
    hub_word,
    last_word,
    previous_triggers,
    read_firing,
    word_triggers,
)
from tracescribe.agents.labelling.unseen import Part, deal
from tracescribe.agents.offline import OfflineProposer
from tracescribe.agents.survey import make_survey
from tracescribe.agents.testing.experiment_settings import ExperimentSettings
from tracescribe.agents.toolbox import Toolbox
from tracescribe.tracer.errors import EvidenceError
from tracescribe.tracer.graph import FeatureRef

TOKENS = ("<bos>", "the", "capital", "of", "Texas", "is", "Austin", ".")
NEXT = ("the", "capital", "of", "Texas", "is", "Austin", ".", ".")


@pytest.mark.parametrize(
    ("predicate", "where"),
    [
        (Predicate(on="token", words=("Texas", "is")), [4, 5]),
        (Predicate(on="next", words=("Austin",)), [5]),
        (Predicate(on="previous", words=("Texas",), window=2), [5, 6]),
        (Predicate(on="previous", words=("the",), window=1), [2]),
        (Predicate(on="token", words=("Ohio",)), []),
    ],
)
def test_predicates_hold_where_they_say(predicate: Predicate, where: list[int]) -> None:
    assert np.flatnonzero(holds(predicate, TOKENS, NEXT)).tolist() == where
    assert all(f"'{word}'" in in_words(predicate) for word in predicate.words)


def firing(tokens: list[int], following: list[int], sentence: list[int], strength: list[float]) -> Firing:
    values = np.array(strength, dtype=np.float32)
    return Firing(np.array(tokens), np.array(following), np.array(sentence), values, values > 0)


def test_the_word_set_with_the_best_f1_is_found() -> None:
    """Word 1 always, word 2 mostly, word 3 seldom: the best detector is {1, 2}."""
    tokens = [1] * 10 + [2] * 10 + [3] * 10 + [4] * 70
    fires = [1.0] * 10 + [1.0] * 8 + [0.0] * 2 + [1.0] + [0.0] * 9 + [0.0] * 70
    found = word_triggers(firing(tokens, [0] * 100, [0] * 100, fires), "token", 5, 12, 0.0)
    assert found.words == (1, 2)
    assert found.f1 == pytest.approx(2 * 18 / (20 + 19))
    assert found.mass == pytest.approx((10 / 18, 8 / 18))


def test_what_is_about_to_be_said_beats_what_is_read_where_it_does_better() -> None:
    tokens, following = [1, 1, 1, 1] * 20, [7, 8, 9, 6] * 20
    fires = [1.0, 0.0, 0.0, 0.0] * 20
    best = best_triggers(firing(tokens, following, [0] * 80, fires), LabelSettings())
    assert (best.on, best.words, best.f1) == ("next", (7,), 1.0)


def test_reading_wins_where_both_do_as_well() -> None:
    tokens, following = [1, 2] * 20, [7, 8] * 20
    best = best_triggers(firing(tokens, following, [0] * 40, [1.0, 0.0] * 20), LabelSettings())
    assert (best.on, best.words) == ("token", (1,))


def test_earlier_words_are_found_and_sentences_do_not_touch() -> None:
    """The feature fires two tokens after word 5, never across the end of a sentence."""
    tokens = [5, 1, 2, 1, 1, 2] * 10
    sentence = [i // 3 for i in range(60)]
    fires = [0.0, 0.0, 1.0, 0.0, 0.0, 0.0] * 10
    found = previous_triggers(firing(tokens, [0] * 60, sentence, fires), window=2, max_words=3)
    assert found.words == (5,)
    assert found.f1 == pytest.approx(2 * 10 / (10 + 20))  # it also holds one token after


def test_a_feature_of_the_embedded_model_is_named_after_the_state(embedded_toolbox: Toolbox) -> None:
    """The strongest feature on Dallas fires on Texan cities; sentences on them mention Texas."""
    tools = embedded_toolbox.open(InterpretationCase("x", prompt=DALLAS), Budget())
    clean, position = tools.clean(), tools.full.tokens.index("Dallas")
    feature = int(clean.activations(0)[position].argmax())
    label = label_feature(tools, FeatureRef(0, feature), LabelSettings(), "test")
    assert label.text == "Texas"
    assert label.predicate is not None and label.predicate.on == "token" and "Dallas" in label.predicate.words
    assert label.evidence


def test_words_belong_to_a_concept_by_where_they_stand(embedded_toolbox: Toolbox) -> None:
    tools = embedded_toolbox.open(InterpretationCase("x", prompt=DALLAS), Budget())
    triggers = ("Houston", "Texas", "Lubbock", "Dallas")
    assert belongs(tools, "Texas", triggers, "Oakland")  # a city stands where cities stand
    assert not belongs(tools, "Texas", triggers, "opposite")


def corpus_of(toolbox: Toolbox) -> CorpusFacts:
    assert toolbox.corpus is not None
    return toolbox.corpus


@pytest.mark.parametrize(
    "predicate",
    [
        Predicate(on="token", words=("Texas", "is", "unheard")),
        Predicate(on="next", words=("Austin", "is")),
        Predicate(on="previous", words=("the", "capital"), window=1),
        Predicate(on="previous", words=("of", "<bos>"), window=8),
    ],
)
def test_a_predicate_holds_in_the_corpus_where_it_holds_in_each_sentence(
    embedded_toolbox: Toolbox, predicate: Predicate
) -> None:
    corpus = corpus_of(embedded_toolbox)
    store, at = corpus.store, np.arange(2000)
    expected: list[bool] = []
    for sentence in range(int(store.token_sentence[1999]) + 1):
        following = store.texts(store.next_token(sentence))
        expected += holds(predicate, store.sentence_tokens(sentence), following).tolist()
    assert holds_at(corpus, predicate, at).tolist() == expected[:2000]
    assert any(expected)


PARTS: tuple[Part, ...] = ("score", "rescore", "claim")


def test_the_parts_share_no_sentence(embedded_toolbox: Toolbox) -> None:
    """Neither with each other nor with the half that labels are made from, for any feature; together they are all."""
    corpus, n_three = corpus_of(embedded_toolbox), 0
    store = corpus.store
    labelling = {s for s, test in zip(store.corpus, store.is_test, strict=True) if not test}
    unseen = {s for s, test in zip(store.corpus, store.is_test, strict=True) if test}
    for layer in range(len(store.n_features)):
        for feature in store.live(layer)[:60]:
            ref = FeatureRef(layer, int(feature))
            pools = [corpus.unseen.pools(ref, part, 3) for part in PARTS]
            texts = [{store.corpus[int(s)] for s in np.concatenate(pool)} for pool in pools]
            assert sum(map(len, texts)) == len(set.union(*texts))
            assert set.union(*texts) <= unseen and not set.union(*texts) & labelling
            fires_in = {store.corpus[s] for s in np.unique(store.token_sentence[store.dense(ref) > 0])} & unseen
            assert {store.corpus[int(s)] for positive, _ in pools for s in positive} == fires_in
            assert not fires_in & {store.corpus[int(s)] for _, negative in pools for s in negative}
            n_three += all(len(positive) >= 3 for positive, _ in pools)
    assert n_three > 30


def test_scores_and_claims_are_drawn_from_their_parts(embedded_toolbox: Toolbox) -> None:
    corpus, settings = corpus_of(embedded_toolbox), ExperimentSettings(n_positive=10**6, n_negative=10**6)
    predicate, compared = Predicate(on="token", words=("the",)), 0
    for feature in corpus.store.live(0)[:40]:
        ref, rng = FeatureRef(0, int(feature)), np.random.default_rng(0)
        for part in PARTS:
            pool = {int(s) for s in np.concatenate(corpus.unseen.pools(ref, part, settings.min_positive))}
            try:
                drawn = sample_sentences(corpus, ref, predicate, part, settings, rng)
            except EvidenceError:
                continue
            assert set(drawn.sentences) == pool
            of_sentence = {int(corpus.store.token_sentence[t]) for t in drawn.token}
            assert of_sentence == pool and (corpus.store.token_position[drawn.token] > 0).all()
            compared += 1
    assert compared > 30


@pytest.mark.parametrize(
    ("n_firing", "sizes"), [(5, (0, 0, 5)), (6, (3, 0, 3)), (10, (5, 0, 5)), (11, (3, 3, 5)), (40, (10, 10, 20))]
)
def test_rare_features_are_kept_for_their_claims(n_firing: int, sizes: tuple[int, ...]) -> None:
    positive = np.arange(n_firing)
    parts = [deal(positive, part, 3).tolist() for part in PARTS]
    assert tuple(map(len, parts)) == sizes
    assert sorted(number for part in parts for number in part) == positive.tolist()


def test_a_score_is_that_of_its_predicate(embedded_toolbox: Toolbox) -> None:
    """A predicate made from the very tokens that a feature fires on scores 1 where firing is a matter of the word."""
    corpus = corpus_of(embedded_toolbox)
    store = corpus.store
    capital = next(i for i, text in store.token_texts.items() if text == "capital")
    at = np.flatnonzero(store.token_ids == capital)
    ref = FeatureRef(0, max(range(store.n_features[0]), key=lambda f: float(store.dense(FeatureRef(0, f))[at].mean())))
    right = Predicate(on="token", words=("capital",))
    wrong = Predicate(on="token", words=("bird",))
    scores = [
        score_predicate(corpus, ref, predicate, "score", ExperimentSettings(), np.random.default_rng(0))
        for predicate in (right, wrong)
    ]
    assert scores[0].f1 > 0.95 and scores[0].auc > 0.95
    assert scores[1].f1 < 0.05 and scores[1].auc < 0.6
    for score in scores:
        assert score.interval is not None and score.interval.low <= score.f1 <= score.interval.high


def test_too_few_sentences_give_no_score(embedded_toolbox: Toolbox) -> None:
    corpus = corpus_of(embedded_toolbox)
    store = corpus.store
    silent = next(
        FeatureRef(layer, f)
        for layer in range(len(store.n_features))
        for f in range(store.n_features[layer])
        if store.n_active(layer)[f] == 0
    )
    with pytest.raises(EvidenceError, match="fires in 0"):
        predicate = Predicate(on="token", words=("the",))
        score_predicate(corpus, silent, predicate, "score", ExperimentSettings(), np.random.default_rng(0))


def test_a_word_list_that_is_cut_short_counts_only_the_words_that_are_kept() -> None:
    tokens = [1] * 10 + [2] * 10 + [3] * 10 + [4] * 70
    found = word_triggers(firing(tokens, [0] * 100, [0] * 100, [1.0] * 30 + [0.0] * 70), "token", 5, 2, 0.0)
    assert found.words == (1, 2)
    assert found.f1 == pytest.approx(1.0)
    assert found.kept_f1 == pytest.approx(2 * 20 / (20 + 30))


def test_where_a_feature_stands_in_this_prompt_is_told_beside_its_label(embedded_toolbox: Toolbox) -> None:
    tools = embedded_toolbox.open(InterpretationCase("x", prompt=DALLAS), Budget())
    labels = OfflineProposer().label(tools, make_survey(tools)).items
    here = {label.text: label.here for label in labels}
    assert here["Texas"] == "at 'Dallas': from 'Dallas', towards 'Austin'"
    assert "at 'is': from " in here["say Austin"] and here["say Austin"].endswith("towards 'Austin'")
    reads = {label.text: label.reads for label in labels}
    assert reads["Texas"] == "input" and reads["say Austin"] == "output"


def fires_on(corpus: CorpusFacts, *words: str) -> Firing:
    """A feature of the embedded corpus that would fire on these words alone."""
    here = np.isin(corpus.store.token_ids, [i for word in words for i in corpus.ids_of(word)])
    return read_firing(corpus.store, here.astype(np.float32), 0.25)


def test_sentences_that_end_alike_name_a_feature_once_there_are_three(embedded_toolbox: Toolbox) -> None:
    corpus = corpus_of(embedded_toolbox)
    store = corpus.store
    boxing = corpus.ids_of("boxing")[0]
    ends = np.flatnonzero((store.token_ids == boxing) & corpus.labelling)
    for n, named in ((2, None), (3, boxing)):
        before = np.zeros(store.n_tokens, dtype=np.float32)
        before[ends[:n] - 1] = 1.0  # it fires on the word before, whatever that is
        assert last_word(corpus, read_firing(store, before, 0.25), 0.9) == named


def test_a_hub_is_found_though_all_meet_in_company(embedded_toolbox: Toolbox) -> None:
    """Every sentence on these cities and their country has the word 'country', which tells none of them apart."""
    corpus = corpus_of(embedded_toolbox)
    words = ("Ukraine", "Dnipro", "Kharkiv", "Lviv", "Odesa")
    ids = [corpus.ids_of(word)[0] for word in words]
    assert hub_word(corpus, fires_on(corpus, *words), ids, 1.3) == ids[0]
    assert hub_word(corpus, fires_on(corpus, *words[1:]), ids[1:], 1.3) is None  # the cities never meet each other
