"""What the clients of all wire formats share: one attempt, its time limits, and every fault it can end in.

Servers of one format differ in what they accept. A request starts in the fullest form; where a server refuses one
parameter by name, that parameter is changed once and for the rest of the client's life. What is accepted is a client's
*dialect*.
"""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import httpx2

from tracescribe.agents.providers.completion import Completion, CompletionRequest, Endpoint, Usage
from tracescribe.agents.providers.errors import ProviderConnectionError
from tracescribe.agents.providers.faults import server_words, status_fault, stream_fault
from tracescribe.agents.providers.secrets import redact, without_key
from tracescribe.agents.providers.transport import (
    attempt_deadline,
    attempt_timeout,
    connection_fault,
    http_client,
    within,
)
from tracescribe.tracer.errors import ProviderError

_REFUSING = (400, 422)
_CHARS_PER_TOKEN = 3
_MOST_TOKENS = 10**12
"""More than any server can have read; beyond it a number is a fault and no bill."""
_UNCHECKED = (ValueError, AttributeError, TypeError, LookupError, RecursionError)
"""What the SDKs run into where a body is not what it should be: they hand it on unchecked."""


class DialectLike(Protocol):
    """What a server has been found to accept. Adapting must end: each parameter changes once or twice."""

    @property
    def steps(self) -> int:
        """How often it was adapted."""
        ...

    def adapted(self, words: str) -> Self | None:
        """The dialect without what the server's words refuse; None where they refuse nothing that can change."""
        ...


Dialect = TypeVar("Dialect", bound=DialectLike)


@dataclass(eq=False)
class SdkClient(ABC, Generic[Dialect]):
    """One attempt at one completion per call; a refused parameter is changed and sent again within that attempt.

    Attributes:
        endpoint: who is asked.
        key: handed to the SDK; never shown.
        timeout_seconds: for connecting, and between two pieces of an answer; `DEADLINE_FACTOR` times as long for a
            whole attempt.
        stream: whether answers are streamed.
        official: whether this is the provider's own server, which gets the headers that the SDK's own environment
            variables ask for.
    """

    endpoint: Endpoint
    key: str = field(repr=False)
    timeout_seconds: float
    stream: bool = False
    official: bool = False

    expected: ClassVar[str]
    """What this wire format calls an answer, for messages."""

    def __post_init__(self) -> None:
        self._who = f"{self.endpoint.provider} model {self.endpoint.model} at {self.endpoint.base_url}"
        self._dialect = self._first_dialect()
        self._sdk, self._errors = self._open()

    @abstractmethod
    def _first_dialect(self) -> Dialect:
        """The fullest form."""

    @abstractmethod
    def _open(self) -> tuple[Any, Any]:
        """The SDK's client and its module of errors."""

    @abstractmethod
    def _send(self, request: CompletionRequest, dialect: Dialect, options: dict[str, Any]) -> Completion:
        """Send one request in one form and read the whole answer.

        Args:
            options: headers and time limit, for the SDK.
        """

    def complete(self, request: CompletionRequest, *, seconds_left: float | None = None) -> Completion:
        """Send one request and wait for its answer.

        Args:
            seconds_left: the attempt ends after so many seconds, whatever arrives; None leaves it to the settings.

        Raises:
            ProviderRequestError: the server refuses the request.
            TransientProviderError: timeout, connection, rate limit, overload.
        """
        waited = attempt_timeout(self.timeout_seconds, seconds_left)
        with within(attempt_deadline(self.timeout_seconds, seconds_left)):
            while True:
                dialect = self._dialect
                answer, fault, refused = self._attempt(request, dialect, waited)
                if answer is not None:
                    return answer
                assert fault is not None
                adapted = dialect.adapted(refused) if refused else None
                if adapted is None:
                    # Raised outside the handler: the SDK's exception, which holds request and headers, is not chained.
                    raise fault
                self._dialect = adapted

    def models(self) -> tuple[str, ...]:
        """Names of the models that the server offers, in its order.

        Raises:
            ProviderError: it does not say.
        """
        fault: ProviderError
        try:
            with within(self.timeout_seconds):
                page = self._sdk.models.list(timeout=self.timeout_seconds)
                return tuple(without_key(str(model.id), self.key) for model in page.data)
        except self._errors.APIStatusError as error:
            fault = status_fault(self._who, error, self.key)
        except (self._errors.APIError, *_UNCHECKED) as error:
            fault = self._other_fault(error, self.timeout_seconds, "a list of models")
        raise fault

    def _http(self) -> httpx2.Client:
        return http_client(self.timeout_seconds, key=self.key, official=self.official)

    def close(self) -> None:
        """Give back the connections."""
        self._sdk.close()

    def _attempt(
        self, request: CompletionRequest, dialect: Dialect, waited: float
    ) -> tuple[Completion | None, ProviderError | None, str]:
        """Answer, or fault and the words in which a parameter was refused."""
        # A server that keeps answers by key would give the refusal again for a changed body under the same key.
        changed = f"-{dialect.steps}" if dialect.steps else ""
        options = {
            "extra_headers": {"Idempotency-Key": f"{request.idempotency_key}{changed}"},
            "timeout": waited,
        }
        started = time.monotonic()
        try:
            answer = self._send(request, dialect, options)
            # A server may send our own headers back; the ledger keeps what it says.
            unkeyed = {"text": without_key(answer.text, self.key), "model": without_key(answer.model, self.key)}
            return answer.model_copy(update={**unkeyed, "seconds": time.monotonic() - started}), None, ""
        except ProviderError as error:
            return None, error, ""
        except self._errors.APIStatusError as error:
            refused = server_words(error.body, str(error)) if error.status_code in _REFUSING else ""
            return None, status_fault(self._who, error, self.key), refused
        except (self._errors.APIError, httpx2.HTTPError, httpx2.StreamError, *_UNCHECKED) as error:
            return None, self._other_fault(error, waited, self.expected), ""

    def _other_fault(self, error: BaseException, waited: float, expected: str) -> ProviderError:
        fault = connection_fault(self._who, error, waited, self.key)
        if fault is not None:
            return fault
        said = redact(server_words(getattr(error, "body", None), str(error)), self.key)
        if isinstance(getattr(error, "body", None), dict):
            return stream_fault(self._who, getattr(error, "body", None), said)
        if isinstance(error, self._errors.APIError):
            return ProviderConnectionError(f"{self._who}: not {expected}: {said}", maybe_billed=True)
        # What python says of a body that is not what it should be means nothing to whoever asked.
        return self._no_answer(expected)

    def _no_answer(self, expected: str = "") -> ProviderConnectionError:
        """A reply with status 200 that is something else: a proxy's page, an empty body, another protocol."""
        return ProviderConnectionError(
            f"{self._who}: the server replied, but not with {expected or self.expected}; if it always does, check the "
            "address and the provider's name",
            maybe_billed=True,
        )

    def _broke_off(self) -> ProviderConnectionError:
        return ProviderConnectionError(f"{self._who}: the stream broke off before the answer ended", maybe_billed=True)


