"""A label claim is tested both ways: where its predicate holds, and where its feature fires."""

from __future__ import annotations

import numpy as np
import pytest

from tests.agents.conftest import DALLAS
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.claims import LabelClaim, Predicate
from tracescribe.agents.labelling.label_tests import sample_sentences
from tracescribe.agents.labelling.predicates import holds_at
from tracescribe.agents.labelling.two_way import TwoWay, two_way_area, weighted_auc
from tracescribe.agents.testing.decision_rules import LABEL_RULE
from tracescribe.agents.testing.experiment_settings import ExperimentSettings
from tracescribe.agents.testing.experiments import run_experiments
from tracescribe.agents.testing.verdicts import judge
from tracescribe.agents.toolbox import Toolbox
from tracescribe.tracer.graph import FeatureRef
from tracescribe.tracer.statistics import roc_auc

TEXAS, CAPITAL = FeatureRef(0, 86), FeatureRef(0, 60)
"""Features of the embedded model: they fire on the cities of Texas, and on the word 'capital'."""
CITIES = ("Dallas", "Houston", "Lubbock", "Austin", "Laredo", "Plano", "Waco", "Amarillo", "ElPaso")
SILENT_WORDS = ("Oakland", "Arvada", "Olathe", "Moscow", "piano", "seven", "tennis", "sud", "Kyoto")


def test_both_areas_are_the_usual_one_and_count_weights_as_repeats() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        activation = np.maximum(rng.integers(-2, 4, 40), 0).astype(np.float32)
        holds, weight = rng.random(40) < 0.4, rng.integers(1, 4, 40)
        many, met = np.repeat(activation, weight), np.repeat(holds, weight)
        expected = TwoWay(roc_auc(many, met), roc_auc(met.astype(np.float64), many > 0))
        assert two_way_area(activation, holds, weight.astype(np.float64)) == pytest.approx(expected, abs=1e-8)


def test_nothing_to_tell_apart_is_guessing() -> None:
    some, none, one = np.array([True, False]), np.array([False, False]), np.ones(2)
    firing = np.array([1.0, 0.0], dtype=np.float32)
    assert two_way_area(firing, none, one).worse == 0.5 and two_way_area(firing, ~none, one).worse == 0.5
    assert two_way_area(np.zeros(2, dtype=np.float32), some, one) == (0.5, 0.5)
    assert weighted_auc(firing, some, one) == 1.0


@pytest.mark.parametrize("words", [("capital",), ("capital", "of"), ("is",), CITIES])
def test_a_sample_meets_all_four_kinds_of_sentences_and_stands_for_the_unseen_ones(
    embedded_toolbox: Toolbox, words: tuple[str, ...]
) -> None:
    corpus, predicate = embedded_toolbox.corpus, Predicate(on="token", words=words)
    assert corpus is not None
    settings = ExperimentSettings(n_positive=20, n_negative=20)
    sample = sample_sentences(corpus, CAPITAL, predicate, "claim", settings, np.random.default_rng(0))
    store, sentences = corpus.store, np.array(sample.sentences)
    fires = np.zeros(store.n_sentences, dtype=np.bool_)
    fires[store.token_sentence[store.dense(CAPITAL) > 0]] = True
    assert (fires[sentences] == (sample.stratum < 2)).all()
    met = np.bincount(sample.group, weights=sample.holds, minlength=len(sentences)) > 0
    assert (met == (sample.stratum % 2 == 0)).all()
    n_drawn = np.bincount(sample.stratum, minlength=4)
    assert n_drawn[:2].sum() == n_drawn[2:].sum() == 20
    assert (n_drawn >= np.minimum(sample.sizes, 10)).all(), "half of each side, or all there are"
    n_fires, n_silent = corpus.unseen.n_sentences(CAPITAL)
    assert sample.weight[sample.stratum < 2].sum() == pytest.approx(n_fires)
    assert sample.weight[sample.stratum >= 2].sum() == pytest.approx(n_silent)


@pytest.mark.parametrize("ref", [TEXAS, CAPITAL])
@pytest.mark.parametrize("words", [("capital", "of"), (*CITIES[:3], *SILENT_WORDS)])
def test_a_weighted_sample_tells_what_all_unseen_sentences_do(
    embedded_toolbox: Toolbox, ref: FeatureRef, words: tuple[str, ...]
) -> None:
    corpus, predicate = embedded_toolbox.corpus, Predicate(on="token", words=words)
    assert corpus is not None
    store = corpus.store
    unseen = np.flatnonzero(store.token_counts & np.isin(store.token_sentence, corpus.unseen.sentences))
    whole = two_way_area(store.dense(ref)[unseen], holds_at(corpus, predicate, unseen), np.ones(len(unseen)))
    found = []
    for seed in range(10):
        sample = sample_sentences(corpus, ref, predicate, "claim", ExperimentSettings(), np.random.default_rng(seed))
        found.append(two_way_area(store.dense(ref)[sample.token], sample.holds, sample.token_weight))
    assert np.mean(found, axis=0) == pytest.approx(np.array(whole), abs=0.05)


CLAIMS: list[tuple[FeatureRef, tuple[str, ...], str]] = [
    (CAPITAL, ("capital",), "supported"),
    (TEXAS, CITIES, "supported"),
    (CAPITAL, ("capital", "of"), "refuted"),
    (TEXAS, ("Dallas", "Houston", *SILENT_WORDS), "refuted"),
    (TEXAS, ("Dallas", "Oakland", "Arvada"), "refuted"),
    (TEXAS, ("Dallas", "Houston", "Waco"), "refuted"),
    (TEXAS, ("Oakland", "Arvada"), "untested"),
]


def test_padded_and_narrow_labels_are_not_supported(embedded_toolbox: Toolbox) -> None:
    """Words on which the feature never fires, and words of which most are missing, beside labels that are right."""
    tools = embedded_toolbox.open(InterpretationCase("x", prompt=DALLAS), Budget())
    claims = [
        LabelClaim(
            claim_id=f"c{n}",
            statement="said",
            layer=ref.layer,
            feature=ref.feature,
            predicate=Predicate(on="token", words=words),
        )
        for n, (ref, words, _) in enumerate(CLAIMS)
    ]
    for claim in claims:
        tools.registry.register(claim)
    batch = run_experiments(tools, [], claims, ExperimentSettings(n_controls=99))
    told = {
        (ref, words): verdict.outcome
        for (ref, words, _), verdict in zip(
            CLAIMS, judge(claims, batch.plans, batch.measurements, dict(batch.untestable)), strict=True
        )
    }
    expected = {(ref, words): outcome for ref, words, outcome in CLAIMS}
    assert told == expected
    assert {(plan.metric, plan.rule.name) for plan in batch.plans if plan.rule} == {("two_way_auc", LABEL_RULE)}
    assert all({"sentences", "weights"} == set(plan.intervention) for plan in batch.plans)
