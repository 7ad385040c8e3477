"""OpenAI-compatible Chat Completions through the official SDK: OpenAI, vLLM, llama.cpp, Ollama and others.

What a server may refuse, and what is sent instead:

    response_format   json_schema -> json_object -> none (the schema then stands in the system message)
    temperature       sent -> left out                          (reasoning models accept none but their own)
    token limit       max_completion_tokens <-> max_tokens      (the newer name at OpenAI, the older one elsewhere)
    stream_options    sent -> left out                          (the tokens are then estimated)
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from tracescribe.agents.providers.completion import Completion, CompletionRequest
from tracescribe.agents.providers.openai_sdk import OpenAISdkClient
from tracescribe.agents.providers.sdk_client import counted, response_id, roles_and_texts, told, with_schema
from tracescribe.agents.providers.settings import OPENAI_URL

Finish = Literal["stop", "length", "refusal"]


@dataclass(frozen=True)
class _Dialect:
    """What this server has been found to accept. Each field changes at most once or twice, so adapting must end."""

    answer_format: Literal["json_schema", "json_object", "none"] = "json_schema"
    temperature: bool = True
    limit: Literal["max_completion_tokens", "max_tokens"] = "max_tokens"
    limit_changed: bool = False
    stream_usage: bool = True
    steps: int = 0

    def adapted(self, words: str) -> _Dialect | None:
        """The dialect without what the server's words refuse; None where they refuse nothing that can change."""
        changed = self._changed(words.lower())
        return None if changed is None else replace(changed, steps=self.steps + 1)

    def _changed(self, said: str) -> _Dialect | None:
        if "temperature" in said and self.temperature:
            return replace(self, temperature=False)
        if "stream_options" in said and self.stream_usage:
            return replace(self, stream_usage=False)
        if "max_tokens" in said or "max_completion_tokens" in said:
            if self.limit_changed:
                return None
            other: Literal["max_completion_tokens", "max_tokens"] = (
                "max_tokens" if self.limit == "max_completion_tokens" else "max_completion_tokens"
            )
            return replace(self, limit=other, limit_changed=True)
        if ("response_format" in said or "json_schema" in said or "json_object" in said) and (
            self.answer_format != "none"
        ):
            weaker: Literal["json_object", "none"] = "json_object" if self.answer_format == "json_schema" else "none"
            return replace(self, answer_format=weaker)
        return None


@dataclass(eq=False)
class OpenAIChatClient(OpenAISdkClient[_Dialect]):
    """Chat Completions."""

    expected: ClassVar[str] = "a chat completion"

    def _first_dialect(self) -> _Dialect:
        official = self.endpoint.base_url == OPENAI_URL
        return _Dialect(limit="max_completion_tokens" if official else "max_tokens")

    def _send(self, request: CompletionRequest, dialect: _Dialect, options: dict[str, Any]) -> Completion:
        parameters = _parameters(request, dialect)
        if not self.stream:
            response = self._sdk.chat.completions.create(**parameters, **options)
            return self._whole(request, response)
        if dialect.stream_usage:
            parameters["stream_options"] = {"include_usage": True}
        with self._sdk.chat.completions.create(**parameters, **options, stream=True) as chunks:
            return self._joined(request, chunks)

    def _whole(self, request: CompletionRequest, response: Any) -> Completion:
        # Compatible servers send bodies that the SDK takes without checking, so nothing is taken for granted here.
        choices = getattr(response, "choices", None)
        first = choices[0] if choices else None
        message = getattr(first, "message", None)
        if message is None:
            raise self._no_answer()
        return _completion(
            request,
            getattr(message, "content", None),
            getattr(message, "refusal", None),
            getattr(first, "finish_reason", None),
            getattr(response, "usage", None),
            getattr(response, "model", ""),
            response_id(response),
        )

    def _joined(self, request: CompletionRequest, chunks: Any) -> Completion:
        texts: list[str] = []
        refusals: list[str] = []
        finish = usage = None
        model = name = ""
        for chunk in chunks:
            name = name or response_id(chunk)
            usage = chunk.usage or usage
            model = chunk.model or model
            for choice in chunk.choices or ():
                texts.append(choice.delta.content or "")
                refusals.append(getattr(choice.delta, "refusal", None) or "")
                finish = choice.finish_reason or finish
        if finish is None:
            raise self._broke_off()
        return _completion(request, "".join(texts), "".join(refusals), finish, usage, model, name)


def _parameters(request: CompletionRequest, dialect: _Dialect) -> dict[str, Any]:
    system = request.system
    if dialect.answer_format != "json_schema":
        system = with_schema(system, json.dumps(request.answer_schema, ensure_ascii=False))
    parameters: dict[str, Any] = {
        "model": request.endpoint.model,
        "messages": [{"role": "system", "content": system}, *roles_and_texts(request)],
        dialect.limit: request.max_tokens,
    }
    if dialect.temperature and request.temperature is not None:
        parameters["temperature"] = request.temperature
    if dialect.answer_format == "json_schema":
        shape = {"name": request.schema_name, "schema": request.answer_schema, "strict": True}
        parameters["response_format"] = {"type": "json_schema", "json_schema": shape}
    elif dialect.answer_format == "json_object":
        parameters["response_format"] = {"type": "json_object"}
    return parameters


def _completion(
    request: CompletionRequest,
    content: str | None,
    refusal: str | None,
    finish_reason: str | None,
    usage: Any,
    model: Any,
    name: str,
) -> Completion:
    refused = bool(refusal) or finish_reason == "content_filter"
    finish: Finish = "refusal" if refused else "length" if finish_reason == "length" else "stop"
    text = (refusal or "") if refused else (content or "")
    usage = counted(request, text, told(usage, "prompt_tokens"), told(usage, "completion_tokens"))
    return Completion(text=text, finish=finish, usage=usage, model=str(model or ""), response_id=name)
