"""Budgets that are real: limits on what one interpretation may spend, and the meter that enforces them.

A language model's bill is known only after the answer. So the most that a call can cost is held before it is sent and
exchanged for the bill afterwards; what is held counts against the limits, and calls that run at once cannot overspend
together. A server that bills more than was held is found out at once: the first call of a meter goes alone, and after
a bill beyond what was held all further calls go one at a time. So a limit is never passed by more than one call, unless
a server that billed as foreseen before begins to bill more while several calls are on their way.

An attempt that reached the server and brought no answer may have been billed or not. It counts against the limits as if
it had cost the most, and stands apart from what was spent: reports tell what is known.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from pydantic import Field

from tracescribe.agents.calls.costs import Cost
from tracescribe.agents.claims import Frozen
from tracescribe.tracer.errors import BudgetExceededError

__all__ = ["Budget", "Cost", "Hold", "Meter", "MeterSnapshot"]

_PICO = 10**12


class Budget(Frozen):
    """Limits of one interpretation; None means no limit.

    The defaults are several times what the offline agent spends on the embedded model, and twice what a pipeline asks a
    language model at most, so that they stop a runaway and nothing else.

    Attributes:
        experiments: registered claims that may be tested.
        forward_passes: prompts sent through the model, every row of a batch counted (controls included).
        seconds: wall-clock time; a run that this limit cuts short is not reproducible byte for byte.
        llm_calls: requests to a language model; the attempts at one request count once.
        tokens: language-model tokens, read and written together.
        usd: money; needs a model whose price is known.
    """

    experiments: int | None = Field(default=200, ge=0)
    forward_passes: int | None = Field(default=500_000, ge=0)
    seconds: float | None = Field(default=900.0, ge=0, allow_inf_nan=False)
    llm_calls: int | None = Field(default=1000, ge=0)
    tokens: int | None = Field(default=5_000_000, ge=0)
    usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class MeterSnapshot(Frozen):
    """What a meter has counted, as plain values: a run that goes on in another process starts from it.

    Attributes:
        seconds: on the meter's clock, over all processes of the run.
        usd: None while no price was known.
        billed: hashes of the requests whose answers are in these numbers, sorted.
        doubtful_tokens, doubtful_usd: what attempts without an answer may have cost at most.
    """

    experiments: int = Field(default=0, ge=0)
    forward_passes: int = Field(default=0, ge=0)
    llm_calls: int = Field(default=0, ge=0)
    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    usd: float | None = None
    seconds: float = Field(default=0.0, ge=0)
    billed: tuple[str, ...] = ()
    doubtful_tokens: int = Field(default=0, ge=0)
    doubtful_usd: float = Field(default=0.0, ge=0)


class Meter:
    """Counts what is spent. A charge that would pass a limit is refused *before* the act, and nothing is counted.

    Safe to use from several threads.

    Attributes:
        budget: the limits.
        experiments, forward_passes, llm_calls, input_tokens, output_tokens: spent so far.
        doubtful_tokens, doubtful_usd: what attempts without an answer may have cost at most, beyond what was spent.
    """

    def __init__(self, budget: Budget, clock: Callable[[], float] = time.monotonic) -> None:
        self.budget = budget
        self.experiments = 0
        self.forward_passes = 0
        self.llm_calls = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self._pico_usd: int | None = None
        self.doubtful_tokens = 0
        self.doubtful_usd = 0.0
        self._clock = clock
        self._start = clock()
        self._billed: set[str] = set()
        self._held: list[Hold] = []
        self._together = False  # whether calls may be on their way together
        self._overbilled = False
        self._changed = threading.Condition(threading.RLock())

    @property
    def usd(self) -> float | None:
        """Money spent so far; None while no price was known.

        Added up in whole 1e-12 USD: bills come in any order, and their sum is to be the same in each.
        """
        return None if self._pico_usd is None else self._pico_usd / _PICO

    @property
    def seconds(self) -> float:
        """Seconds since the meter was made, those of earlier processes of the same run included."""
        return self._clock() - self._start

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the time is up, never negative; None without a limit."""
        return None if self.budget.seconds is None else max(0.0, self.budget.seconds - self.seconds)

    # -- what is known beforehand -------------------------------------------------------------------------------------

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
        cost = Cost(llm_calls, input_tokens, output_tokens, usd)
        with self._changed:
            self._check("seconds", self.seconds, 0, self.budget.seconds)
            self._check("experiments", self.experiments, experiments, self.budget.experiments)
            self._check("forward_passes", self.forward_passes, forward_passes, self.budget.forward_passes)
            self._check_cost(cost)
            self._add(cost)
            self.experiments += experiments
            self.forward_passes += forward_passes

    def record(
        self, *, llm_calls: int = 0, input_tokens: int = 0, output_tokens: int = 0, usd: float | None = None
    ) -> None:
        """Count what has already been spent; never refuses."""
        with self._changed:
            self._add(Cost(llm_calls, input_tokens, output_tokens, usd))

    # -- what is known only afterwards --------------------------------------------------------------------------------

    def hold(self, most: Cost) -> Hold:
        """Set aside the most that a call can cost, before it is sent. Waits while another call has to go alone.

        Raises:
            BudgetExceededError: it could pass a limit, or the time is up.
        """
        with self._changed:
            while self._held and (self._overbilled or not self._together):
                self._changed.wait()
            self._check("seconds", self.seconds, 0, self.budget.seconds)
            self._check_cost(most)
            held = Hold(self, most)
            self._held.append(held)
        return held

    def fits(self, more: Cost) -> bool:
        """Whether so much could be spent on top of all that is counted and held."""
        with self._changed:
            try:
                self._check_cost(more)
            except BudgetExceededError:
                return False
            return True

    def is_billed(self, request_sha256: str) -> bool:
        """Whether the answer to this request is in the meter's numbers already."""
        with self._changed:
            return request_sha256 in self._billed

    # -- across processes ---------------------------------------------------------------------------------------------

    def snapshot(self) -> MeterSnapshot:
        """What has been counted; what is merely held is left out."""
        with self._changed:
            return MeterSnapshot(
                experiments=self.experiments,
                forward_passes=self.forward_passes,
                llm_calls=self.llm_calls,
                input_tokens=self.input_tokens,
                output_tokens=self.output_tokens,
                usd=self.usd,
                seconds=max(0.0, self.seconds),
                billed=tuple(sorted(self._billed)),
                doubtful_tokens=self.doubtful_tokens,
                doubtful_usd=self.doubtful_usd,
            )

    def restore(self, snapshot: MeterSnapshot) -> None:
        """Go on from a snapshot: its numbers take the place of this meter's, and its clock goes on."""
        with self._changed:
            self.experiments = snapshot.experiments
            self.forward_passes = snapshot.forward_passes
            self.llm_calls = snapshot.llm_calls
            self.input_tokens = snapshot.input_tokens
            self.output_tokens = snapshot.output_tokens
            self._pico_usd = None if snapshot.usd is None else round(snapshot.usd * _PICO)
            self.doubtful_tokens = snapshot.doubtful_tokens
            self.doubtful_usd = snapshot.doubtful_usd
            self._start = self._clock() - snapshot.seconds
            self._billed = set(snapshot.billed)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _settle(self, held: Hold, bill: Cost, request_sha256: str | None) -> None:
        """Exchange what was held for the bill; like the next two, called by `Hold` alone."""
        with self._changed:
            if held not in self._held:
                return
            self._held.remove(held)
            self._add(bill)
            self._together = True
            self._overbilled |= not bill.within(held.most)
            if request_sha256 is not None:
                self._billed.add(request_sha256)
            self._changed.notify_all()

    def _doubt(self, held: Hold) -> None:
        with self._changed:
            self.doubtful_tokens += held.now.tokens
            self.doubtful_usd += held.now.usd or 0.0
            held.now = Cost(llm_calls=held.now.llm_calls)

    def _renew(self, held: Hold) -> None:
        with self._changed:
            self._check("seconds", self.seconds, 0, self.budget.seconds)
            before, held.now = held.now, Cost()
            try:
                self._check_cost(held.most)
            except BudgetExceededError:
                held.now = before
                raise
            held.now = held.most

    def _add(self, cost: Cost) -> None:
        self.llm_calls += cost.llm_calls
        self.input_tokens += cost.input_tokens
        self.output_tokens += cost.output_tokens
        if cost.usd is not None:
            self._pico_usd = (self._pico_usd or 0) + round(cost.usd * _PICO)

    def _check_cost(self, more: Cost) -> None:
        held = [hold.now for hold in self._held]
        calls = self.llm_calls + sum(cost.llm_calls for cost in held)
        tokens = self.input_tokens + self.output_tokens + self.doubtful_tokens + sum(cost.tokens for cost in held)
        usd = (self.usd or 0.0) + self.doubtful_usd + sum(cost.usd or 0.0 for cost in held)
        self._check("llm_calls", calls, more.llm_calls, self.budget.llm_calls)
        self._check("tokens", tokens, more.tokens, self.budget.tokens)
        self._check("usd", usd, more.usd or 0.0, self.budget.usd)

    @staticmethod
    def _check(name: str, spent: float, more: float, limit: float | None) -> None:
        if limit is not None and spent + more > limit:
            raise BudgetExceededError(
                f"budget for {name} is used up: {spent:g} spent, {more:g} more needed, limit {limit:g}; "
                f"raise the {name} limit to go on"
            )


class Hold:
    """What is set aside for one call, until its bill comes.

    Attributes:
        most: what one attempt can cost.
        now: what is set aside at the moment.
    """

    def __init__(self, meter: Meter, most: Cost) -> None:
        self.most = most
        self.now = most
        self._meter = meter

    def settle(self, bill: Cost, request_sha256: str | None = None) -> None:
        """Count the bill instead of what is held; only the first time does anything.

        Args:
            request_sha256: of the request whose answer is paid by this bill; it is not charged again.
        """
        self._meter._settle(self, bill, request_sha256)

    def doubt(self) -> None:
        """An attempt brought no answer and may have been billed: what was held for it stays counted as doubtful."""
        self._meter._doubt(self)

    def renew(self) -> None:
        """Set the most aside once more, for another attempt.

        Raises:
            BudgetExceededError: it could pass a limit, or the time is up; what is held stays as it was.
        """
        self._meter._renew(self)
