"""What came of a job, as data for its page: aggregates for all who may see scores, single cases for fewer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from tracescribe.runs.job_results.markdown import cost_facts, listings
from tracescribe.runs.job_results.summing import sum_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tracescribe.runs.job_results.summary import JobSummary
    from tracescribe.runs.store.database import Store

SPANS = 48
"""Of a picture of the rate over time."""
_SHORTEST, _FEWEST = 1.0, 6


class _Sums(BaseModel):
    model_config = ConfigDict(frozen=True)


class ScoreSum(_Sums):
    """Mean of a metric over prompts with its 95 % interval (both ends the mean where there is one prompt)."""

    name: str
    title: str
    meaning: str
    higher_is_better: bool
    mean: float
    low: float
    high: float
    n_prompts: int
    n_cases: int


class FailureSum(_Sums):
    """Failures with one message, numbers and names in it left out; examples are (case id, message)."""

    kind: str
    message: str
    n_cases: int
    advice: str
    examples: tuple[tuple[str, str], ...]


class CaseSum(_Sums):
    """A case that the summary names, and what for."""

    case_id: str
    title: str
    value: str


class ListSum(_Sums):
    """Cases that stand out: the worst, the slowest, the dearest."""

    title: str
    cases: tuple[CaseSum, ...]


class JobSums(_Sums):
    """What came of a job.

    Attributes:
        final: no case waits or runs.
        facts: about cost and time, name and value.
        failures, lists: empty for those who may not open reports.
    """

    job_id: str
    final: bool
    scores: tuple[ScoreSum, ...]
    verdicts: dict[str, int]
    facts: tuple[tuple[str, str], ...]
    failures: tuple[FailureSum, ...]
    lists: tuple[ListSum, ...]


class RateOverTime(_Sums):
    """Cases finished in equal spans of time; `first` and `last` in seconds since 1970 in UTC."""

    first: float | None
    last: float | None
    span_seconds: float
    finished: tuple[int, ...]


def sums_of(store: Store, job_id: str, *, with_cases: bool) -> JobSums:
    """Sum a job up.

    Args:
        with_cases: whether titles and messages of single cases may be shown.

    Raises:
        UnknownIdError: there is no such job.
        StoreError: the store cannot be read.
    """
    summary = sum_up(store, job_id)
    return JobSums(
        job_id=job_id,
        final=summary.final,
        scores=tuple(
            ScoreSum(
                name=one.name,
                title=one.title,
                meaning=one.meaning,
                higher_is_better=one.higher_is_better,
                mean=one.mean.value,
                low=one.mean.low,
                high=one.mean.high,
                n_prompts=one.mean.n,
                n_cases=one.n_cases,
            )
            for one in sorted(summary.scores, key=lambda score: score.name not in summary.shown)
        ),
        verdicts=summary.verdicts,
        facts=tuple((str(name), str(value)) for name, value in cost_facts(summary)),
        failures=_failures(summary) if with_cases else (),
        lists=_lists(summary) if with_cases else (),
    )


def rate_over_time(moments: Sequence[float]) -> RateOverTime:
    """Count finished cases in equal spans from the first to the last: fewer spans where there are few cases.

    Args:
        moments: when cases were finished, in order.
    """
    if not moments:
        return RateOverTime(first=None, last=None, span_seconds=0.0, finished=())
    spans = min(SPANS, max(_FEWEST, len(moments) // 2))
    first, last = moments[0], max(moments[-1], moments[0] + _SHORTEST)
    counts, _ = np.histogram(np.asarray(moments, dtype=np.float64), bins=spans, range=(first, last))
    finished = tuple(int(n) for n in counts)
    return RateOverTime(first=first, last=last, span_seconds=(last - first) / spans, finished=finished)


def _failures(summary: JobSummary) -> tuple[FailureSum, ...]:
    return tuple(
        FailureSum(kind=one.kind, message=one.message, n_cases=one.n_cases, advice=one.advice, examples=one.examples)
        for one in summary.failures
    )


def _lists(summary: JobSummary) -> tuple[ListSum, ...]:
    return tuple(
        ListSum(
            title=title,
            cases=tuple(CaseSum(case_id=one.case_id, title=one.title, value=value) for one, value in listed),
        )
        for title, listed in listings(summary)
    )
