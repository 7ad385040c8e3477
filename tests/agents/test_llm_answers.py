"""Answer schemas: what strict modes accept, and what validation refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from tracescribe.agents.llm.actions import ALLOWED, InvestigatorAnswer
from tracescribe.agents.llm.answers import (
    ClaimsAnswer,
    FeatureLabelAnswer,
    OneShotAnswer,
    RevisionAnswer,
    SupernodeAnswer,
    SupernodesAnswer,
)
from tracescribe.agents.llm.case_view import fitting, newest_fitting
from tracescribe.agents.llm.label_judge import JudgementsAnswer
from tracescribe.agents.providers.answer_schema import strict_schema
from tracescribe.agents.providers.faults import retry_after_seconds
from tracescribe.agents.providers.secrets import redact
from tracescribe.prompts import list_prompts, load_prompt
from tracescribe.prompts.template import PromptInput

ANSWERS: tuple[type[BaseModel], ...] = (
    FeatureLabelAnswer,
    SupernodesAnswer,
    ClaimsAnswer,
    RevisionAnswer,
    OneShotAnswer,
    InvestigatorAnswer,
    JudgementsAnswer,
)


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from _parts(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _parts(value)


@pytest.mark.parametrize("answer", ANSWERS)
def test_schemas_keep_to_what_strict_modes_accept(answer: type[BaseModel]) -> None:
    schema = strict_schema(answer)
    objects = [part for part in _parts(schema) if part.get("type") == "object"]
    assert objects
    for part in objects:
        assert part["additionalProperties"] is False
        assert sorted(part["required"]) == sorted(part["properties"])
    unsupported = {"oneOf", "discriminator", "minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum"}
    named = {name for part in _parts(schema) for name in part.get("properties", {})}
    assert not unsupported & {key for part in _parts(schema) for key in part} - named


def test_every_prompt_names_a_schema_that_exists() -> None:
    of_scorers = {"NameJudgementAnswer"}  # what judges names against gold has its schema where gold may be seen
    schemas = {template.output_schema for template in list_prompts()} - {"none", *of_scorers}
    assert schemas == {answer.__name__ for answer in ANSWERS}


def test_the_tools_are_those_of_the_prompt_and_no_text_can_add_one() -> None:
    """The union of actions is closed: a tool that the schema does not hold is no answer, whoever asked for it."""
    tools = {
        const
        for part in _parts(strict_schema(InvestigatorAnswer))
        if (const := part.get("properties", {}).get("tool", {}).get("const"))
    }
    assert tools == set().union(*ALLOWED.values())
    (template,) = [template for template in list_prompts() if template.name == "investigate"]
    assert all(f"`{tool}`" in template.system for tool in tools)
    with pytest.raises(ValidationError, match="run_experiment"):
        InvestigatorAnswer.model_validate({"actions": [{"tool": "run_experiment", "claim": "c1"}]})
    with pytest.raises(ValidationError, match="Extra inputs"):
        InvestigatorAnswer.model_validate({"actions": [{"tool": "finish", "reason": "", "verdict": "supported"}]})


@pytest.mark.parametrize(
    ("members", "fits"), [(["3/17@5"], True), ([], False), (["x" * 41], False), (["\u202e", "anything"], True)]
)
def test_a_supernode_names_groups_or_members(members: list[str], fits: bool) -> None:
    given = {"members": members, "label": "Texas", "role": "intermediate"}
    if fits:
        assert SupernodeAnswer.model_validate(given).groups == []
    else:
        with pytest.raises(ValidationError):
            SupernodeAnswer.model_validate(given)


def test_what_a_feature_means_here_is_one_short_line() -> None:
    given = {"text": "a", "reads": "input", "predicate": {"on": "token", "words": ["a"]}}
    assert FeatureLabelAnswer.model_validate(given).here == ""
    long = FeatureLabelAnswer.model_validate(given | {"here": "x\n" * 500 + "\u202e"}).here
    assert len(long) <= 160 and "\n" not in long


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ({"kind": "steering", "supernode": "s1", "multiplier": 1, "expected_token": "a", "direction": "up"}, "differ"),
        ({"kind": "steering", "supernode": "s1", "multiplier": 1e9, "expected_token": "a", "direction": "up"}, "10"),
        ({"kind": "edge", "source": "s1", "destination": "s2", "sign": 0}, "1 or -1"),
        ({"kind": "verdict", "claim": "c1", "outcome": "supported"}, "expected tags"),
        ({"kind": "swap", "donor": "d1", "outcome": "supported"}, "Extra inputs"),
    ],
)
def test_answers_beyond_their_schema_are_refused(answer: dict[str, object], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        ClaimsAnswer.model_validate({"claims": [answer]})


def test_labels_hide_nothing() -> None:
    answer = SupernodeAnswer(groups=["s1"], label="say\n Austin\u202e\u200b", role="output")
    assert answer.label == "say Austin\\u{202e}\\u{200b}"
    with pytest.raises(ValidationError, match="can be seen"):
        SupernodeAnswer(groups=["s1"], label=" \n ", role="output")


def test_retry_after_is_read_in_all_its_forms() -> None:
    assert retry_after_seconds({"retry-after": "2.5"}, 0) == 2.5
    assert retry_after_seconds({"retry-after-ms": "1500", "retry-after": "9"}, 0) == 1.5
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    headers = {"retry-after": format_datetime(moment, usegmt=True)}
    assert retry_after_seconds(headers, moment.timestamp() - 12) == 12
    assert retry_after_seconds(headers, moment.timestamp() + 5) == 0
    assert retry_after_seconds({"retry-after": "soon"}, 0) is None and retry_after_seconds({}, 0) is None


@pytest.mark.parametrize("text", ["key sk-abcdef123456 bad", "Bearer abc.def-123 bad", "my-own-key bad"])
def test_words_shaped_like_keys_are_cut_out(text: str) -> None:
    assert redact(text, "my-own-key").endswith("] bad")
    assert len(redact("long " * 500, "")) < 260


@given(
    st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=60), max_size=4), max_size=30), st.integers(2, 900)
)
@settings(max_examples=150, deadline=None)
def test_what_fits_is_never_cut_in_the_middle_of_a_row(rows: list[dict[str, str]], limit: int) -> None:
    """Whatever characters the rows hold, the kept ones are valid JSON within the fence's limit."""
    kept = fitting(rows, limit)
    assert (
        kept == rows[: len(kept)]
        and newest_fitting(rows, limit) == rows[len(rows) - len(newest_fitting(rows, limit)) :]
    )
    template = load_prompt("name_supernodes@2.0.0")
    room = {"groups": PromptInput(kind="data", about="rows of any kind", max_chars=max(limit, 2))}
    shown = template.model_copy(update={"inputs": room, "system": "", "user": "{{ groups }}"}).render({"groups": kept})
    content = shown.user.split("\n", 1)[1].rsplit("\n", 1)[0]
    assert len(json.loads(content)) == len(kept)
