"""Budgets that are real: limits on what one interpretation may spend, and the meter that enforces them."""

from __future__ import annotations

import time
from collections.abc import Callable

from pydantic import Field

from tracescribe.agents.claims import Frozen
from tracescribe.tracer.errors import BudgetExceededError


class Budget(Frozen):
    """Limits of one interpretation; None means no limit.

    The defaults are several times what the offline agent spends on the embedded model, so that they stop a runaway and
    nothing else.

    Attributes:
        experiments: registered claims that may be tested.
        forward_passes: prompts sent through the model, every row of a batch counted (controls included).
        seconds: wall-clock time; a run that this limit cuts short is not reproducible byte for byte.
        llm_calls: requests to a language model.
        tokens: language-model tokens, read and written together.
        usd: money.
    """

    experiments: int | None = Field(default=200, ge=0)
    forward_passes: int | None = Field(default=500_000, ge=0)
    seconds: float | None = Field(default=900.0, ge=0)
    llm_calls: int | None = Field(default=200, ge=0)
    tokens: int | None = Field(default=1_000_000, ge=0)
    usd: float | None = Field(default=None, ge=0)


class Meter:
    """Counts what is spent. A charge that would pass a limit is refused *before* the act, and nothing is counted.

    Attributes:
        budget: the limits.
        experiments, forward_passes, llm_calls, input_tokens, output_tokens: spent so far.
        usd: money spent so far; None while no price was known.
    """

    def __init__(self, budget: Budget, clock: Callable[[], float] = time.monotonic) -> None:
        self.budget = budget
        self.experiments = 0
        self.forward_passes = 0
        self.llm_calls = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.usd: float | None = None
        self._clock = clock
        self._start = clock()

    @property
    def seconds(self) -> float:
        """Seconds since the meter was made."""
        return self._clock() - self._start

    def charge(
        self,
        *,
        experiments: int = 0,
        forward_passes: int = 0,
        llm_calls: int = 0,
        input_tokens: int = 0,
        output_tokens: int = 0,
        usd: float | None = None,
    ) -> None:
        """Count an act that is about to happen.

        Raises:
            BudgetExceededError: the act would pass a limit, or the time is up.
        """
        tokens = self.input_tokens + self.output_tokens
        self._check("seconds", self.seconds, 0, self.budget.seconds)
        self._check("experiments", self.experiments, experiments, self.budget.experiments)
        self._check("forward_passes", self.forward_passes, forward_passes, self.budget.forward_passes)
        self._check("llm_calls", self.llm_calls, llm_calls, self.budget.llm_calls)
        self._check("tokens", tokens, input_tokens + output_tokens, self.budget.tokens)
        self._check("usd", self.usd or 0.0, usd or 0.0, self.budget.usd)
        self.record(llm_calls=llm_calls, input_tokens=input_tokens, output_tokens=output_tokens, usd=usd)
        self.experiments += experiments
        self.forward_passes += forward_passes

    def record(
        self, *, llm_calls: int = 0, input_tokens: int = 0, output_tokens: int = 0, usd: float | None = None
    ) -> None:
        """Count what has already been spent (the bill of a language model is known only afterwards); never refuses."""
        self.llm_calls += llm_calls
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        if usd is not None:
            self.usd = (self.usd or 0.0) + usd

    @staticmethod
    def _check(name: str, spent: float, more: float, limit: float | None) -> None:
        if limit is not None and spent + more > limit:
            raise BudgetExceededError(
                f"budget for {name} is used up: {spent:g} spent, {more:g} more needed, limit {limit:g}; "
                f"raise the {name} limit to go on"
            )
