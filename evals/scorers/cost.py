"""Cost: what a case took, by our own meter. What an agent tells of itself stands beside it in the case's file, unscored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tracescribe.evals.scorers.metric import NOTHING, Metric, Tally

METRICS = (
    Metric("cost.seconds", "seconds", "one second a case, by the clock on the wall", higher_is_better=False),
    Metric("cost.llm_calls", "LLM calls", "one call of a language model a case", higher_is_better=False),
    Metric("cost.tokens", "tokens", "one token in or out a case", higher_is_better=False),
    Metric("cost.usd", "US$", "one dollar a case", higher_is_better=False),
)


class Spent(Protocol):
    """What is read of a case's cost."""

    @property
    def seconds(self) -> float:
        """Wall-clock time of the interpretation."""
        ...

    @property
    def llm_calls(self) -> int:
        """Calls of language models."""
        ...

    @property
    def tokens(self) -> int:
        """Tokens in and out."""
        ...

    @property
    def usd(self) -> float | None:
        """Money; None where no price is known."""
        ...


def score_cost(cost: Spent) -> Mapping[str, Tally]:
    """The cost of one case; money that nobody knows is no score, and never 0."""
    return {
        "cost.seconds": Tally(cost.seconds),
        "cost.llm_calls": Tally(cost.llm_calls),
        "cost.tokens": Tally(cost.tokens),
        "cost.usd": NOTHING if cost.usd is None else Tally(cost.usd),
    }
