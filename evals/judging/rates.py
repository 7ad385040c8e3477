"""How claims whose truth is known were judged, counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tracescribe.agents.findings import Outcome
from tracescribe.agents.testing.experiment_settings import MIN_CONTROLS
from tracescribe.tracer.statistics import wilson_interval

Source = Literal["registered", "adversary", "truthful", "random"]
OUTCOMES: tuple[Outcome, ...] = ("supported", "refuted", "inconclusive", "untested")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JudgedClaim(_Frozen):
    """One claim, what is true of it, and what the judge said.

    Attributes:
        source: who made it: a sheet of planted claims, or a scripted language model through the loop.
        sort: how it was made.
        true: whether it is true.
        strength: its true effect as a share of its threshold.
        outcome: in the report that it stood in.
        alone: the same judged as if it were the only claim of its report: the easiest way to be supported.
        effect: as the judge measured it; the truth's own measure is `true_effect`.
        n_controls: behind the verdict.
    """

    source: Source
    prompt: str
    kind: str
    sort: str
    true: bool
    why: str
    strength: float | None
    true_effect: float | None
    outcome: Outcome
    alone: Outcome
    effect: float | None
    n_controls: int
    reason: str
    claim: str

    @property
    def testable(self) -> bool:
        """Whether there was enough to decide on: a measurement, and the controls that the rule asks for."""
        return self.outcome != "untested" and self.n_controls >= MIN_CONTROLS


class Rate(_Frozen):
    """A share with its 95 % interval (Wilson)."""

    count: int = Field(ge=0)
    n: int = Field(ge=0)
    low: float
    high: float

    @classmethod
    def of(cls, count: int, n: int) -> Rate:
        """`count` of `n`."""
        bounds = wilson_interval(count, n)
        return cls(count=count, n=n, low=bounds.low, high=bounds.high)

    @property
    def share(self) -> float | None:
        """None where nothing was counted."""
        return self.count / self.n if self.n else None


class KindRates(_Frozen):
    """Outcomes of the claims of one kind, all of one truth.

    Attributes:
        kind: of claim, or `all`.
        n: how many.
        outcomes: by outcome.
        supported: in their reports.
        supported_alone: each judged as if it stood alone.
        of_testable: supported in their reports, of those for which there was enough data to decide on.
    """

    kind: str
    n: int
    outcomes: dict[Outcome, int]
    supported: Rate
    supported_alone: Rate
    of_testable: Rate


def rates(claims: Sequence[JudgedClaim], kinds: Iterable[str]) -> tuple[KindRates, ...]:
    """Rates by kind, and of all."""
    found = [_rates(kind, [c for c in claims if c.kind == kind]) for kind in kinds]
    return (*found, _rates("all", claims))


def _rates(kind: str, claims: Sequence[JudgedClaim]) -> KindRates:
    outcomes: dict[Outcome, int] = {outcome: sum(c.outcome == outcome for c in claims) for outcome in OUTCOMES}
    alone = sum(c.alone == "supported" for c in claims)
    return KindRates(
        kind=kind,
        n=len(claims),
        outcomes=outcomes,
        supported=Rate.of(outcomes["supported"], len(claims)),
        supported_alone=Rate.of(alone, len(claims)),
        of_testable=Rate.of(outcomes["supported"], sum(c.testable for c in claims)),
    )
