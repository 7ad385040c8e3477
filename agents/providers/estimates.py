"""What a run would cost, before anything is sent: for `--dry-run`.

Tokens are estimated from characters, so a figure here is a guess of the right size, and never what a budget is kept by.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from tracescribe.agents.claims import Frozen
from tracescribe.agents.providers.completion import Usage
from tracescribe.agents.providers.prices import Price

CHARS_PER_TOKEN = 3.5
"""English prose runs at about four characters a token, JSON and token strings at about three."""
SHARE_OF_ROOM = 0.25
"""Part of `max_tokens` that a usual answer fills; the limit is set for the longest."""
FRAMING_TOKENS = 64
"""Most that a provider's own wrapping adds to a message; a role and a few marks take under ten."""


class CallEstimate(Frozen):
    """Calls and their cost.

    Attributes:
        calls_low, calls_high: without and with every repair and every turn that is allowed.
        input_tokens, output_tokens: of the higher number of calls.
        usd: of these tokens; None where the price is unknown.
    """

    calls_low: int = Field(default=0, ge=0)
    calls_high: int = Field(default=0, ge=0)
    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    usd: float | None = None

    def plus(self, other: CallEstimate) -> CallEstimate:
        """Both together; unknown where one of them has calls and no price."""
        known = [part.usd for part in (self, other) if part.calls_high or part.usd is not None]
        return CallEstimate(
            calls_low=self.calls_low + other.calls_low,
            calls_high=self.calls_high + other.calls_high,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            usd=None if None in known or not known else sum(usd for usd in known if usd is not None),
        )


def estimate_cost(
    prompt_chars: int, max_tokens: int, *, calls_low: int, calls_high: int, price: Price | None = None
) -> CallEstimate:
    """The cost of a number of calls of about one size.

    Args:
        prompt_chars: characters of one request: system message, schema and conversation.
        max_tokens: room for one answer.
        calls_low, calls_high: as in `CallEstimate`.
        price: of the model; None where it is unknown.
    """
    one = Usage(input_tokens=round(prompt_chars / CHARS_PER_TOKEN), output_tokens=round(max_tokens * SHARE_OF_ROOM))
    return CallEstimate(
        calls_low=calls_low,
        calls_high=calls_high,
        input_tokens=one.input_tokens * calls_high,
        output_tokens=one.output_tokens * calls_high,
        usd=None if price is None else price.usd(one) * calls_high,
    )


def total_of(estimates: Iterable[CallEstimate]) -> CallEstimate:
    """All of them together."""
    total = CallEstimate(usd=0.0)
    for estimate in estimates:
        total = total.plus(estimate)
    return total
