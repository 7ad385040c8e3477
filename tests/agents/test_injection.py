"""Hostile text in contexts, tokens, clerps, titles and answers: what a language model is sent around it never changes.

Every text of `injection_strings` at every place where a stranger's text can stand. Outside its data fences a request
must be, byte for byte, the request of the clean case; inside, nothing is hidden and nothing is longer than its cap.
What a model that obeys such a text can do is in `test_injection_loop.py`, what readers see in `test_injection_output.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial

import pytest

from tests.agents.fake_server import Question
from tests.agents.fake_thinker import think
from tests.agents.injection_strings import HARD, INJECTIONS, LONG, MARK, poisoned
from tracescribe.agents.budget import Budget
from tracescribe.agents.calls.call_log import MemoryCallLog
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.llm.agent import PROPOSERS
from tracescribe.agents.llm.answers import MAX_LABEL_CHARS
from tracescribe.agents.llm.session import LlmSession
from tracescribe.agents.llm.settings import STYLES, LlmAgentSettings, Style
from tracescribe.agents.providers.completion import Completion, CompletionRequest, Endpoint, Usage
from tracescribe.agents.providers.settings import ProviderSettings
from tracescribe.agents.survey import make_survey
from tracescribe.agents.toolbox import Toolbox
from tracescribe.prompts import PromptTemplate, list_prompts
from tracescribe.prompts.fences import is_hidden, visible
from tracescribe.tracer.errors import ProviderError, SettingError
from tracescribe.tracer.graph import AttributionGraph, NodeKind

WORD = "Dallas"
"""A word of the prompt: what stands in its place reaches contexts, tables of words and the prompt's own tokens."""
PROVIDER = ProviderSettings(provider="openai", model="fake-1", base_url="http://127.0.0.1:9", concurrency=1)
CONTEXTS = ("contexts", "features", "transcript")
"""Blocks that hold what was read in the corpus, in each style."""
TEXTS_IN_A_GRAPH = 40
"""As clerps of one graph, which has a few nodes more."""
LONGEST_OUTPUT = 100
"""Characters of an output token that survive blinding; a longer one is no token."""
CUT_NOTE = 40
"""Room for the line that says how much was cut."""

by_name = pytest.mark.parametrize("name", INJECTIONS)
by_style_and_name = pytest.mark.parametrize(
    ("style", "name"),
    [(style, name) for style in STYLES for name in (INJECTIONS if style == STYLES[0] else HARD)],
)
"""Every text in the default style; in the others, which send the same data through the same fences, the hardest."""


Answering = Callable[[CompletionRequest, int], str]
"""Answers a request, given with the number of those before it."""


class Recorder:
    """A client without a network: it keeps what it was sent, and answers as it is told."""

    def __init__(self, answer: Answering) -> None:
        self.endpoint = Endpoint(provider="openai", base_url="http://127.0.0.1:9", model="fake-1")
        self.requests: list[CompletionRequest] = []
        self.answers: list[str] = []
        self._answer = answer

    def complete(self, request: CompletionRequest, *, seconds_left: float | None = None) -> Completion:
        """Keep the request; answer it."""
        text = self._answer(request, len(self.requests))
        self.requests.append(request)
        self.answers.append(text)
        return Completion(text=text, finish="stop", usage=Usage(), model="fake-1")

    def close(self) -> None:
        """Nothing to give back."""


def thinking(request: CompletionRequest, number: int) -> str:
    """The fake model's answer."""
    turns = tuple(message.text for message in request.messages)
    return think(Question("openai", "", {}, {}, request.system, turns, request.schema_name)).text


def asked(toolbox: Toolbox, graph: AttributionGraph, style: Style, answer: Answering) -> Recorder:
    """What an agent sends about a graph: labels where there is evidence; without weights, all until the claims."""
    tools = toolbox.open(InterpretationCase("x", graph=graph), Budget())
    survey = make_survey(tools)
    client = Recorder(answer)
    settings = LlmAgentSettings(PROVIDER, style, max_labels=5)
    proposer = PROPOSERS[style](settings, LlmSession(PROVIDER, client, MemoryCallLog()))
    with suppress(ProviderError):
        labels = proposer.label(tools, survey).items
        if toolbox.model is None:
            supernodes = proposer.group(tools, survey, labels).items
            proposer.hypothesise(tools, survey, labels, supernodes)
    return client


