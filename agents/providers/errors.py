"""The narrower kinds of `ProviderError`, each with the outcome that follows from it.

    ProviderError
    ├── ProviderSetupError          no key, no such provider, a bad URL            -> the call was wrong (exit code 2)
    │   ├── AgentSpecError          `--agent` names no agent
    │   └── UnknownPriceError       a budget in USD, and no price to keep it by
    ├── ProviderRequestError        the server refuses the request (400, 404, ...) -> step failure, at once
    │   └── ProviderAccessError     the key is wrong or may not do this (401, 403) -> step failure, at once
    │       ├── ProviderCreditError the account's credit or quota is used up       -> step failure, at once
    │       └── ProviderModelError  no such model, or no such address (404)        -> step failure, at once
    ├── TransientProviderError      worth another try, counted and bounded
    │   ├── ProviderTimeoutError    no answer in time
    │   ├── ProviderConnectionError the connection could not be made or broke off; a 200 that is no answer
    │   ├── ProviderRateLimitError  429; `retry_after` is honoured
    │   └── ProviderOverloadError   5xx, 529
    └── UnusableAnswerError         an answer came, and was paid for, but cannot be used
        ├── TruncatedAnswerError    cut off by the token limit     -> asked once more with twice the room, then failure
        ├── RefusedAnswerError      the model or a filter declines -> step failure, at once
        ├── EmptyAnswerError        no text                        -> repaired at most twice, then failure
        └── MalformedAnswerError    not JSON, or not of the schema -> repaired at most twice, then failure

No message and no attribute holds a key, a header or a request object.
"""

from __future__ import annotations

from tracescribe.tracer.errors import ProviderError


class ProviderSetupError(ProviderError):
    """A provider that cannot be used as it is set up: no key, an unknown name, a bad URL."""

    exit_code = 2


class AgentSpecError(ProviderSetupError):
    """A text that names no agent."""


class UnknownPriceError(ProviderSetupError):
    """A budget in USD for a model whose price is unknown: it could not be kept, so nothing is sent."""


class ProviderRequestError(ProviderError):
    """The server refuses the request itself; sending it again would not help."""


class ProviderAccessError(ProviderRequestError):
    """The key is missing, wrong, or not allowed to use this model: no other request would fare better."""


class ProviderCreditError(ProviderAccessError):
    """The account's credit, or its quota for the month, is used up; waiting a little does not help."""


class ProviderModelError(ProviderAccessError):
    """The server has no such model, or nothing at this address."""


class TransientProviderError(ProviderError):
    """A fault that may pass.

    Attributes:
        retry_after: seconds that the server asks to wait, or None.
        maybe_billed: the request reached the server, and nobody knows what became of it. It is counted as if it had
            cost the most that it could.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, maybe_billed: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.maybe_billed = maybe_billed


class ProviderTimeoutError(TransientProviderError):
    """No answer within the time limit."""


class ProviderConnectionError(TransientProviderError):
    """The connection could not be made, or broke off."""


class ProviderRateLimitError(TransientProviderError):
    """Too many requests or tokens for the moment."""


class ProviderOverloadError(TransientProviderError):
    """The server is overloaded or broken for the moment."""


class UnusableAnswerError(ProviderError):
    """An answer came, but cannot be used."""


class TruncatedAnswerError(UnusableAnswerError):
    """The answer was cut off by the token limit."""


class RefusedAnswerError(UnusableAnswerError):
    """The model, or a filter in front of it, declines to answer."""


class EmptyAnswerError(UnusableAnswerError):
    """The answer holds no text."""


class MalformedAnswerError(UnusableAnswerError):
    """The answer is not JSON, or not of the schema that was asked for."""
