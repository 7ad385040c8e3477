"""Statistical labels: on a corpus made by hand where the right answer is known, and on the embedded model."""

from __future__ import annotations

import numpy as np
import pytest

from tests.agents.conftest import DALLAS
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.claims import Predicate
from tracescribe.agents.experiment_settings import ExperimentSettings
from tracescribe.agents.label_tests import sample_sentences, score_predicate
from tracescribe.agents.labels import LabelSettings, best_triggers, label_feature
from tracescribe.agents.naming import belongs
from tracescribe.agents.predicates import holds, in_words
from tracescribe.agents.toolbox import Toolbox
from tracescribe.agents.triggers import Firing, previous_triggers, word_triggers
from tracescribe.tracer.errors import EvidenceError
from tracescribe.tracer.evidence_store import EvidenceStore
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


def store_of(toolbox: Toolbox) -> EvidenceStore:
    assert toolbox.evidence is not None
    return toolbox.evidence


def test_scores_and_claims_share_no_sentence(embedded_toolbox: Toolbox) -> None:
    """Neither with each other nor with the half that labels are made from, for any feature."""
    store, settings = store_of(embedded_toolbox), ExperimentSettings(n_positive=10**6, n_negative=10**6)
    labelling = {s for s, test in zip(store.corpus, store.is_test, strict=True) if not test}
    predicate = Predicate(on="token", words=("the",))
    compared = 0
    for feature in store.live(0)[:40]:
        ref, rng = FeatureRef(0, int(feature)), np.random.default_rng(0)
        try:
            parts = [
                {store.corpus[s] for s in sample_sentences(store, ref, predicate, part, settings, rng).sentences}
                for part in ("score", "claim")
            ]
        except EvidenceError:
            continue
        assert not parts[0] & parts[1] and not labelling & (parts[0] | parts[1])
        compared += 1
    assert compared > 10


def test_a_rare_feature_is_kept_for_its_claim(embedded_toolbox: Toolbox) -> None:
    store, settings = store_of(embedded_toolbox), ExperimentSettings()
    predicate = Predicate(on="token", words=("the",))
    for feature in store.live(2):
        ref = FeatureRef(2, int(feature))
        firing = {store.corpus[s] for s in store.token_sentence[np.flatnonzero(store.dense(ref))] if store.is_test[s]}
        if settings.min_positive <= len(firing) < 2 * settings.min_positive:
            with pytest.raises(EvidenceError, match="fires in 0"):
                sample_sentences(store, ref, predicate, "score", settings, np.random.default_rng(0))
            drawn = sample_sentences(store, ref, predicate, "claim", settings, np.random.default_rng(0))
            assert firing <= {store.corpus[s] for s in drawn.sentences}
            return
    pytest.skip("every live feature of layer 2 fires in enough unseen sentences")


def test_a_score_is_that_of_its_predicate(embedded_toolbox: Toolbox) -> None:
    """A predicate made from the very tokens that a feature fires on scores 1 where firing is a matter of the word."""
    store = store_of(embedded_toolbox)
    capital = next(i for i, text in store.token_texts.items() if text == "capital")
    at = np.flatnonzero(store.token_ids == capital)
    ref = FeatureRef(0, max(range(store.n_features[0]), key=lambda f: float(store.dense(FeatureRef(0, f))[at].mean())))
    right = Predicate(on="token", words=("capital",))
    wrong = Predicate(on="token", words=("bird",))
    scores = [
        score_predicate(store, ref, predicate, ExperimentSettings(), np.random.default_rng(0))
        for predicate in (right, wrong)
    ]
    assert scores[0].f1 > 0.95 and scores[0].auc > 0.95
    assert scores[1].f1 < 0.05 and scores[1].auc < 0.6
    for score in scores:
        assert score.interval is not None and score.interval.low <= score.f1 <= score.interval.high


def test_too_few_sentences_give_no_score(embedded_toolbox: Toolbox) -> None:
    store = store_of(embedded_toolbox)
    silent = next(
        FeatureRef(layer, f)
        for layer in range(len(store.n_features))
        for f in range(store.n_features[layer])
        if store.n_active(layer)[f] == 0
    )
    with pytest.raises(EvidenceError, match="fires in 0"):
        predicate = Predicate(on="token", words=("the",))
        score_predicate(store, silent, predicate, ExperimentSettings(), np.random.default_rng(0))
