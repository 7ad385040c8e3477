"""What both SDKs' exceptions have in common, mapped to ours.

Both SDKs are generated alike: status errors carry `status_code`, `response` and `body`; connection errors have no
status. Our errors copy words and numbers out of them and never hold them: they reference the request and its headers.
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping
from typing import Any

from tracescribe.agents.providers.errors import (
    ProviderAccessError,
    ProviderConnectionError,
    ProviderCreditError,
    ProviderModelError,
    ProviderOverloadError,
    ProviderRateLimitError,
    ProviderRequestError,
)
from tracescribe.agents.providers.secrets import redact
from tracescribe.tracer.errors import ProviderError

_FIRST_REFUSAL = 300
_TIMEOUT_STATUS = 408
_RATE_LIMIT_STATUS = 429
_CONFLICT_STATUS = 409
_FIRST_SERVER_FAULT = 500
_PAYMENT_STATUS = 402
_NOT_FOUND_STATUS = 404
_NO_CREDIT = ("insufficient_quota", "billing_error", "credit balance is too low")
"""What providers call an account without money: they tell it as a rate limit, or as a bad request."""


def server_words(body: object, message: str) -> str:
    """What the server said was wrong: `error.message` of its body where there is one."""
    if isinstance(body, Mapping):
        inner = body.get("error", body)
        if isinstance(inner, Mapping) and isinstance(inner.get("message"), str):
            return str(inner["message"])
    return message


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait that a response asks for: `retry-after-ms`, or `retry-after` in seconds or as a date."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after")
        if value is None:
            return None
        try:
            return max(0.0, float(value))
        except ValueError:
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return None


def status_fault(who: str, error: Any, secret: str) -> ProviderError:
    """Our error for a status error of either SDK.

    Args:
        who: provider, model and server, for the message.
        error: an `APIStatusError` of `openai` or `anthropic`.
        secret: the key, to be cut out of the server's words.
    """
    status = int(error.status_code)
    words = redact(server_words(error.body, str(error)), secret)
    if status < _FIRST_REFUSAL:
        return stream_fault(who, error.body, words)
    if status in (401, 403):
        # Servers repeat parts of the key here; their words are left out.
        return ProviderAccessError(f"{who}: status {status}, access denied; check the key and its rights to this model")
    if status == _PAYMENT_STATUS or any(sign in f"{_kinds(error.body)} {words}" for sign in _NO_CREDIT):
        return ProviderCreditError(f"{who}: status {status}, the account's credit or quota is used up: {words}")
    if status == _NOT_FOUND_STATUS:
        return ProviderModelError(f"{who}: status {status}, the request was refused: {words}")
    wait = retry_after_seconds(error.response.headers, time.time())
    if status == _RATE_LIMIT_STATUS:
        return ProviderRateLimitError(f"{who}: status 429, rate limit: {words}", retry_after=wait)
    if status >= _FIRST_SERVER_FAULT or status in (_TIMEOUT_STATUS, _CONFLICT_STATUS):
        return ProviderOverloadError(f"{who}: status {status}: {words}", retry_after=wait)
    return ProviderRequestError(f"{who}: status {status}, the request was refused: {words}")


def stream_fault(who: str, body: object, words: str) -> ProviderError:
    """Our error for a fault that was told in a stream, after status 200.

    Args:
        who: provider, model and server, for the message.
        body: the event's data; its `type` or `code` names the kind, perhaps one level down.
        words: what the server said, redacted.
    """
    kinds = _kinds(body)
    if "rate_limit" in kinds:
        return ProviderRateLimitError(f"{who}: rate limit, told in mid-stream: {words}", maybe_billed=True)
    if any(kind in kinds for kind in ("overload", "server_error", "api_error")):
        return ProviderOverloadError(f"{who}: fault of the server, told in mid-stream: {words}", maybe_billed=True)
    if "invalid_request" in kinds:
        return ProviderRequestError(f"{who}: the request was refused in mid-stream: {words}")
    return ProviderConnectionError(f"{who}: the stream broke off: {words}", maybe_billed=True)


def _kinds(body: object) -> str:
    """What the server calls the fault: `type` and `code`, perhaps one level down."""
    inner = body.get("error", body) if isinstance(body, Mapping) else {}
    return " ".join(str(inner.get(key)) for key in ("type", "code")) if isinstance(inner, Mapping) else ""
