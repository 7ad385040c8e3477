"""Anthropic Messages through the official SDK.

No temperature is sent: API version 2026-10-21, which the SDK speaks, refuses sampling parameters at any value. The
answer's form is asked for by `output_config.format`; a model or gateway that refuses it gets the schema as a tool that
it must call (newer models in turn refuse forced tools, so that is the second choice).
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tracescribe.agents.providers.completion import Completion, CompletionRequest, Endpoint, Usage
from tracescribe.agents.providers.errors import ProviderConnectionError, ProviderTimeoutError
from tracescribe.agents.providers.faults import server_words, status_fault
from tracescribe.agents.providers.secrets import redact
from tracescribe.tracer.errors import ProviderError

if TYPE_CHECKING:
    import anthropic
    from anthropic.types import Message

OFFICIAL_URL = "https://api.anthropic.com"
_TOOL_DESCRIPTION = "Hands in the answer. Call it exactly once."


@dataclass(eq=False)
class AnthropicMessagesClient:
    """One attempt at one completion per call.

    Attributes:
        endpoint: who is asked.
        key: handed to the SDK; never shown.
        timeout_seconds: for connecting, and between two pieces of an answer.
    """

    endpoint: Endpoint
    key: str = field(repr=False)
    timeout_seconds: float

    def __post_init__(self) -> None:
        import anthropic

        self._answer_by: Literal["format", "tool"] = "format"
        self._sdk: anthropic.Anthropic = anthropic.Anthropic(
            api_key=self.key, base_url=self.endpoint.base_url, timeout=self.timeout_seconds, max_retries=0
        )
        self._who = f"anthropic model {self.endpoint.model} at {self.endpoint.base_url}"

    def complete(self, request: CompletionRequest) -> Completion:
        """Send one request and wait for its answer.

        Raises:
            ProviderRequestError: the server refuses the request.
            TransientProviderError: timeout, connection, rate limit, overload.
        """
        answer_by = self._answer_by
        answer, fault, refused = self._attempt(request, answer_by)
        if answer is None and answer_by == "format" and ("output_config" in refused or "json_schema" in refused):
            self._answer_by = "tool"
            answer, fault, _ = self._attempt(request, "tool")
        if answer is None:
            assert fault is not None
            # Raised outside the handler: the SDK's exception, which holds request and headers, is not chained.
            raise fault
        return answer

    def close(self) -> None:
        """Give back the connections."""
        self._sdk.close()

    def _attempt(
        self, request: CompletionRequest, answer_by: Literal["format", "tool"]
    ) -> tuple[Completion | None, ProviderError | None, str]:
        """Answer, or fault and the words in which the request was refused."""
        import anthropic

        started = time.monotonic()
        try:
            message = self._sdk.messages.create(**_parameters(request, answer_by))
            return _completion(message, time.monotonic() - started), None, ""
        except anthropic.APITimeoutError:
            return None, ProviderTimeoutError(f"{self._who}: no answer within {self.timeout_seconds:g} s"), ""
        except anthropic.APIConnectionError as error:
            cause = redact(str(error.__cause__ or error), self.key)
            return None, ProviderConnectionError(f"{self._who}: connection failed: {cause}"), ""
        except anthropic.APIStatusError as error:
            refused = server_words(error.body, str(error)) if error.status_code in (400, 422) else ""
            return None, status_fault(self._who, error, self.key), refused
        except (anthropic.AnthropicError, ValueError, AttributeError, TypeError) as error:
            # A 200 whose body is not JSON, or not a message: the SDK hands it on unchecked.
            said = redact(str(error), self.key)
            return None, ProviderConnectionError(f"{self._who}: not a message: {said}"), ""


def _parameters(request: CompletionRequest, answer_by: Literal["format", "tool"]) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "model": request.endpoint.model,
        "system": request.system,
        "messages": [{"role": message.role, "content": message.text} for message in request.messages],
        "max_tokens": request.max_tokens,
    }
    if answer_by == "format":
        parameters["output_config"] = {"format": {"type": "json_schema", "schema": request.answer_schema}}
    else:
        parameters["tools"] = [
            {"name": request.schema_name, "description": _TOOL_DESCRIPTION, "input_schema": request.answer_schema}
        ]
        parameters["tool_choice"] = {"type": "tool", "name": request.schema_name}
    return parameters


def _completion(message: Message, seconds: float) -> Completion:
    handed_in = [block.input for block in message.content if block.type == "tool_use"]
    text = "".join(block.text for block in message.content if block.type == "text")
    finish: Literal["stop", "length", "refusal"] = "stop"
    if message.stop_reason == "refusal":
        finish = "refusal"
    elif message.stop_reason in ("max_tokens", "model_context_window_exceeded"):
        finish = "length"
    usage = message.usage
    return Completion(
        text=json.dumps(handed_in[0], ensure_ascii=False) if handed_in else text,
        finish=finish,
        usage=Usage(
            input_tokens=(usage.input_tokens or 0)
            + (usage.cache_creation_input_tokens or 0)
            + (usage.cache_read_input_tokens or 0),
            output_tokens=usage.output_tokens or 0,
        ),
        model=str(message.model),
        seconds=seconds,
    )