@dataclass(frozen=True, eq=False)
class Clean:
    """The clean case: graph, toolbox, and what an agent sends about it."""

    graph: AttributionGraph
    toolbox: Toolbox
    style: Style
    sent: Recorder

    def again(self, toolbox: Toolbox, graph: AttributionGraph) -> list[CompletionRequest]:
        """What is sent about another graph by a model that answers as it did about the clean one."""
        return asked(toolbox, graph, self.style, lambda _, number: self.sent.answers[number]).requests


ByStyle = Callable[[Style], Clean]


@pytest.fixture(scope="module")
def clean(dallas_graph: AttributionGraph) -> ByStyle:
    """An imported graph without weights: every step until the claims takes milliseconds."""
    outputs = set(dallas_graph.of_kind(NodeKind.LOGIT).tolist())
    labels = tuple(label if n in outputs else f"clerp {n}" for n, label in enumerate(dallas_graph.labels))
    graph = replace(dallas_graph, labels=labels)
    return cache(lambda style: Clean(graph, Toolbox(), style, asked(Toolbox(), graph, style, thinking)))


@pytest.fixture(scope="module")
def with_evidence(embedded_toolbox: Toolbox, dallas_graph: AttributionGraph) -> ByStyle:
    """The same graph with the corpus that the evidence comes from; labels alone are asked for."""
    toolbox = embedded_toolbox
    return cache(lambda style: Clean(dallas_graph, toolbox, style, asked(toolbox, dallas_graph, style, thinking)))


def in_corpus(clean: Clean, text: str) -> tuple[Toolbox, AttributionGraph]:
    """The text as a token of the evidence: it stands in contexts, tables of words and next tokens."""
    store = clean.toolbox.evidence
    assert store is not None
    texts = {token: text if word.strip() == WORD else word for token, word in store.token_texts.items()}
    assert text in texts.values()
    hostile = replace(store, token_texts=texts)
    return replace(clean.toolbox, evidence=hostile, features=hostile), clean.graph


def in_prompt(clean: Clean, text: str) -> tuple[Toolbox, AttributionGraph]:
    """The text as a token of the graph's prompt."""
    tokens = tuple(text if token.strip() == WORD else token for token in clean.graph.tokens)
    assert text in tokens
    return clean.toolbox, replace(clean.graph, tokens=tokens)


def in_whole_prompt(clean: Clean, text: str) -> tuple[Toolbox, AttributionGraph]:
    """The text as the prompt that the graph says it was traced from."""
    return clean.toolbox, replace(clean.graph, prompt=text)


def in_outputs(clean: Clean, text: str) -> tuple[Toolbox, AttributionGraph]:
    """The text as the model's most probable next token, which a graph tells in its outputs' labels."""
    labels = tuple(label.replace("Austin", text) for label in clean.graph.labels)
    assert labels != clean.graph.labels
    return clean.toolbox, replace(clean.graph, labels=labels)


def in_prompt_and_outputs(clean: Clean, text: str) -> tuple[Toolbox, AttributionGraph]:
    """Both at once."""
    toolbox, graph = in_prompt(clean, text)
    return toolbox, in_outputs(replace(clean, graph=graph), text)[1]


def in_names(clean: Clean, texts: tuple[str, ...]) -> tuple[Toolbox, AttributionGraph]:
    """The texts in turn as clerps of all nodes but the outputs, as titles, slugs and other words that a file may hold."""
    graph, text = clean.graph, "".join(texts)
    clerps = [n for n, label in enumerate(graph.labels) if label.startswith("clerp")]
    assert len(clerps) >= len(texts), "each text must stand somewhere"
    said = {n: texts[at % len(texts)] for at, n in enumerate(clerps)}
    labels = tuple(said.get(n, label) for n, label in enumerate(graph.labels))
    extra = {"metadata": {"slug": text, "title": text, "info": {"creator_name": text}}, "supernodes": [[text, text]]}
    provenance = {key: text if isinstance(value, str) else value for key, value in graph.provenance.items()}
    provenance |= {"note": text, text: text}
    return clean.toolbox, replace(graph, labels=labels, extra=extra, provenance=provenance)


