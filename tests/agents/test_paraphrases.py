"""The prompt in other words: which wordings are found, how features are found again, and what is measured there."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.agents.conftest import DALLAS
from tests.agents.test_experiments import answer_of, edge, necessity, run, silent_of, steering, sufficiency, texas_of
from tests.agents.test_planted_claims import supernode
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.case_tools import CaseTools
from tracescribe.agents.claims import Claim
from tracescribe.agents.findings import Measurement
from tracescribe.agents.testing.experiment_settings import ExperimentSettings
from tracescribe.agents.testing.paraphrases import counterpart_of, find_wordings
from tracescribe.agents.toolbox import Toolbox
from tracescribe.tracer.edits import ablation
from tracescribe.tracer.errors import SettingError
from tracescribe.tracer.graph import FeatureNode

IN_OTHER_WORDS = "people from Dallas know that the capital of their state is"
SEARCHED = ExperimentSettings(n_controls=50)


@pytest.fixture
def tools(embedded_toolbox: Toolbox) -> CaseTools:
    return embedded_toolbox.open(InterpretationCase("dallas", prompt=DALLAS), Budget())


def texas_in_other_words(tools: CaseTools, *paraphrases: str) -> Measurement:
    texas = texas_of(tools)
    settings = ExperimentSettings(n_controls=50, paraphrases=paraphrases)
    batch, _ = run(tools, [texas], [necessity(tools, texas)], settings)
    return batch.measurements[0]


def test_wordings_say_the_same_in_other_words(tools: CaseTools) -> None:
    """What is asked of every one of them, checked on the model itself."""
    for of, word in ((texas_of(tools), "Dallas"), (supernode(tools, "capital", [_at(tools, "capital")]), "capital")):
        found = find_wordings(tools, "c1", [m.node for m in of.members], 5)
        assert len(found) >= 3
        assert len(set(found)) == len(found) <= 5
        for prediction in tools.predict(found):
            assert prediction.token == "Austin"
        for prompt in found:
            words = prompt.split()
            assert word in words
            assert "Austin" not in words
            assert DALLAS not in prompt


def _at(tools: CaseTools, word: str) -> FeatureNode:
    position = tools.full.tokens.index(word)
    return next(node for node in tools.active_features() if node.position == position)


def test_the_search_is_the_same_each_time_and_keeps_to_its_number(tools: CaseTools, embedded_toolbox: Toolbox) -> None:
    again = embedded_toolbox.open(InterpretationCase("x", prompt=DALLAS), Budget())
    nodes = [m.node for m in texas_of(tools).members]
    found = find_wordings(tools, "c1", nodes, 5)
    assert find_wordings(again, "c1", nodes, 5) == found
    assert find_wordings(tools, "c1", nodes, 2) == found[:2]


def test_texas_is_needed_in_every_wording(tools: CaseTools) -> None:
    """The same feature, on the same word elsewhere in the sentence: the answer falls by as much."""
    texas = texas_of(tools)
    batch, verdicts = run(tools, [texas], [necessity(tools, texas), steering(tools, texas, -1.0, "down")], SEARCHED)
    assert [v.outcome for v in verdicts] == ["supported", "supported"]
    for plan, measured in zip(batch.plans, batch.measurements, strict=True):
        assert tuple(effect.prompt for effect in measured.paraphrases) == plan.paraphrases
        effects = np.array([effect.effect for effect in measured.paraphrases], dtype=np.float64)
        assert len(effects) >= 3 and (effects > math.log(2)).all()
        interval = measured.paraphrase_interval
        assert (
            interval is not None and effects.min() <= interval.low <= effects.mean() <= interval.high <= effects.max()
        )


def test_the_effect_in_another_wording_is_that_of_the_same_feature_there(tools: CaseTools) -> None:
    """By hand: the feature on 'Dallas' of the other sentence, ablated in a case of that sentence's own."""
    (effect,) = texas_in_other_words(tools, IN_OTHER_WORDS).paraphrases
    other = tools.toolbox.open(InterpretationCase("other", prompt=IN_OTHER_WORDS), Budget())
    (member,) = texas_of(tools).members
    there = FeatureNode(member.layer, other.full.tokens.index("Dallas"), member.feature)
    assert there in other.active_features()
    result = other.intervene([ablation([there])])
    token = tools.model.token_id("Austin")
    drop = float(result.clean_log_probabilities[token] - result.log_probabilities[0, token])
    assert effect.prompt == IN_OTHER_WORDS
    assert effect.effect == pytest.approx(drop, abs=1e-5)


