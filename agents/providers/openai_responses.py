"""OpenAI's Responses API through the official SDK.

Nothing is kept at the provider (`store` is off): the conversation is sent whole each time, so that a request's hash
stands for all that the model saw. What a server may refuse, and what is sent instead:

    text.format    json_schema -> json_object -> none (the schema then stands in the instructions)
    temperature    sent -> left out
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from tracescribe.agents.providers.completion import Completion, CompletionRequest
from tracescribe.agents.providers.faults import stream_fault
from tracescribe.agents.providers.openai_chat import Finish
from tracescribe.agents.providers.openai_sdk import OpenAISdkClient
from tracescribe.agents.providers.sdk_client import counted, response_id, roles_and_texts, told, with_schema
from tracescribe.agents.providers.secrets import redact

_LAST_EVENTS = ("response.completed", "response.incomplete", "response.failed")


@dataclass(frozen=True)
class _Dialect:
    """What this server has been found to accept."""

    answer_format: Literal["json_schema", "json_object", "none"] = "json_schema"
    temperature: bool = True
    steps: int = 0

    def adapted(self, words: str) -> _Dialect | None:
        """The dialect without what the server's words refuse; None where they refuse nothing that can change."""
        said = words.lower()
        if "temperature" in said and self.temperature:
            return replace(self, temperature=False, steps=self.steps + 1)
        formats = ("text.format", "text_format", "json_schema", "json_object")
        if any(name in said for name in formats) and self.answer_format != "none":
            weaker: Literal["json_object", "none"] = "json_object" if self.answer_format == "json_schema" else "none"
            return replace(self, answer_format=weaker, steps=self.steps + 1)
        return None


@dataclass(eq=False)
class OpenAIResponsesClient(OpenAISdkClient[_Dialect]):
    """The Responses API."""

    expected: ClassVar[str] = "a response object"

    def _first_dialect(self) -> _Dialect:
        return _Dialect()

    def _send(self, request: CompletionRequest, dialect: _Dialect, options: dict[str, Any]) -> Completion:
        parameters = _parameters(request, dialect)
        if not self.stream:
            return self._completion(request, self._sdk.responses.create(**parameters, **options))
        last = None
        with self._sdk.responses.create(**parameters, **options, stream=True) as events:
            for event in events:
                if event.type == "error":
                    words = redact(str(getattr(event, "message", "") or ""), self.key)
                    raise stream_fault(self._who, {"code": getattr(event, "code", "")}, words)
                if event.type in _LAST_EVENTS:
                    last = event.response
        if last is None:
            raise self._broke_off()
        return self._completion(request, last)

    def _completion(self, request: CompletionRequest, response: Any) -> Completion:
        status = getattr(response, "status", None)
        error = getattr(response, "error", None)
        if status == "failed" or error is not None:
            code, message = getattr(error, "code", ""), getattr(error, "message", "")
            raise stream_fault(self._who, {"code": code}, redact(str(message), self.key))
        output = getattr(response, "output", None)
        if status not in ("completed", "incomplete") or output is None:
            raise self._no_answer()
        parts = [part for item in output if item.type == "message" for part in item.content or ()]
        text = "".join(part.text for part in parts if part.type == "output_text")
        refusal = "".join(part.refusal for part in parts if part.type == "refusal")
        refused = any(part.type == "refusal" for part in parts)
        finish: Finish = "refusal" if refused else "stop"
        if status == "incomplete":
            reason = getattr(getattr(response, "incomplete_details", None), "reason", None)
            finish = "refusal" if refused or reason == "content_filter" else "length"
        said, account = refusal if refused else text, getattr(response, "usage", None)
        usage = counted(request, said, told(account, "input_tokens"), told(account, "output_tokens"))
        model = str(getattr(response, "model", "") or "")
        return Completion(text=said, finish=finish, usage=usage, model=model, response_id=response_id(response))


def _parameters(request: CompletionRequest, dialect: _Dialect) -> dict[str, Any]:
    system = request.system
    if dialect.answer_format != "json_schema":
        system = with_schema(system, json.dumps(request.answer_schema, ensure_ascii=False))
    parameters: dict[str, Any] = {
        "model": request.endpoint.model,
        "instructions": system,
        "input": roles_and_texts(request),
        "max_output_tokens": request.max_tokens,
        "store": False,
    }
    if dialect.temperature and request.temperature is not None:
        parameters["temperature"] = request.temperature
    if dialect.answer_format == "json_schema":
        shape = {"type": "json_schema", "name": request.schema_name, "schema": request.answer_schema, "strict": True}
        parameters["text"] = {"format": shape}
    elif dialect.answer_format == "json_object":
        parameters["text"] = {"format": {"type": "json_object"}}
    return parameters
