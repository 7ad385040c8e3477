"""Sums a job up in one pass over its cases, with memory for a few numbers a case."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from tracescribe.evals.scorers.metric import Metric
from tracescribe.evals.scores import METRICS, OVERALL
from tracescribe.runs.job_results.averaging import Values, histogram, spread_of
from tracescribe.runs.job_results.case_rows import CaseRecord, case_records
from tracescribe.runs.job_results.failure_groups import LIMITS_OF_ASKING, FailureGroups, limit_of
from tracescribe.runs.job_results.largest import Largest
from tracescribe.runs.job_results.origin import provenance_of
from tracescribe.runs.job_results.summary import (
    CostSummary,
    GroupScores,
    JobSummary,
    Provenance,
    ScoreSummary,
    TimeSummary,
)
from tracescribe.runs.store.tables import jobs
from tracescribe.tracer.errors import UnknownIdError

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store

MAX_GROUPS = 60
"""Families, and tags, that have a line of their own."""
MAX_SHOWN = 8
"""Metrics that tables of groups show where the job names none."""
_POINTS = 100
STATUSES = ("done", "failed", "cancelled", "running", "waiting")
_MAIN = frozenset(
    (
        OVERALL.name, "selection.auc", "grouping.placed_b3_f1", "grouping.b3_f1", "labels.exact", "causal.f1", "edges.f1",
    )
)  # fmt: skip
_KNOWN = {metric.name: metric for metric in METRICS}


def sum_up(store: Store, job_id: str) -> JobSummary:
    """The summary of a job as it stands.

    Raises:
        UnknownIdError: there is no such job.
        StoreError: the store cannot be read.
    """
    job = read_job_row(store, job_id)
    specification: dict[str, Any] = json.loads(job["specification"])
    asked = tuple((specification.get("scoring") or {}).get("metrics") or ())
    sums = _Sums(job_id, asked)
    for case in case_records(store, job_id):
        sums.add(case)
    return sums.summary(job, provenance_of(store, job, specification))


def read_job_row(store: Store, job_id: str) -> dict[str, Any]:
    """A job's row by column.

    Raises:
        UnknownIdError: there is no such job.
        StoreError: the store cannot be read.
    """
    query = sa.select(jobs).where(jobs.c.job_id == job_id)
    row = store.read(lambda connection: connection.execute(query).mappings().first())
    if row is None:
        raise UnknownIdError(f"there is no job {job_id!r}; see 'tracescribe jobs list'")
    return dict(row)


class _Sums:
    """What is held while cases go by."""

    def __init__(self, job_id: str, asked: Sequence[str]) -> None:
        self.asked = asked
        self.statuses: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter()
        self.cut_short: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.workers: set[str] = set()
        self.failures = FailureGroups(job_id)
        self.subjects: dict[str, int] = {}
        self.scores: dict[str, Values] = {}
        self.groups: dict[str, dict[str, tuple[Counter[str], dict[str, Values]]]] = {"family": {}, "tag": {}}
        self.worst: dict[str, Largest] = {}
        self.slowest, self.dearest = Largest(), Largest()
        self.paid_usd, self.usd = 0.0, 0.0
        self.seconds, self.paid = array("d"), array("d")
        self.finished_at, self.paid_then = array("d"), array("d")
        self.first_start: float | None = None

    def add(self, case: CaseRecord) -> None:
        self.statuses[case.status] += 1
        self.paid_usd += case.paid_usd
        self.counts.update(paid_tokens=case.paid_tokens, paid_calls=case.paid_calls)
        if case.started_at is not None:
            self.first_start = min(case.started_at, self.first_start or case.started_at)
        if case.status == "failed":
            self.failures.add(case.case_id, case.failure_kind or "error", case.failure_message or "no message")
        if case.status in ("done", "failed"):
            self._add_finished(case)

    def _add_finished(self, case: CaseRecord) -> None:
        self.paid.append(case.paid_usd)
        if case.paid_usd > 0:
            self.dearest.add(case.paid_usd, case, case.paid_usd)
        if case.finished_at is not None:
            self.finished_at.append(case.finished_at)
            self.paid_then.append(case.paid_usd)
        if case.worker_id is not None:
            self.workers.add(case.worker_id)
        if case.seconds is not None:
            self.seconds.append(case.seconds)
            self.slowest.add(case.seconds, case, case.seconds, case.failure_kind or "")
        figures = case.figures
        self.verdicts.update(case.verdicts)
        if figures.get("cut_short"):
            limit = limit_of(str(figures["cut_short"]))
            if limit in self.cut_short or len(self.cut_short) < MAX_GROUPS:
                self.cut_short[limit] += 1
            self.counts["unasked"] += limit in LIMITS_OF_ASKING and not figures.get("llm_calls")
        self.counts.update(
            {name: int(figures.get(name) or 0) for name in ("input_tokens", "output_tokens", "llm_calls")}
        )
        if case.usd is not None:
            self.usd += case.usd
            self.counts["priced"] += 1
        self._add_scores(case)

    def _add_scores(self, case: CaseRecord) -> None:
        if not case.scores:
            return
        subject = self.subjects.setdefault(case.subject, len(self.subjects))
        for name, value in case.scores.items():
            self.scores.setdefault(name, Values()).add(value, subject)
            known = _KNOWN.get(name)
            if name == OVERALL.name or name in self.asked or (known is not None and known.headline):
                sign = 1.0 if known is not None and not known.higher_is_better else -1.0
                self.worst.setdefault(name, Largest()).add(sign * value, case, value, case.family)
        for kind, names in (("family", (case.family,)), ("tag", case.tags)):
            for group in filter(None, names):
                held = self.groups[kind]
                if group in held or len(held) < MAX_GROUPS:
                    n, values = held.setdefault(group, (Counter(), {}))
                    n["cases"] += 1
                    for name, value in case.scores.items():
                        values.setdefault(name, Values()).add(value, subject)

    def summary(self, job: dict[str, Any], provenance: Provenance) -> JobSummary:
        scores = tuple(
            _score(_metric(name), self.scores[name]) for name in in_order(self.scores) if len(self.scores[name])
        )
        names = [one.name for one in scores]
        ranked_by = next((name for name in (*self.asked, OVERALL.name, *names) if name in self.worst), None)
        shown = shown_metrics(names, self.asked)
        return JobSummary(
            job_id=job["job_id"],
            name=job["name"],
            status=job["status"],
            message=job["message"],
            agent=job["agent"],
            created_at=job["created_at"],
            created_by=job["created_by"],
            final=not self.statuses["waiting"] + self.statuses["running"],
            n_cases=sum(self.statuses.values()),
            cases={status: self.statuses[status] for status in STATUSES},
            scores=scores,
            shown=shown,
            families=self._groups("family", shown),
            tags=self._groups("tag", shown),
            verdicts=dict(self.verdicts.most_common()),
            cut_short=dict(self.cut_short.most_common()),
            unasked=self.counts["unasked"],
            cost=self._cost(),
            time=self._time(),
            ranked_by=ranked_by,
            worst=() if ranked_by is None else self.worst[ranked_by].cases(),
            slowest=self.slowest.cases(),
            dearest=self.dearest.cases(),
            failures=self.failures.groups(),
            provenance=provenance,
        )

    def _groups(self, kind: str, shown: Sequence[str]) -> tuple[GroupScores, ...]:
        return tuple(
            GroupScores(
                name,
                n["cases"],
                {metric: mean for metric in shown if metric in values and (mean := values[metric].mean()) is not None},
            )
            for name, (n, values) in sorted(self.groups[kind].items())
        )

    def _cost(self) -> CostSummary:
        return CostSummary(
            paid_usd=self.paid_usd,
            paid_tokens=self.counts["paid_tokens"],
            paid_calls=self.counts["paid_calls"],
            usd=self.usd if self.counts["priced"] else None,
            input_tokens=self.counts["input_tokens"],
            output_tokens=self.counts["output_tokens"],
            llm_calls=self.counts["llm_calls"],
            per_case=spread_of(self.paid) if self.paid_usd else None,
            over_time=_over_time(self.finished_at, self.paid_then) if self.paid_usd else (),
        )

    def _time(self) -> TimeSummary:
        per_case = spread_of(self.seconds)
        last = max(self.finished_at, default=None)
        wall = None if last is None or self.first_start is None else max(0.0, last - self.first_start)
        told = TimeSummary(
            wall_seconds=wall,
            worker_seconds=float(sum(self.seconds)),
            per_case=per_case,
            per_minute=60 * len(self.finished_at) / wall if wall else None,
            workers=len(self.workers),
        )
        if per_case is None:
            return told
        end = per_case.p99 or per_case.largest or 1.0
        steps = histogram(np.array(self.seconds), 0.0, end)
        return TimeSummary(**(told.__dict__ | {"histogram": steps, "first": 0.0, "last": end}))


def in_order(names: Iterable[str]) -> list[str]:
    """Names of metrics as the product lists them, others after them by name."""
    places = {name: place for place, name in enumerate(_KNOWN)}
    return sorted(names, key=lambda name: (places.get(name, len(places)), name))


def shown_metrics(names: Sequence[str], asked: Sequence[str]) -> tuple[str, ...]:
    """Those that tables show: the job's own, else the main score of each scorer, else the first."""
    own = [name for name in asked if name in names]
    main = [name for name in names if name in _MAIN]
    if "grouping.placed_b3_f1" in main and "grouping.b3_f1" in main:
        main.remove("grouping.b3_f1")  # the main one of people's gold alone
    return tuple((own or main or list(names))[:MAX_SHOWN])


def _metric(name: str) -> Metric:
    return _KNOWN.get(name) or Metric(name, name, "")


def _score(metric: Metric, values: Values) -> ScoreSummary:
    mean = values.mean()
    assert mean is not None, "asked for with values"
    every = values.all()
    first, last = min(0.0, float(every.min())), max(1.0, float(every.max()))
    return ScoreSummary(
        name=metric.name,
        title=metric.title,
        meaning=metric.meaning,
        higher_is_better=metric.higher_is_better,
        mean=mean,
        n_cases=len(values),
        histogram=histogram(every, first, last),
        first=first,
        last=last,
    )


def _over_time(moments: array[float], paid: array[float]) -> tuple[tuple[float, float], ...]:
    at = np.array(moments)
    order = np.argsort(at, kind="stable")
    sums = np.cumsum(np.array(paid)[order])
    places = np.unique(np.linspace(0, len(at) - 1, min(_POINTS, len(at))).astype(np.int64))
    return tuple((float(at[order][i] - at[order][0]), float(sums[i])) for i in places)
