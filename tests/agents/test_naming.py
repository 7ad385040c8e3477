"""Names of supernodes where no label's predicate holds, and donors that differ in both words of a name."""

from __future__ import annotations

import numpy as np
import pytest

from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.case_tools import CaseTools
from tracescribe.agents.grouping.graph_facts import GraphFacts, graph_facts
from tracescribe.agents.grouping.naming import FULL_SHARE, SAME_THING, fires_fully, seen_with
from tracescribe.agents.labelling.labels import LabelSettings
from tracescribe.agents.labelling.triggers import read_firing
from tracescribe.agents.offline import OfflineProposer, by_feature
from tracescribe.agents.survey import make_survey
from tracescribe.agents.testing.donors import DonorSettings, find_donors
from tracescribe.agents.toolbox import Toolbox


def opened(toolbox: Toolbox, prompt: str) -> tuple[CaseTools, GraphFacts]:
    tools = toolbox.open(InterpretationCase("x", prompt=prompt), Budget())
    return tools, graph_facts(tools.full)


@pytest.mark.parametrize("prompt", ["8 + 6 =", "le contraire de ancho est", "the sport of Hank Aaron is"])
def test_a_feature_is_named_by_words_that_it_was_seen_with_alone(embedded_toolbox: Toolbox, prompt: str) -> None:
    tools, facts = opened(embedded_toolbox, prompt)
    corpus = tools.corpus
    assert corpus is not None
    store, found = corpus.store, 0
    for node in facts.row_of:
        firing = read_firing(store, store.dense(node.ref), LabelSettings().strong_share)
        for on, ids in (("token", firing.token), ("next", firing.following)):
            fired_with = {store.token_texts[int(i)] for i in ids[firing.fires]}
            for word in (*sorted(fired_with)[:3], "no such word"):
                words = seen_with(corpus, node, "token" if on == "token" else "next", word)
                assert set(words) <= fired_with
                assert bool(words) == (word in fired_with and len(fired_with) <= SAME_THING)
                assert not words or words[0] == word
                found += bool(words)
    assert found


def test_firing_fully_is_a_share_of_the_largest_activation_in_the_corpus(embedded_toolbox: Toolbox) -> None:
    told = set()
    for prompt in ("the sport of Hank Aaron is", "after Emma and Sarah left the library , Emma sent a ring to"):
        tools, facts = opened(embedded_toolbox, prompt)
        corpus = tools.corpus
        assert corpus is not None
        for node in facts.row_of:
            most = float(np.max(corpus.store.dense(node.ref)[corpus.labelling], initial=0.0))
            here = float(facts.graph.nodes.activation[facts.graph.node_of_feature[node]])
            full = fires_fully(tools, facts, node)
            assert full == (most > 0 and here >= FULL_SHARE * most)
            told.add(full)
    assert told == {True, False}, "some of these features fire fully and others do not"


def test_what_stands_for_a_name_of_two_words_finds_donors_that_differ_in_both(embedded_toolbox: Toolbox) -> None:
    tools, facts = opened(embedded_toolbox, "the sport of Mario Pruitt is")
    survey, proposer = make_survey(tools), OfflineProposer()
    labels = proposer.label(tools, survey).items
    supernodes = proposer.group(tools, survey, labels).items
    assert by_feature(labels)
    at_the_name = [s for s in supernodes if all(m.position == 5 for m in s.members) and s.influence > 0.3]
    assert at_the_name
    answers = set()
    for supernode in at_the_name:
        for donor in find_donors(tools, facts, supernode, DonorSettings()):
            assert {position for position, _ in donor.changed} <= {4, 5}
            assert donor.expected_token != "unknown"
            answers.add(donor.expected_token)
    assert answers, "no pair of a known first name and another last name answers otherwise; both must change"
