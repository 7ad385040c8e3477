"""How a benchmark is run, and who is told about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from tracescribe.agents.budget import Budget
from tracescribe.evals.benchmark.results import CaseResult
from tracescribe.tracer.errors import SettingError

DEFAULT_SHUFFLINGS = 10
"""Shufflings of gold that the permutation control of one case is the mean of, for the agent that is named first."""
SPARE_SECONDS = 60.0
"""A case is ended so long after its budget of seconds is used up: an agent that keeps its budget is never ended."""
LONGEST_CASE_SECONDS = 3600.0
"""When a case is ended if its budget has no limit of seconds."""


@dataclass(frozen=True)
class RunSettings:
    """How agents are run.

    Attributes:
        seeds: every agent interprets every circuit once with each.
        budget: of one interpretation.
        jobs: worker processes.
        case_seconds: a case is ended after so long; None: `SPARE_SECONDS` after its budget of seconds.
        interventions: also give the scores that run the model.
        shufflings: of gold, for the permutation control; 0 leaves it out.
        max_usd: no case that may cost money is begun once the run has cost so much; None for no limit.
        reuse: take results that the folder already holds.

    Raises:
        SettingError: no seed, a seed that occurs twice, no job, or no time for a case.
    """

    seeds: tuple[int, ...] = (0,)
    budget: Budget = field(default_factory=Budget)
    jobs: int = 1
    case_seconds: float | None = None
    interventions: bool = True
    shufflings: int = DEFAULT_SHUFFLINGS
    max_usd: float | None = None
    reuse: bool = True

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise SettingError(f"seeds are {list(self.seeds)}; give at least one, none twice, none below 0")
        if self.jobs < 1:
            raise SettingError(f"jobs is {self.jobs}, but a benchmark needs at least 1")
        if self.case_seconds is not None and not self.case_seconds > 0:
            raise SettingError(f"a case may take {self.case_seconds} s, but it needs some time")

    @property
    def limit(self) -> float:
        """Seconds after which a case is ended."""
        if self.case_seconds is not None:
            return self.case_seconds
        return LONGEST_CASE_SECONDS if self.budget.seconds is None else self.budget.seconds + SPARE_SECONDS


class BenchProgress(Protocol):
    """Told after every case."""

    def __call__(self, done: int, total: int, result: CaseResult, reused: bool, /) -> None:
        """`reused`: the result was found in the folder."""
        ...


Note = Callable[[str], None]
"""Told, in a line, what people should know while it runs, such as a result that was damaged; parts may be untrusted."""
