"""Probes: a planted direction is found, chance stays chance, and the half of the corpus that tests labels is never read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.agents.conftest import DALLAS
from tracescribe.agents.baselines import probe_data
from tracescribe.agents.baselines.probe import ProbeBaseline, ProbeSettings, concepts, fitted, probed_layers
from tracescribe.agents.baselines.probe_data import prompt_streams, training_data
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.case_tools import CaseTools
from tracescribe.agents.survey import make_survey
from tracescribe.agents.toolbox import Toolbox
from tracescribe.tracer.errors import BudgetExceededError
from tracescribe.tracer.frozen_pass import run_once


@pytest.fixture
def tools(embedded_toolbox: Toolbox) -> CaseTools:
    """The best-known case."""
    return embedded_toolbox.open(InterpretationCase("x", prompt=DALLAS), Budget())


def test_a_planted_direction_is_found_and_noise_is_told_as_noise() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=16)
    values = rng.normal(size=(600, 16)) * np.linspace(0.5, 2, 16)
    aside = np.arange(600) % 3 == 0
    probe = fitted(values, values @ truth > 5, aside, 1.0)
    assert probe is not None and probe.auc > 0.95
    cosine = probe.direction @ truth / np.linalg.norm(probe.direction) / np.linalg.norm(truth)
    assert cosine > 0.9
    chances = probe.probabilities(values)
    assert chances[values @ truth > 8].mean() > 0.9
    assert chances[values @ truth < 0].mean() < 0.1
    chance = fitted(values, rng.random(600) < 0.3, aside, 1.0)
    assert chance is not None and 0.35 < chance.auc < 0.65
    assert fitted(values, np.ones(600, dtype=bool), aside, 1.0) is None


def test_streams_are_what_the_tracer_sees(tools: CaseTools) -> None:
    found = prompt_streams(tools, (0, 1, 2, 3))
    seen = run_once(tools.model, tools.transcoders, tools.clean().tokens)
    for layer in range(3):
        np.testing.assert_allclose(found[layer], seen.resid_pre[layer + 1].double().numpy(), atol=1e-4)
    np.testing.assert_allclose(found[3], seen.resid_final.double().numpy(), atol=1e-4)


def test_only_the_labelling_half_is_read(tools: CaseTools, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = tools.corpus
    assert corpus is not None
    store, read = corpus.store, list[tuple[int, ...]]()

    def spying(tools: CaseTools, sentences: Sequence[Any], layers: Sequence[int]) -> dict[int, Any]:
        read.extend(tuple(int(i) for i in sentence) for sentence in sentences)
        return {layer: np.zeros((sum(map(len, sentences)), 2)) for layer in layers}

    monkeypatch.setattr(probe_data, "_streams", spying)
    data = training_data(tools, corpus, ["Dallas", "capital"], 30, (0,), np.random.default_rng(0))
    assert set(data) == {"Dallas", "capital"}
    halves: dict[bool, set[tuple[int, ...]]] = {False: set(), True: set()}
    for sentence in range(store.n_sentences):
        text = tuple(int(i) for i in store.token_ids[store.token_sentence == sentence])
        halves[bool(store.is_test[sentence])].add(text)
    assert set(read) <= halves[False]
    for streams in data.values():
        for part in (streams.aside, ~streams.aside):
            assert 0 < streams.positive[part].sum() < part.sum()


def test_concepts_are_words_of_the_prompt_the_answer_and_what_goes_with_them(tools: CaseTools) -> None:
    corpus = tools.corpus
    assert corpus is not None
    found = concepts(corpus, make_survey(tools), ProbeSettings())
    assert {"Dallas", "capital", "Austin"} <= set(found) and len(found) <= 12
    assert not {"the", "of", "is"} & set(found)
    assert any(corpus.sentences_with(word).tolist() for word in found)


def test_a_concept_is_read_where_its_word_stands_and_groups_bear_its_name(tools: CaseTools) -> None:
    survey, proposer = make_survey(tools), ProbeBaseline()
    groups = proposer.groups(tools, survey)
    words = [proposer.word(tools, survey, group[0]) for group in groups]
    assert len(set(words)) == len(words) and groups == proposer.groups(tools, survey)
    at = {word: {node.position for node in group} for word, group in zip(words, groups, strict=True)}
    assert all(len(positions) == 1 for positions in at.values())
    place = survey.full.tokens.index("Dallas")
    near = {word for word, positions in at.items() if positions == {place}}
    assert near & {"Dallas", "Austin", "TX", "Texas", "mockingbird"}


def test_every_forward_pass_is_charged(embedded_toolbox: Toolbox) -> None:
    tight = embedded_toolbox.open(InterpretationCase("x", prompt=DALLAS), Budget(forward_passes=20))
    with pytest.raises(BudgetExceededError, match="forward_passes"):
        ProbeBaseline().groups(tight, make_survey(tight))


@pytest.mark.parametrize(("n_layers", "expected"), [(1, (0,)), (4, (0, 1, 2, 3)), (26, (0, 5, 10, 15, 20, 25))])
def test_layers_are_evenly_spaced_and_the_last_is_among_them(n_layers: int, expected: tuple[int, ...]) -> None:
    assert probed_layers(n_layers, 6) == expected
