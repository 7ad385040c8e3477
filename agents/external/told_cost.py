"""Whether a cost that an agent tells can be true. What it cost is measured here; what it tells is recorded as told."""

from __future__ import annotations

from tracescribe.agents.budget import Budget
from tracescribe.agents.external.answers import ToldCost

SLACK_SECONDS = 1.0
"""Start-up and the last line's way lie between its clock and ours."""
SLACK_SHARE = 0.5
"""Of the measured seconds: a clock that starts late on a busy machine is no lie."""


def cost_fault(told: ToldCost, seconds: float, budget: Budget) -> str | None:
    """Why a told cost cannot be, or None if it can.

    Args:
        seconds: measured, from the start of the program to its answer.
        budget: of the case.
    """
    named = {"seconds": told.seconds, "llm_calls": told.llm_calls, "tokens": told.tokens, "usd": told.usd}
    for name, value in named.items():
        if value is not None and value < 0:
            return f"{name} is {value:g}; nothing costs less than nothing"
    slack = SLACK_SECONDS + SLACK_SHARE * seconds
    if told.seconds is not None and abs(told.seconds - seconds) > slack:
        return f"it tells {told.seconds:.3g} seconds, and {seconds:.3g} were measured"
    if told.llm_calls == 0 and (told.tokens or told.usd):
        return "it tells tokens or USD without a call of a language model"
    limits = {"llm_calls": budget.llm_calls, "tokens": budget.tokens, "usd": budget.usd}
    for name, limit in limits.items():
        value = named[name]
        if limit is not None and value is not None and value > limit:
            return f"it tells {value:g} {name}, and the budget of the case is {limit:g}"
    return None
