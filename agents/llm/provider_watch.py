"""Notices that a provider is down, so that sixty questions do not each wait for it in turn."""

from __future__ import annotations

from tracescribe.agents.providers.errors import ProviderRequestError, ProviderSetupError, UnusableAnswerError
from tracescribe.tracer.errors import BudgetExceededError, WorkError

FAILURES_IN_A_ROW = 3
"""Questions that the provider fails one after another, each after all its retries, before the rest is not asked."""
_FINAL = (BudgetExceededError, ProviderRequestError, ProviderSetupError)
"""After one of these the next question would fare no better."""


class ProviderWatch:
    """Watches how questions end.

    Attributes:
        reason: why nothing more should be asked; None while all is well.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self._in_a_row = 0

    def note(self, error: WorkError | None) -> None:
        """Take note of how a question ended."""
        if error is None or isinstance(error, UnusableAnswerError):
            self._in_a_row = 0
            return
        self._in_a_row += 1
        if self._in_a_row >= FAILURES_IN_A_ROW or isinstance(error, _FINAL):
            self.reason = str(error)