def response_id(response: object) -> str:
    """The server's own name for an answer, as far as it is one: a word of bounded length."""
    told_id = getattr(response, "id", None)
    return told_id if isinstance(told_id, str) and re.fullmatch(r"[A-Za-z0-9_.:\-]{1,120}", told_id) else ""


def counted(request: CompletionRequest, text: str, read: object, written: object) -> Usage:
    """Tokens as the server tells them, or estimated from the texts where it tells none: a budget needs a number.

    Numbers that make no sense never cost the answer that they came with: they count as not told.

    Args:
        read, written: tokens, as told.
    """
    told_read, told_written = _number(read), _number(written)
    asked = sum(len(part) for part in (request.system, *(message.text for message in request.messages)))
    return Usage(
        input_tokens=-(-asked // _CHARS_PER_TOKEN) if told_read is None else told_read,
        output_tokens=-(-len(text) // _CHARS_PER_TOKEN) if told_written is None else told_written,
        estimated=told_read is None or told_written is None,
    )


def told(usage: object, name: str) -> object:
    """One number of a server's account; None where there is none."""
    return usage.get(name) if isinstance(usage, dict) else getattr(usage, name, None)


def _number(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS else None


def with_schema(system: str, schema: str) -> str:
    """The system message for a server without a schema mode."""
    return f"{system}\n\nAnswer with one JSON object of this JSON schema, and nothing else:\n{schema}"


def roles_and_texts(request: CompletionRequest) -> Sequence[dict[str, str]]:
    """The conversation without the system message."""
    return [{"role": message.role, "content": message.text} for message in request.messages]
