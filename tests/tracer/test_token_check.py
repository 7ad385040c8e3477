"""A graph tells the words of its token ids, and no others."""

from __future__ import annotations

import dataclasses

import pytest

from tests.agents.conftest import DALLAS
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.toolbox import Toolbox, load_toolbox
from tracescribe.tracer.attribution import attribute
from tracescribe.tracer.errors import GraphFormatError, PromptError
from tracescribe.tracer.graph import AttributionGraph
from tracescribe.tracer.token_check import check_tokens


@pytest.fixture(scope="module")
def toolbox() -> Toolbox:
    return load_toolbox(evidence=None)


@pytest.fixture(scope="module")
def graph(toolbox: Toolbox) -> AttributionGraph:
    assert toolbox.model is not None and toolbox.transcoders is not None
    return attribute(toolbox.model, toolbox.transcoders, DALLAS)


def test_a_graph_as_traced_passes_from_words_and_from_ids(toolbox: Toolbox, graph: AttributionGraph) -> None:
    assert toolbox.model is not None and toolbox.transcoders is not None
    check_tokens(graph, toolbox.model)
    check_tokens(attribute(toolbox.model, toolbox.transcoders, toolbox.model.encode(DALLAS)), toolbox.model)
    check_tokens(dataclasses.replace(graph, token_ids=()), toolbox.model)


@pytest.mark.parametrize("without_ids", [False, True])
def test_another_word_in_the_place_of_a_token_is_refused(
    toolbox: Toolbox, graph: AttributionGraph, without_ids: bool
) -> None:
    ids = () if without_ids else graph.token_ids
    tokens = tuple("Oakland" if token == "Dallas" else token for token in graph.tokens)
    lies = dataclasses.replace(graph, tokens=tokens, token_ids=ids)
    assert toolbox.model is not None
    with pytest.raises(GraphFormatError, match="calls its token 7 'Oakland', but token id [0-9]+ is 'Dallas'"):
        check_tokens(lies, toolbox.model)
    whole = dataclasses.replace(graph, tokens=tokens, prompt=DALLAS.replace("Dallas", "Oakland"))
    with pytest.raises(GraphFormatError, match="'Oakland'"):
        toolbox.open(InterpretationCase("lie", graph=whole), Budget())


def test_another_prompt_over_the_same_tokens_is_refused(toolbox: Toolbox, graph: AttributionGraph) -> None:
    assert toolbox.model is not None
    for prompt in (DALLAS.replace("Dallas", "Oakland"), "words that it does not know", ""):
        with pytest.raises(GraphFormatError, match="but its token ids read"):
            check_tokens(dataclasses.replace(graph, prompt=prompt), toolbox.model)


def test_ids_outside_the_vocabulary_are_refused(toolbox: Toolbox, graph: AttributionGraph) -> None:
    assert toolbox.model is not None
    with pytest.raises(GraphFormatError, match="vocabulary has"):
        check_tokens(dataclasses.replace(graph, token_ids=(10**6,) * graph.n_pos), toolbox.model)
    with pytest.raises(PromptError):
        check_tokens(dataclasses.replace(graph, token_ids=(), prompt="words that it does not know"), toolbox.model)