def test_wordings_that_cannot_be_used_are_told_with_the_reason(tools: CaseTools) -> None:
    given = (
        DALLAS,  # the prompt itself is no other wording
        "Dalas is in a state whose capital is",
        "the capital of the state containing Miami is",
        "in Texas , the capital is",  # the same answer, but Dallas is not read there
        IN_OTHER_WORDS,
    )
    measured = texas_in_other_words(tools, *given)
    told = {effect.prompt: (effect.effect is not None, effect.why) for effect in measured.paraphrases}
    assert list(told) == list(given[1:])
    assert not told[given[1]][0] and "Dalas" in told[given[1]][1]
    assert not told[given[2]][0] and told[given[2]][1].startswith("the model answers 'Tallahassee' there, not 'Austin'")
    assert told[given[4]] == (True, "")
    assert measured.paraphrase_interval is None


def test_a_feature_is_found_on_its_word_or_as_far_from_the_end(tools: CaseTools) -> None:
    here, there = tools.clean(), tools.clean(IN_OTHER_WORDS)
    for node in tools.active_features():
        found = counterpart_of(here, there, node)
        assert found is not None and found[0::2] == node[0::2]
        assert there.activation(found) > 0
        assert int(there.tokens[found.position]) == int(here.tokens[node.position])
    silent = silent_of(tools).members[0].node
    assert counterpart_of(here, there, silent) is None


def test_only_claims_that_an_edit_can_repeat_get_wordings(tools: CaseTools) -> None:
    texas, answer = texas_of(tools), answer_of(tools)
    whole = supernode(tools, "two", [texas.members[0].node, answer.members[0].node])
    silent = silent_of(tools)
    claims: list[Claim] = [edge(tools, texas, answer), sufficiency(tools, whole), necessity(tools, silent)]
    batch, _ = run(tools, [texas, answer, whole, silent], claims, SEARCHED)
    drives, enough, nothing = batch.plans
    assert drives.paraphrases == () and nothing.paraphrases == ()  # a silent feature is nowhere to be found again
    assert enough.paraphrases
    assert len(batch.measurements[1].paraphrases) == len(enough.paraphrases)


def test_wordings_cost_forward_passes_and_can_be_left_out(embedded_toolbox: Toolbox) -> None:
    spent = []
    for n in (0, 4):
        tools = embedded_toolbox.open(InterpretationCase("x", prompt=DALLAS), Budget())
        texas = texas_of(tools)
        batch, _ = run(tools, [texas], [necessity(tools, texas)], ExperimentSettings(n_controls=50, n_paraphrases=n))
        assert len(batch.plans[0].paraphrases) == n
        spent.append(tools.meter.forward_passes)
    assert spent[1] == spent[0] + 4 * 2  # a clean run and an edited one in each
    with pytest.raises(SettingError, match="n_paraphrases is -1"):
        ExperimentSettings(n_paraphrases=-1)


def test_without_a_corpus_there_are_none_and_nothing_fails(embedded_toolbox: Toolbox) -> None:
    bare = Toolbox(model=embedded_toolbox.model, transcoders=embedded_toolbox.transcoders)
    tools = bare.open(InterpretationCase("x", prompt=DALLAS), Budget())
    texas = texas_of(tools)
    batch, _ = run(tools, [texas], [necessity(tools, texas)], SEARCHED)
    assert batch.plans[0].paraphrases == ()
    assert batch.measurements[0].paraphrases == () and batch.measurements[0].effect is not None
