"""From what a language model sent back to a valid answer, or to the error that says why there is none."""

from __future__ import annotations

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
    try:
        return answer_type.model_validate_json(_json_part(text))
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'answer'}: {fault['msg']}" for fault in error.errors()]
        raise MalformedAnswerError(
            f"the answer does not fit {answer_type.__name__}: {_one_line('; '.join(faults[:MAX_FAULTS_SHOWN]))}"
        ) from None


def _one_line(text: str) -> str:
    """The model's own words in a message: on one line, nothing hidden, of bounded length."""
    return visible(" ".join(text.split()))[:MAX_WORDS_SHOWN]


def _json_part(text: str) -> str:
    """The JSON object within an answer: models without a schema mode put it between words or code fences."""
    start, end = text.find("{"), text.rfind("}")
    return text[start : end + 1] if 0 <= start < end else text
