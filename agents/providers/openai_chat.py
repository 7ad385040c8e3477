"""OpenAI-compatible Chat Completions through the official SDK: OpenAI, vLLM, llama.cpp, Ollama and others.

Servers of this format differ in what they accept. A request starts in the fullest form; where a server refuses one
parameter by name, that parameter is changed once and for the rest of this client's life:

    response_format   json_schema -> json_object -> none (the schema then stands in the system message)
    temperature       sent -> left out                          (reasoning models accept none but their own)
    token limit       max_completion_tokens <-> max_tokens      (the newer name at OpenAI, the older one elsewhere)
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from tracescribe.agents.providers.completion import Completion, CompletionRequest, Endpoint, Usage
from tracescribe.agents.providers.errors import ProviderConnectionError, ProviderRequestError, ProviderTimeoutError
from tracescribe.agents.providers.faults import server_words, status_fault
from tracescribe.agents.providers.secrets import redact
from tracescribe.tracer.errors import ProviderError

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletion

OFFICIAL_URL = "https://api.openai.com/v1"


@dataclass(frozen=True)
class _Dialect:
    """What this server has been found to accept. Each field changes at most once or twice, so adapting must end."""

    answer_format: Literal["json_schema", "json_object", "none"] = "json_schema"
    temperature: bool = True
    limit: Literal["max_completion_tokens", "max_tokens"] = "max_tokens"
    limit_changed: bool = False

    def adapted(self, words: str) -> _Dialect | None:
        """The dialect without what the server's words refuse; None where they refuse nothing that can change."""
        said = words.lower()
        if "temperature" in said and self.temperature:
            return replace(self, temperature=False)
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
class OpenAIChatClient:
    """One attempt at one completion per call; a refused parameter is changed and sent again within that attempt.

    Attributes:
        endpoint: who is asked.
        key: handed to the SDK; never shown.
        timeout_seconds: for connecting, and between two pieces of an answer.
    """

    endpoint: Endpoint
    key: str = field(repr=False)
    timeout_seconds: float

    def __post_init__(self) -> None:
        import openai

        official = self.endpoint.base_url == OFFICIAL_URL
        self._dialect = _Dialect(limit="max_completion_tokens" if official else "max_tokens")
        self._sdk: openai.OpenAI = openai.OpenAI(
            api_key=self.key, base_url=self.endpoint.base_url, timeout=self.timeout_seconds, max_retries=0
        )
        self._who = f"openai-compatible model {self.endpoint.model} at {self.endpoint.base_url}"

    def complete(self, request: CompletionRequest) -> Completion:
        """Send one request and wait for its answer.

        Raises:
            ProviderRequestError: the server refuses the request.
            TransientProviderError: timeout, connection, rate limit, overload.
        """
        while True:
            dialect = self._dialect
            answer, fault, refused = self._attempt(request, dialect)
            if answer is not None:
                return answer
            assert fault is not None
            adapted = dialect.adapted(refused) if refused else None
            if adapted is None:
                # Raised outside the handler: the SDK's exception, which holds request and headers, is not chained.
                raise fault
            self._dialect = adapted

    def close(self) -> None:
        """Give back the connections."""
        self._sdk.close()

    def _attempt(
        self, request: CompletionRequest, dialect: _Dialect
    ) -> tuple[Completion | None, ProviderError | None, str]:
        """Answer, or fault and the words in which a parameter was refused."""
        import openai

        started = time.monotonic()
        try:
            response = self._sdk.chat.completions.create(**_parameters(request, dialect))
            return _completion(response, time.monotonic() - started, self._who), None, ""
        except openai.APITimeoutError:
            return None, ProviderTimeoutError(f"{self._who}: no answer within {self.timeout_seconds:g} s"), ""
        except openai.APIConnectionError as error:
            cause = redact(str(error.__cause__ or error), self.key)
            return None, ProviderConnectionError(f"{self._who}: connection failed: {cause}"), ""
        except openai.APIStatusError as error:
            refused = server_words(error.body, str(error)) if error.status_code in (400, 422) else ""
            return None, status_fault(self._who, error, self.key), refused
        except (openai.OpenAIError, ValueError) as error:
            # ValueError: a 200 whose body is not JSON.
            said = redact(str(error), self.key)
            return None, ProviderConnectionError(f"{self._who}: not a chat completion: {said}"), ""
        except ProviderError as error:
            return None, error, ""


def _parameters(request: CompletionRequest, dialect: _Dialect) -> dict[str, Any]:
    system = request.system
    if dialect.answer_format != "json_schema":
        schema = json.dumps(request.answer_schema, ensure_ascii=False)
        system = f"{system}\n\nAnswer with one JSON object of this JSON schema, and nothing else:\n{schema}"
    parameters: dict[str, Any] = {
        "model": request.endpoint.model,
        "messages": [{"role": "system", "content": system}]
        + [{"role": message.role, "content": message.text} for message in request.messages],
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


def _completion(response: ChatCompletion, seconds: float, who: str) -> Completion:
    # Compatible servers send bodies that the SDK takes without checking, so nothing is taken for granted here.
    choices = getattr(response, "choices", None)
    if not choices or getattr(choices[0], "message", None) is None:
        raise ProviderRequestError(f"{who}: a reply without choices; this server does not speak Chat Completions")
    choice = choices[0]
    refused = bool(choice.message.refusal) or choice.finish_reason == "content_filter"
    finish: Literal["stop", "length", "refusal"] = (
        "refusal" if refused else "length" if choice.finish_reason == "length" else "stop"
    )
    usage = response.usage
    return Completion(
        text=(choice.message.refusal or "") if refused else (choice.message.content or ""),
        finish=finish,
        usage=Usage(
            input_tokens=(usage.prompt_tokens or 0) if usage else 0,
            output_tokens=(usage.completion_tokens or 0) if usage else 0,
        ),
        model=response.model or "",
        seconds=seconds,
    )
