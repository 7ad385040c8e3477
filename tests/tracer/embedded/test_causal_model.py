"""The causal model agrees with the generator, lets interventions propagate, and gives consistent gold circuits."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracescribe.tracer.embedded.training.causal_model import (
    ANSWER,
    TOKEN,
    domain,
    gold_circuit,
    intervene,
    sites,
    state_of,
    with_value,
)
from tracescribe.tracer.embedded.training.corpus import TASKS, draw, sample
from tracescribe.tracer.embedded.training.interchange import TESTS, draw_pairs

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=80, deadline=None)
@given(seeds, st.sampled_from(TASKS))
def test_answer_of_the_causal_model_is_the_sentence_s_own(seed: int, task: str) -> None:
    drawn = sample(random.Random(seed), "any", task)
    assert state_of(drawn).answer == drawn.answer_word


@settings(max_examples=80, deadline=None)
@given(seeds, st.sampled_from(TASKS))
def test_no_two_variables_share_a_home(seed: int, task: str) -> None:
    drawn = sample(random.Random(seed), "any", task)
    homes = [(site.layer, drawn.roles[site.role]) for site in sites(drawn, state_of(drawn))]
    assert len(set(homes)) == len(homes)


@pytest.mark.parametrize("name", TESTS)
def test_setting_the_donor_s_value_gives_the_donor_s_answer(name: str) -> None:
    """Two ways to the same truth: the causal model's intervention, and generating the donor's sentence."""
    pairs = draw_pairs(random.Random(5), name, 40)
    assert all(pair.expected != pair.target.answer_word for pair in pairs)
    if name == "operation":  # the donor asks for the other pole, so it is the donor's answer as well
        pairs = [pair for pair in pairs if pair.target.value("language") == pair.donor.value("language")]
    assert pairs
    assert all(pair.expected == pair.donor.answer_word for pair in pairs)


def test_a_changed_operand_changes_sum_and_answer() -> None:
    drawn = draw(random.Random(0), "addition", {"a": "3", "b": "4", "kind": "word"})
    changed = with_value(state_of(drawn), "a", "9")
    assert (changed.values["sum"], changed.answer) == ("13", "thirteen")
    assert changed.values["b"] == "4"
    only_sum = with_value(state_of(drawn), "sum", "20")
    assert (only_sum.answer, only_sum.values["a"]) == ("twenty", "3")


def test_a_changed_answer_changes_nothing_else() -> None:
    state = state_of(draw(random.Random(0), "states", {"kind": "two_hop"}))
    changed = with_value(state, ANSWER, "Paris")
    assert changed.answer == "Paris" and changed.values == state.values


def test_repeated_name_can_only_become_the_other_name() -> None:
    state = state_of(draw(random.Random(0), "indirect_objects", {"other_name": "Mary", "repeated_name": "John"}))
    assert with_value(state, "repeated_name", "Mary").answer == "John"
    with pytest.raises(ValueError, match="one of the sentence's two names, not 'Anna'"):
        with_value(state, "repeated_name", "Anna")


def test_a_value_outside_the_domain_is_refused() -> None:
    state = state_of(draw(random.Random(0), "states", {"kind": "two_hop"}))
    with pytest.raises(ValueError, match="state cannot be 'Atlantis'"):
        with_value(state, "state", "Atlantis")


@settings(max_examples=60, deadline=None)
@given(seeds, st.sampled_from(TASKS))
def test_random_interventions_stay_inside_the_domain(seed: int, task: str) -> None:
    rng = random.Random(seed)
    drawn = sample(rng, "any", task)
    site, state = intervene(rng, drawn)
    assert site in sites(drawn, state_of(drawn))
    if site.variable not in (ANSWER, "repeated_name"):
        assert state.values[site.variable] in domain(task, site.variable)


@settings(max_examples=80, deadline=None)
@given(seeds, st.sampled_from(TASKS))
def test_gold_is_a_layered_graph_that_ends_in_the_answer(seed: int, task: str) -> None:
    drawn = sample(random.Random(seed), "any", task)
    gold = gold_circuit(drawn)
    assert len(set(gold.nodes)) == len(gold.nodes)
    for edge in gold.edges:
        assert edge.source in gold.nodes and edge.target in gold.nodes
        assert edge.source.layer < edge.target.layer
        assert edge.source.position <= edge.target.position
    answer = gold.nodes[-1]
    assert (answer.variable, answer.value) == (ANSWER, drawn.answer_word)
    sources = {edge.source for edge in gold.edges}
    assert all(node in sources for node in gold.nodes if node is not answer)
    assert all(drawn.words[node.position] == node.value for node in gold.nodes if node.variable == TOKEN)


def test_only_the_repeated_name_acts_through_attention_patterns() -> None:
    rng = random.Random(2)
    for task in TASKS:
        edges = gold_circuit(sample(rng, "any", task)).edges
        assert any(edge.by_attention_pattern for edge in edges) == (task == "indirect_objects")
