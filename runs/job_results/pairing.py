"""Pairs the cases of two jobs by what was interpreted, holding a few hundred bytes of each."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tracescribe.runs.job_results.case_rows import CaseRecord


@dataclass(frozen=True, slots=True)
class Compact:
    """What is held of a case; `scores` in the order of `CaseIndex.metrics`, NaN where there is none."""

    case_id: str
    title: str
    seed: int
    status: str
    subject: str
    seconds: float | None
    paid_usd: float
    usd: float | None
    verdicts: tuple[tuple[str, int], ...]
    scores: array[float]


class CaseIndex:
    """The cases of one job by what was interpreted; the same prompt and seed twice in a job are told apart by order."""

    def __init__(self, records: Iterable[CaseRecord]) -> None:
        self.metrics: dict[str, int] = {}
        self.cases: dict[tuple[str, int], Compact] = {}
        times: dict[str, int] = {}
        for record in records:
            number = times.get(record.case_key, 0)
            times[record.case_key] = number + 1
            self.cases[record.case_key, number] = self._compact(record)

    def score(self, case: Compact, metric: str) -> float:
        """A case's score, NaN where there is none."""
        place = self.metrics.get(metric)
        return math.nan if place is None or place >= len(case.scores) else case.scores[place]

    def _compact(self, record: CaseRecord) -> Compact:
        for name in record.scores:
            self.metrics.setdefault(name, len(self.metrics))
        scores = array("d", [math.nan]) * len(self.metrics)
        for name, value in record.scores.items():
            scores[self.metrics[name]] = value
        return Compact(
            case_id=record.case_id,
            title=record.title,
            seed=record.seed,
            status=record.status,
            subject=record.subject,
            seconds=record.seconds,
            paid_usd=record.paid_usd,
            usd=record.usd,
            verdicts=tuple(record.verdicts.items()),
            scores=scores,
        )


@dataclass(frozen=True)
class Pairs:
    """Cases of two jobs side by side.

    Attributes:
        done: that both finished with a report.
        one_done: that both have and one of them finished.
        only_first, only_second: numbers of cases that the other job does not have.
    """

    done: tuple[tuple[Compact, Compact], ...]
    one_done: tuple[tuple[Compact, Compact], ...]
    only_first: int
    only_second: int

    @classmethod
    def of(cls, first: CaseIndex, second: CaseIndex) -> Pairs:
        """Pair two jobs, in the order of the first."""
        both = list(_both(first, second))
        done = tuple(pair for pair in both if all(case.status == "done" for case in pair))
        one = tuple(pair for pair in both if sum(case.status == "done" for case in pair) == 1)
        return cls(done, one, len(first.cases) - len(both), len(second.cases) - len(both))


def _both(first: CaseIndex, second: CaseIndex) -> Iterator[tuple[Compact, Compact]]:
    for key, case in first.cases.items():
        other = second.cases.get(key)
        if other is not None:
            yield case, other