Placement = Callable[[Clean, str], tuple[Toolbox, AttributionGraph]]
SHOWN: tuple[Placement, ...] = (in_prompt, in_outputs, in_prompt_and_outputs)
"""Places of a graph whose text a model reads."""


def split(message: str) -> tuple[str, list[tuple[str, str]]]:
    """A message without its data, and the data by name: read line by line, as anybody can who knows the rule."""
    outside: list[str] = []
    blocks: list[tuple[str, str]] = []
    inside: list[str] = []
    boundary = name = ""
    for line in message.split("\n"):
        if not boundary and line.startswith("<<<DATA-"):
            boundary, name = line[3:].split(" ")
            inside = []
        elif boundary and line == f"{boundary}>>>":
            blocks.append((name, "\n".join(inside)))
            outside.append(f"[{name}]")
            boundary = ""
        elif boundary:
            inside.append(line)
        else:
            outside.append(line)
    assert not boundary, "a fence was never closed"
    return "\n".join(outside), blocks


def frame(request: CompletionRequest) -> dict[str, object]:
    """A request without its data: what decides the task, the tools and the form of the answer."""
    outside = [split(message.text)[0] for message in request.messages if message.role == "user"]
    return {**request.model_dump(exclude={"messages"}), "outside": outside}


CAPS = {
    (template.reference, name): about.max_chars
    for template in list_prompts()
    for name, about in template.inputs.items()
    if about.kind == "data"
}


def _without_numbers(request: CompletionRequest) -> str:
    return re.sub(r"[0-9]+", "N", str(frame(request)))


def assert_data_is_tame(request: CompletionRequest, like: CompletionRequest | None = None) -> None:
    """Nothing hidden, nothing above its cap; JSON where it is JSON in a like request, unless it was cut."""
    json_blocks = set() if like is None else {n for n, c in split(like.messages[0].text)[1] if c[:1] in "[{"}
    for message in request.messages:
        if message.role != "user":
            continue
        assert not [c for c in set(message.text) if c not in "\n\t" and is_hidden(c)]
        for name, content in split(message.text)[1]:
            cap = CAPS.get((request.template, name), CAPS["repair_answer@1.0.0", "fault"])
            assert len(content) <= cap + CUT_NOTE
            if name in json_blocks and not content.rsplit("\n", 1)[-1].startswith("[cut: "):
                json.loads(content)


def assert_contained(clean: Clean, place: Placement, name: str) -> None:
    """The text is read as data, and everything around it is as without it."""
    requests, calm = clean.again(*place(clean, INJECTIONS[name])), clean.sent.requests
    # a text so long that fewer rows of a table fit changes how many are said to be left out, and nothing else
    told = _without_numbers if name in LONG else frame
    assert [told(request) for request in requests] == [told(request) for request in calm]
    for request, like in zip(requests, calm, strict=True):
        assert_data_is_tame(request, like)
    blocks = [block for request in requests for block in split(request.messages[0].text)[1]]
    shown = any(MARK in content for block, content in blocks if place is not in_corpus or block in CONTEXTS)
    dropped = place is in_outputs and len(INJECTIONS[name]) > LONGEST_OUTPUT
    assert shown or dropped or place is in_whole_prompt, "the text must have reached a prompt, or this shows nothing"


