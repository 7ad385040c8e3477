"""A scripted model in the place of a provider: same requests, same answers, no network."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Protocol

from tracescribe.agents.providers.completion import Completion, CompletionRequest, Endpoint, Usage

_FENCE = re.compile(r"<<<(DATA-[0-9a-f]{16}) ([a-z_]+)\n(.*?)\n\1>>>", re.DOTALL)
_FEATURE = re.compile(r"\b[Ff]eature (\d+/\d+)")
_BOOLEANS = re.compile(r"\b(\d+) booleans")
CHARS_PER_TOKEN = 4
"""For the bill: English runs at about four."""


@dataclass(frozen=True)
class Question:
    """A request as a scripted model reads it.

    Attributes:
        schema: name of the answer's schema.
        data: content of every data fence by its name: JSON values, or text where it is none.
        words: what stands outside the fences.
    """

    schema: str
    data: dict[str, Any]
    words: str

    @classmethod
    def of(cls, schema: str, text: str) -> Question:
        """From the first message of a request."""
        data = {name: _parsed(content) for _, name, content in _FENCE.findall(text)}
        return cls(schema, data, _FENCE.sub("", text))

    @property
    def feature(self) -> str | None:
        """The feature that is asked about, `layer/index`; None where none is named."""
        found = _FEATURE.search(self.words)
        return found.group(1) if found else None

    @property
    def n_booleans(self) -> int:
        """How many judgements are asked for; 0 where none are."""
        found = _BOOLEANS.search(self.words)
        return int(found.group(1)) if found else 0


class Mind(Protocol):
    """What a scripted model thinks."""

    def answer(self, question: Question) -> dict[str, Any]:
        """An answer that fits the schema asked for; an empty one where it is not known."""
        ...


@dataclass
class ScriptedClient:
    """A `LanguageModelClient` that asks a mind.

    Attributes:
        mind: what answers.
        name: of the model, as reports show it.
        asked: names of the schemas asked for, in order.
    """

    mind: Mind
    name: str
    asked: list[str] = field(default_factory=list)

    @property
    def endpoint(self) -> Endpoint:
        """Nowhere: nothing is sent."""
        return Endpoint(provider="local", base_url="scripted", model=self.name)

    def complete(self, request: CompletionRequest, *, seconds_left: float | None = None) -> Completion:
        """Answer one request, in no time."""
        self.asked.append(request.schema_name)
        text = json.dumps(self.mind.answer(Question.of(request.schema_name, request.messages[0].text)))
        read = sum(len(message.text) for message in request.messages) + len(request.system)
        usage = Usage(input_tokens=read // CHARS_PER_TOKEN, output_tokens=len(text) // CHARS_PER_TOKEN)
        return Completion(text=text, finish="stop", usage=usage, model=self.name)

    def close(self) -> None:
        """Nothing to close."""


def _parsed(content: str) -> Any:
    if content[:1] not in "[{":
        return content
    try:
        return json.loads(content)
    except json.JSONDecodeError:  # cut off by the fence's cap
        return content
