"""Our own retries: counted, bounded, and attentive to `retry-after`. The SDKs' retries are switched off."""

from __future__ import annotations

import logging
from collections.abc import Callable

from tracescribe.agents.providers.completion import Completion, CompletionRequest, LanguageModelClient
from tracescribe.agents.providers.errors import TransientProviderError
from tracescribe.agents.providers.settings import ProviderSettings

logger = logging.getLogger(__name__)


def complete_with_retries(
    client: LanguageModelClient,
    request: CompletionRequest,
    settings: ProviderSettings,
    *,
    before_attempt: Callable[[int], float | None],
    sleep: Callable[[float], None],
    after_fault: Callable[[TransientProviderError], None] = lambda _: None,
) -> Completion:
    """Send a request until it is answered, refused, or out of attempts.

    Args:
        before_attempt: told the attempt's number, from 1; returns the seconds that are left for it, None without a
            limit; what it raises ends the attempts (a budget that is used up).
        sleep: waits so many seconds.
        after_fault: told of every attempt that brought a transient fault.

    Raises:
        ProviderRequestError: the server refuses the request.
        TransientProviderError: the last attempt's fault, or a server that asks for too long a wait.
    """
    for attempt in range(1, settings.max_attempts + 1):
        seconds_left = before_attempt(attempt)
        try:
            return client.complete(request, seconds_left=seconds_left)
        except TransientProviderError as error:
            after_fault(error)
            wait = error.retry_after
            if wait is None:
                wait = min(settings.first_wait_seconds * 2 ** (attempt - 1), settings.longest_wait_seconds)
            if attempt == settings.max_attempts:
                raise type(error)(
                    f"{error} (given up after {attempt} attempts)", maybe_billed=error.maybe_billed
                ) from None
            if wait > settings.longest_wait_seconds:
                told = f"it asks to wait {wait:g} s, and at most {settings.longest_wait_seconds:g} s are waited"
                raise type(error)(f"{error} ({told})", retry_after=wait, maybe_billed=error.maybe_billed) from None
            logger.info("attempt %d failed, waiting %.1f s: %s", attempt, wait, error)
        sleep(wait)
    raise AssertionError("max_attempts is at least 1")
