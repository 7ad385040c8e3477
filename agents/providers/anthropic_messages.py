"""Anthropic Messages through the official SDK.

No temperature is sent: API version 2026-10-21, which the SDK speaks, refuses sampling parameters at any value. The
answer's form is asked for by `output_config.format`; a model or gateway that refuses it gets the schema as a tool that
it must call; where forced tools are refused too, as by newer models, the schema stands in the system message.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from tracescribe.agents.providers.completion import Completion, CompletionRequest
from tracescribe.agents.providers.sdk_client import SdkClient, counted, response_id, roles_and_texts, told, with_schema

_TOOL_DESCRIPTION = "Hands in the answer. Call it exactly once."


@dataclass(frozen=True)
class _Dialect:
    """What this server has been found to accept."""

    answer_by: Literal["format", "tool", "words"] = "format"
    steps: int = 0

    def adapted(self, words: str) -> _Dialect | None:
        """The dialect without what the server's words refuse; None where they refuse nothing that can change."""
        if self.answer_by == "format" and ("output_config" in words or "json_schema" in words):
            return replace(self, answer_by="tool", steps=self.steps + 1)
        if self.answer_by == "tool" and "tool" in words:
            return replace(self, answer_by="words", steps=self.steps + 1)
        return None


@dataclass(eq=False)
class AnthropicMessagesClient(SdkClient[_Dialect]):
    """The Messages API."""

    expected: ClassVar[str] = "a message"

    def _first_dialect(self) -> _Dialect:
        return _Dialect()

    def _open(self) -> tuple[Any, Any]:
        import anthropic

        sdk = anthropic.Anthropic(
            api_key=self.key,
            base_url=self.endpoint.base_url,
            timeout=self.timeout_seconds,
            max_retries=0,
            http_client=self._http(),
        )
        return sdk, anthropic

    def _send(self, request: CompletionRequest, dialect: _Dialect, options: dict[str, Any]) -> Completion:
        parameters = _parameters(request, dialect)
        if self.stream:
            with self._sdk.messages.create(**parameters, **options, stream=True) as events:
                return self._joined(request, events)
        message = self._sdk.messages.create(**parameters, **options)
        handed_in = [
            json.dumps(block.input, ensure_ascii=False) for block in message.content if block.type == "tool_use"
        ]
        text = "".join(block.text for block in message.content if block.type == "text")
        usage = getattr(message, "usage", None)
        read, written = _read(usage), told(usage, "output_tokens")
        stop = getattr(message, "stop_reason", None)
        model = getattr(message, "model", "")
        told_text = handed_in[0] if handed_in else text
        return _completion(request, told_text, stop, (read, written), model, response_id(message))

    def _joined(self, request: CompletionRequest, events: Any) -> Completion:
        texts: list[str] = []
        handed_in: list[str] = []
        read: object = None
        written: object = None
        model, name, stop, ended = "", "", None, False
        for event in events:
            match event.type:
                case "message_start":
                    model, read = event.message.model, _read(told(event.message, "usage"))
                    name = response_id(event.message)
                case "content_block_delta" if event.delta.type == "text_delta":
                    texts.append(event.delta.text)
                case "content_block_delta" if event.delta.type == "input_json_delta":
                    handed_in.append(event.delta.partial_json)
                case "message_delta":
                    stop = event.delta.stop_reason or stop
                    written = told(told(event, "usage"), "output_tokens")
                case "message_stop":
                    ended = True
                case _:
                    pass
        if not ended or stop is None:
            raise self._broke_off()
        return _completion(request, "".join(handed_in or texts), stop, (read, written), model, name)


def _parameters(request: CompletionRequest, dialect: _Dialect) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "model": request.endpoint.model,
        "system": request.system,
        "messages": roles_and_texts(request),
        "max_tokens": request.max_tokens,
    }
    match dialect.answer_by:
        case "format":
            parameters["output_config"] = {"format": {"type": "json_schema", "schema": request.answer_schema}}
        case "tool":
            parameters["tools"] = [
                {"name": request.schema_name, "description": _TOOL_DESCRIPTION, "input_schema": request.answer_schema}
            ]
            parameters["tool_choice"] = {"type": "tool", "name": request.schema_name}
        case "words":
            schema = json.dumps(request.answer_schema, ensure_ascii=False)
            parameters["system"] = with_schema(request.system, schema)
    return parameters


def _read(usage: object) -> object:
    """Input tokens, those of the provider's cache included; None where they are not told in numbers."""
    parts = [told(usage, "input_tokens")]
    parts += [told(usage, name) or 0 for name in ("cache_creation_input_tokens", "cache_read_input_tokens")]
    numbers = [part for part in parts if isinstance(part, (int, float))]
    return sum(numbers) if len(numbers) == len(parts) else None


def _completion(
    request: CompletionRequest, text: str, stop_reason: Any, tokens: tuple[object, object], model: Any, name: str
) -> Completion:
    finish: Literal["stop", "length", "refusal"] = "stop"
    if stop_reason == "refusal":
        finish = "refusal"
    elif stop_reason in ("max_tokens", "model_context_window_exceeded"):
        finish = "length"
    usage = counted(request, text, *tokens)
    return Completion(text=text, finish=finish, usage=usage, model=str(model or ""), response_id=name)