@pytest.mark.parametrize(
    ("place", "style", "name"),
    [(place, STYLES[0], name) for place in SHOWN[:2] for name in HARD]
    + [(SHOWN[2], style, name) for style in STYLES for name in (INJECTIONS if style == STYLES[0] else HARD)],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_what_is_shown_changes_nothing_around_it(clean: ByStyle, place: Placement, style: Style, name: str) -> None:
    assert_contained(clean(style), place, name)


@by_style_and_name
def test_contexts_change_nothing_around_them(with_evidence: ByStyle, style: Style, name: str) -> None:
    assert_contained(with_evidence(style), in_corpus, name)


@pytest.mark.parametrize("name", LONG)
def test_a_token_of_thousands_of_characters_crowds_no_row_out(clean: ByStyle, name: str) -> None:
    calm = clean("pipeline")
    shown, like = (calm.again(*in_prompt(calm, text)) for text in (INJECTIONS[name], f"{MARK} in short"))
    assert [_rows(request) for request in shown] == [_rows(request) for request in like]


def _rows(request: CompletionRequest) -> dict[str, int]:
    """Number of rows in each table; a table that was cut is none."""
    blocks = split(request.messages[0].text)[1]
    return {name: len(json.loads(content)) for name, content in blocks if content[:1] in "[{"}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", HARD)
def test_a_prompt_that_a_graph_only_claims_changes_nothing(clean: ByStyle, style: Style, name: str) -> None:
    assert_contained(clean(style), in_whole_prompt, name)


@pytest.mark.parametrize("style", STYLES)
def test_what_strangers_call_a_graph_reaches_no_prompt(clean: ByStyle, style: Style) -> None:
    calm = clean(style)
    texts = tuple(INJECTIONS.values())
    for start in range(0, len(texts), TEXTS_IN_A_GRAPH):
        requests = calm.again(*in_names(calm, texts[start : start + TEXTS_IN_A_GRAPH]))
        assert [request.sha256 for request in requests] == [request.sha256 for request in calm.sent.requests]


@by_name
def test_every_template_holds_every_text_in_every_data_input(name: str) -> None:
    text = INJECTIONS[name]
    for template in list_prompts():
        for value in (text, [{"text": text, text: [text]}]):
            calm, hostile = template.render(_filled(template, "calm")), template.render(_filled(template, value))
            assert hostile.system == calm.system
            assert split(hostile.user)[0] == split(calm.user)[0]
            for data_name, content in split(hostile.user)[1]:
                cap = CAPS[template.reference, data_name]
                assert content.startswith(visible(text)[:cap]) if value is text else len(content) <= cap + CUT_NOTE


@by_name
def test_no_template_takes_any_text_where_a_value_stands(name: str) -> None:
    for template in list_prompts():
        for value in [key for key, about in template.inputs.items() if about.kind == "value"]:
            with pytest.raises(SettingError, match="expected a number or an identifier"):
                template.render({**_filled(template, "calm"), value: INJECTIONS[name]})


def _filled(template: PromptTemplate, value: object) -> dict[str, object]:
    return {name: value if about.kind == "data" else 1 for name, about in template.inputs.items()}


@by_name
def test_what_a_model_answers_is_data_in_the_next_question(clean: ByStyle, name: str) -> None:
    """A model that was talked into it returns the text as label, reason and name of every group."""
    calm = clean("pipeline")
    known = {_key(request) for request in calm.sent.requests}
    text = INJECTIONS[name]
    # what is too long for a label is refused and asked for again; a dozen of those show that
    for said in {text[:MAX_LABEL_CHARS], text if name in HARD else text[:MAX_LABEL_CHARS]}:
        requests = asked(calm.toolbox, calm.graph, calm.style, partial(_talked_into, said)).requests
        for request in requests:
            assert_data_is_tame(request)
            assert _key(request) in known
            for number, repair in enumerate(m.text for m in request.messages[1:] if m.role == "user"):
                assert split(repair)[0] == _repair_frame(number + 1)


def _talked_into(text: str, request: CompletionRequest, number: int) -> str:
    return json.dumps(poisoned(json.loads(thinking(request, number)), text))


def _key(request: CompletionRequest) -> str:
    first = request.model_copy(update={"messages": request.messages[:1], "max_tokens": 1})
    return json.dumps(frame(first), sort_keys=True, default=str)


def _repair_frame(attempt: int) -> str:
    from tracescribe.prompts import render

    return split(render("repair_answer", attempt=attempt, fault="x").user)[0]


def test_the_suite_is_as_large_as_it_says() -> None:
    assert len(INJECTIONS) >= 60 and len(set(INJECTIONS.values())) == len(INJECTIONS)
    assert all(MARK in text for text in INJECTIONS.values())
