"""What goes to a language model and what comes back, the same for every provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import Field

from tracescribe.agents.claims import Frozen
from tracescribe.tracer.provenance import sha256_json

if TYPE_CHECKING:
    from tracescribe.tracer.redaction import Redactor


class ChatMessage(Frozen):
    """One turn of a conversation."""

    role: Literal["user", "assistant"]
    text: str


ProviderName = Literal["openai", "openai-responses", "anthropic", "local"]
"""The wire formats, and `local` for none at all."""


class Endpoint(Frozen):
    """Who is asked: part of every request's hash, so that one server's answer never stands in for another's.

    Attributes:
        provider: the wire format; `openai` is Chat Completions, `local` a model in this process.
        base_url: without user name and password; for a local model, the hash of its weights instead.
        model: the model's name at that server.
    """

    provider: ProviderName
    base_url: str
    model: str


class CompletionRequest(Frozen):
    """One request for one JSON object.

    Attributes:
        schema_name: name of the answer's schema, for the provider.
        answer_schema: JSON schema of the answer, in the strict subset that providers accept.
        temperature: None sends none; some providers and models accept none.
        template, template_sha256: the prompt template that the request was made from.
    """

    endpoint: Endpoint
    system: str
    messages: tuple[ChatMessage, ...] = Field(min_length=1)
    schema_name: str
    answer_schema: dict[str, object]
    max_tokens: int = Field(ge=1)
    temperature: float | None = None
    template: str
    template_sha256: str

    @property
    def sha256(self) -> str:
        """The request's hash: by it a recorded answer is found again."""
        return sha256_json(self.model_dump(mode="json"))

    @property
    def idempotency_key(self) -> str:
        """Sent with every attempt at this request, from whichever process: a server that knows such keys bills once."""
        return f"tracescribe-{self.sha256[:40]}"


class Usage(Frozen):
    """Tokens that one answer cost.

    Attributes:
        estimated: the server told no numbers; these are counted from the texts.
    """

    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    estimated: bool = False


class Completion(Frozen):
    """One answer, as it came.

    Attributes:
        text: JSON text, or whatever came instead.
        finish: `stop`; `length` where the token limit cut it off; `refusal` where the model or a filter declined.
        model: as the server names it.
        seconds: from sending to answer.
        response_id: the server's own name for the answer; empty where it tells none.
    """

    text: str
    finish: Literal["stop", "length", "refusal"]
    usage: Usage
    model: str
    seconds: float = Field(default=0.0, ge=0)
    response_id: str = ""

    def redacted(self, redactor: Redactor) -> Completion:
        """The answer as it may be recorded and used; the same object where there is nothing to cut."""
        told = {
            "text": redactor.json_text(self.text),
            "model": redactor.text(self.model),
            "response_id": redactor.text(self.response_id),
        }
        same = all(getattr(self, name) == value for name, value in told.items())
        return self if same else self.model_copy(update=told)


class LanguageModelClient(Protocol):
    """One provider's wire format. One call is one attempt: retries and repairs are counted elsewhere."""

    @property
    def endpoint(self) -> Endpoint:
        """Who is asked."""
        ...

    def complete(self, request: CompletionRequest, *, seconds_left: float | None = None) -> Completion:
        """Send one request and wait for its answer.

        Args:
            seconds_left: the attempt ends after so many seconds, whatever arrives; None leaves it to the settings.

        Raises:
            ProviderRequestError: the server refuses the request.
            TransientProviderError: timeout, connection, rate limit, overload.
        """
        ...

    def close(self) -> None:
        """Give back the connections."""
        ...
