"""The corpus: the same everywhere, true to its tables, and strict about what it keeps out of training."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracescribe.tracer import embedded
from tracescribe.tracer.embedded.training import world
from tracescribe.tracer.embedded.training.build import PUBLIC_SEED, PUBLIC_SENTENCES
from tracescribe.tracer.embedded.training.corpus import (
    BOS,
    MAX_WORDS,
    SPECIAL_WORDS,
    STOP,
    TASKS,
    draw,
    is_held_out_pair,
    is_strict_city,
    public_sentences,
    sample,
    vocabulary,
)

seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("task", TASKS)
def test_same_seed_gives_same_samples(task: str) -> None:
    first, second, other = ([sample(random.Random(seed), "any", task) for _ in range(5)] for seed in (7, 7, 8))
    assert first == second
    assert first != other


def test_shipped_corpus_is_what_the_generator_draws() -> None:
    lines = embedded.corpus_path().read_text(encoding="utf-8").splitlines()
    assert lines == public_sentences(PUBLIC_SENTENCES, PUBLIC_SEED)
    assert len(set(lines)) == PUBLIC_SENTENCES


def test_public_corpus_holds_no_held_out_question() -> None:
    text = set(embedded.corpus_path().read_text(encoding="utf-8").splitlines())
    rng = random.Random(1)
    assert not text & {sample(rng, "held_out").sentence for _ in range(3000)}


@settings(max_examples=60, deadline=None)
@given(seeds, st.sampled_from(TASKS))
def test_training_split_keeps_its_promises(seed: int, task: str) -> None:
    drawn = sample(random.Random(seed), "train", task)
    assert not drawn.held_out
    if drawn.kind == "two_hop":
        city = drawn.value("city")
        assert not is_strict_city(city)
        assert not is_held_out_pair(city, drawn.value("relation"))


@settings(max_examples=60, deadline=None)
@given(seeds, st.sampled_from(TASKS))
def test_every_sample_is_well_formed(seed: int, task: str) -> None:
    drawn = sample(random.Random(seed), "any", task)
    assert drawn.words[0] == BOS and drawn.words[-1] == STOP
    assert len(drawn.words) <= MAX_WORDS
    assert drawn.answer == len(drawn.words) - 2
    assert set(drawn.words) <= set(vocabulary())
    assert drawn.roles["final"] == drawn.answer - 1
    assert all(0 < position < drawn.answer for position in drawn.roles.values())
    assert all(0 < latent.position < drawn.answer for latent in drawn.latents.values())
    assert drawn.prompt.split() == list(drawn.words[1 : drawn.answer])


def test_known_facts_come_out_of_the_generator() -> None:
    fixed = {"state": "Texas", "city": "Dallas", "relation": "capital", "kind": "two_hop"}
    fixed["template"] = "the {relation} of the state containing {city} is {answer}"
    dallas = draw(random.Random(0), "states", fixed)
    assert dallas.prompt == "the capital of the state containing Dallas is"
    assert dallas.answer_word == "Austin"
    assert dallas.words[dallas.roles["city"]] == "Dallas"
    assert dallas.latents["state"].value == "Texas"
    assert dallas.latents["state"].position == dallas.roles["city"]


def test_both_splits_cover_every_task_and_strict_cities_exist() -> None:
    rng = random.Random(3)
    assert {sample(rng, "held_out").task for _ in range(400)} == set(TASKS)
    cities = [city for place in world.STATES.values() for city in place.cities]
    strict = sum(map(is_strict_city, cities)) / len(cities)
    assert 0.1 < strict < 0.4


def test_vocabulary_starts_with_the_special_words_and_has_no_repeats() -> None:
    words = vocabulary()
    assert words[: len(SPECIAL_WORDS)] == SPECIAL_WORDS
    assert len(set(words)) == len(words)
    assert words == vocabulary()
