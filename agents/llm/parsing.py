"""From what a language model sent back to a valid answer, or to the error that says why there is none."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from tracescribe.agents.providers.completion import Completion
from tracescribe.agents.providers.errors import (
    EmptyAnswerError,
    MalformedAnswerError,
    RefusedAnswerError,
    TruncatedAnswerError,
)
from tracescribe.prompts.fences import visible

Answer = TypeVar("Answer", bound=BaseModel)

MAX_FAULTS_SHOWN = 8
"""Validation errors shown in a repair; the first few name the cause."""
MAX_PARTS = 16
"""JSON objects that are looked at in one answer; more are no answer."""
_THOUGHTS = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
MAX_WORDS_SHOWN = 800
"""Characters of a model's words, or of what is wrong with them, in a message."""


def parse_answer(completion: Completion, answer_type: type[Answer]) -> Answer:
    """A completion as a valid answer.

    Raises:
        TruncatedAnswerError: the token limit cut it off.
        RefusedAnswerError: the model or a filter declined.
        EmptyAnswerError: no text.
        MalformedAnswerError: not JSON, or not of the schema.
    """
    text = completion.text.strip()
    if completion.finish == "refusal":
        raise RefusedAnswerError(f"the model declined to answer: {_one_line(text) or 'without a reason'}")
    if completion.finish == "length":
        raise TruncatedAnswerError(
            f"the answer was cut off by the token limit after {completion.usage.output_tokens} tokens; "
            "raise max_tokens to give it more room"
        )
    if not text:
        raise EmptyAnswerError("the answer holds no text; expected one JSON object")
    first_error: ValidationError | None = None
    for part in _json_parts(text):
        try:
            return answer_type.model_validate_json(part)
        except ValidationError as error:
            first_error = first_error or error
    assert first_error is not None
    faults = [f"{'.'.join(map(str, fault['loc'])) or 'answer'}: {fault['msg']}" for fault in first_error.errors()]
    raise MalformedAnswerError(
        f"the answer does not fit {answer_type.__name__}: {_one_line('; '.join(faults[:MAX_FAULTS_SHOWN]))}"
    )


def _one_line(text: str) -> str:
    """The model's own words in a message: on one line, nothing hidden, of bounded length."""
    return visible(" ".join(text.split()))[:MAX_WORDS_SHOWN]


def _json_parts(text: str) -> Iterator[str]:
    """Where the answer may stand in what was said, likeliest first: all from the first brace to the last, then whole objects, longest first.

    Models without a schema mode put it between words or code fences, and some think aloud first.
    """
    spoken = _THOUGHTS.sub("", text).strip() or text
    start, end = spoken.find("{"), spoken.rfind("}")
    yield spoken[start : end + 1] if 0 <= start < end else spoken
    decoder = json.JSONDecoder()
    whole: list[str] = []
    while 0 <= start and len(whole) < MAX_PARTS:
        try:
            _, stop = decoder.raw_decode(spoken, start)
        except (ValueError, RecursionError):
            break  # what lies within a broken object is no answer
        whole.append(spoken[start:stop])
        start = spoken.find("{", stop)
    yield from sorted(whole, key=len, reverse=True)
