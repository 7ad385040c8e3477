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
    before_attempt: Callable[[int], None],
    sleep: Callable[[float], None],
) -> Completion:
    """Send a request until it is answered, refused, or out of attempts.

    Args:
        before_attempt: told the attempt's number, from 1; what it raises ends the attempts (a budget that is used up).
        sleep: waits so many seconds.

    Raises:
        ProviderRequestError: the server refuses the request.
        TransientProviderError: the last attempt's fault, or a server that asks for too long a wait.
    """
    for attempt in range(1, settings.max_attempts + 1):
        before_attempt(attempt)
        try:
            return client.complete(request)
        except TransientProviderError as error:
            wait = error.retry_after
            if wait is None:
                wait = min(settings.first_wait_seconds * 2 ** (attempt - 1), settings.longest_wait_seconds)
            if attempt == settings.max_attempts:
                raise type(error)(f"{error} (given up after {attempt} attempts)") from None
            if wait > settings.longest_wait_seconds:
                told = f"it asks to wait {wait:g} s, and at most {settings.longest_wait_seconds:g} s are waited"
                raise type(error)(f"{error} ({told})", retry_after=wait) from None
            logger.info("attempt %d failed, waiting %.1f s: %s", attempt, wait, error)
        sleep(wait)
    raise AssertionError("max_attempts is at least 1")
