"""Compares two jobs on the cases that both have: scores paired by prompt, verdicts, cost, and what only one finished."""

from __future__ import annotations

import heapq
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tracescribe.evals.scorers.metric import Metric
from tracescribe.evals.scores import METRICS
from tracescribe.evals.statistics.corrections import holm
from tracescribe.evals.statistics.power import detectable_difference
from tracescribe.evals.statistics.resampling import flip_p_value
from tracescribe.runs.job_results.averaging import BOOTSTRAP_UP_TO, Values, mean_of
from tracescribe.runs.job_results.case_rows import case_records
from tracescribe.runs.job_results.comparison import (
    Amounts,
    ComparedCase,
    Comparison,
    JobSide,
    MetricDifference,
    Verdict,
)
from tracescribe.runs.job_results.pairing import CaseIndex, Compact, Pairs
from tracescribe.runs.job_results.report_differences import compare_reports
from tracescribe.runs.job_results.summing import in_order, read_job_row, shown_metrics
from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store

N_LISTED = 20
ALPHA = 0.05
_MOST_CHANGES = 40
_LONGEST_VALUE = 200
_TIE = 1e-9
_KNOWN = {metric.name: metric for metric in METRICS}
_Pair = tuple[Compact, Compact]


def compare_jobs(store: Store, first_id: str, second_id: str, *, read_reports: bool = True) -> Comparison:
    """Compare two jobs of a store; differences are the second minus the first.

    Args:
        read_reports: also compare groups, labels and verdicts of single claims, for which reports are read.

    Raises:
        UnknownIdError: there is no such job.
        InputError: both are one job.
        StoreError: the store cannot be read.
    """
    if first_id == second_id:
        raise InputError(f"job {first_id} is compared with itself; give two jobs")
    rows = read_job_row(store, first_id), read_job_row(store, second_id)
    specifications = tuple(json.loads(row["specification"]) for row in rows)
    first, second = (CaseIndex(case_records(store, job_id)) for job_id in (first_id, second_id))
    pairs = Pairs.of(first, second)
    asked = [name for one in specifications for name in (one.get("scoring") or {}).get("metrics") or ()]
    metrics, shown = _metrics(pairs.done, first, second, asked)
    ranked_by = shown[0] if shown else None
    return Comparison(
        first=_side(rows[0], first),
        second=_side(rows[1], second),
        n_pairs=len(pairs.done),
        only_first=pairs.only_first,
        only_second=pairs.only_second,
        finished_by_one=(
            sum(a.status == "done" for a, _ in pairs.one_done),
            sum(b.status == "done" for _, b in pairs.one_done),
        ),
        warnings=tuple(_warnings(rows, pairs)),
        changed=_changed(*specifications),
        metrics=metrics,
        shown=shown,
        verdicts=_verdicts(pairs.done),
        amounts=_amounts(pairs.done),
        ranked_by=ranked_by,
        largest=() if ranked_by is None else _largest(pairs.done, first, second, ranked_by),
        fewest_pairs=fewest_pairs(len(shown)),
        unfinished=tuple(_listed(pair, pair[0].status, pair[1].status) for pair in pairs.one_done[:N_LISTED]),
        reports=compare_reports(store, (first_id, second_id), pairs.done) if read_reports and pairs.done else None,
    )


def _metrics(
    pairs: Sequence[_Pair], first: CaseIndex, second: CaseIndex, asked: Sequence[str]
) -> tuple[tuple[MetricDifference, ...], tuple[str, ...]]:
    """Every metric that both have, and the names of those that are tested; p values are corrected for these alone."""
    names = in_order(set(first.metrics) & set(second.metrics))
    found = [one for name in names if (one := _metric(pairs, first, second, name)) is not None]
    shown = shown_metrics([one.name for one in found], asked)
    tested = {one.name: one.p_value for one in found if one.name in shown and one.p_value is not None}
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    least = fewest_pairs(len(shown))
    return tuple(_judged(one, corrected.get(one.name), one.name in shown, least) for one in found), shown


def fewest_pairs(n_metrics: int) -> int:
    """Prompts with which a difference can be told from chance at all, when so many metrics are tested.

    Sign flips of n pairs give no p value under 2 / 2^n.
    """
    return math.ceil(math.log2(2 * max(1, n_metrics) / ALPHA) + 1e-9)


def _metric(pairs: Sequence[_Pair], first: CaseIndex, second: CaseIndex, name: str) -> MetricDifference | None:
    metric = _KNOWN.get(name) or Metric(name, name, "")
    ones, others = Values(), Values()
    subjects: dict[str, int] = {}
    gains = []
    for a, b in pairs:
        before, after = first.score(a, name), second.score(b, name)
        if math.isfinite(before) and math.isfinite(after):
            subject = subjects.setdefault(a.subject, len(subjects))
            ones.add(before, subject)
            others.add(after, subject)
            gains.append(after - before if metric.higher_is_better else before - after)
    if not gains:
        return None
    x, y = ones.by_subject(), others.by_subject()
    return MetricDifference(
        name=name,
        title=metric.title,
        higher_is_better=metric.higher_is_better,
        first=float(x.mean()),
        second=float(y.mean()),
        difference=mean_of(y - x),
        wins=sum(gain > _TIE for gain in gains),
        losses=sum(gain < -_TIE for gain in gains),
        ties=sum(abs(gain) <= _TIE for gain in gains),
        p_value=_p_value(x, y),
        p_holm=None,
        detectable=detectable_difference(float((y - x).std(ddof=1)), len(x)) if len(x) > 1 else None,
        says="too few",
    )


def _p_value(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Two-sided p value that the jobs are alike, by prompts."""
    n, apart = len(first), second - first
    if n < 2:
        return None
    if not np.any(np.abs(apart) > _TIE):
        return 1.0
    if n > BOOTSTRAP_UP_TO:
        return 2 * NormalDist().cdf(-abs(float(apart.mean())) / (float(apart.std(ddof=1)) / math.sqrt(n)))
    ones = np.ones(n)
    return flip_p_value(np.stack([first, ones], 1), np.stack([second, ones], 1), Metric("mean", "mean", ""))


def _judged(one: MetricDifference, p_holm: float | None, tested: bool, least: int) -> MetricDifference:
    gap = one.difference
    says: Verdict = "not told apart"
    if not one.wins + one.losses:
        says = "alike"
    elif gap.n < least:
        says = "too few"
    elif not tested:
        says = "not tested"
    elif p_holm is not None and p_holm < ALPHA and not gap.low <= 0 <= gap.high:
        says = "better" if (gap.value > 0) == one.higher_is_better else "worse"
    return replace(one, p_holm=p_holm, says=says)


def _side(row: Mapping[str, Any], index: CaseIndex) -> JobSide:
    counts = Counter(case.status for case in index.cases.values())
    return JobSide(
        job_id=row["job_id"],
        name=row["name"],
        agent=row["agent"],
        model=row["model"],
        status=row["status"],
        n_cases=len(index.cases),
        done=counts["done"],
        failed=counts["failed"],
    )


def _warnings(rows: Sequence[Mapping[str, Any]], pairs: Pairs) -> list[str]:
    one, other = rows
    told = []
    for what, column in (("model", "model_sha256"), ("transcoders", "transcoders_sha256")):
        a, b = one[column], other[column]
        if a and b and a != b:
            told.append(f"the jobs ran other weights of {what} ({a[:12]}, {b[:12]}): differences are theirs too")
    if one["model"] != other["model"]:
        told.append(f"the jobs ran other models ({one['model']}, {other['model']})")
    if pairs.only_first or pairs.only_second:
        told.append(
            f"{pairs.only_first:,} cases are in the first job alone and {pairs.only_second:,} in the second alone; "
            "they are left out"
        )
    if not pairs.done:
        told.append("no case was finished by both jobs; there is nothing to compare")
    for row in rows:
        if row["status"] != "done":
            told.append(f"job {row['job_id']} is {row['status']}: its figures are of the moment")
    return told


def _changed(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    a, b = dict(_flat(first)), dict(_flat(second))
    absent = "–"
    paths = [path for path in dict.fromkeys((*a, *b)) if a.get(path) != b.get(path)]
    return tuple((path, a.get(path, absent), b.get(path, absent)) for path in paths[:_MOST_CHANGES])


def _flat(value: object, path: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        return [row for key, inner in value.items() for row in _flat(inner, f"{path}.{key}" if path else str(key))]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return [(path, text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…")]


def _verdicts(pairs: Sequence[_Pair]) -> tuple[tuple[str, int, int], ...]:
    sides: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for pair in pairs:
        for counts, case in zip(sides, pair, strict=True):
            counts.update(dict(case.verdicts))
    return tuple((name, sides[0][name], sides[1][name]) for name in dict.fromkeys((*sides[0], *sides[1])))


def _amounts(pairs: Sequence[_Pair]) -> tuple[Amounts, ...]:
    timed = [(a.seconds, b.seconds) for a, b in pairs if a.seconds is not None and b.seconds is not None]
    priced = [(a.usd, b.usd) for a, b in pairs if a.usd is not None and b.usd is not None]
    paid = [(a.paid_usd, b.paid_usd) for a, b in pairs]
    found = []
    for name, amounts in (("seconds", timed), ("US$ as reported", priced), ("US$ paid", paid)):
        first, second = sum(a for a, _ in amounts), sum(b for _, b in amounts)
        if first or second:
            found.append(Amounts(name, first, second, second / first if first else None))
    return tuple(found)


def _largest(pairs: Sequence[_Pair], first: CaseIndex, second: CaseIndex, name: str) -> tuple[ComparedCase, ...]:
    scored = [
        (abs(y - x), -place, y - x, x, y)
        for place, (a, b) in enumerate(pairs)
        if math.isfinite(x := first.score(a, name)) and math.isfinite(y := second.score(b, name)) and abs(y - x) > _TIE
    ]
    top = heapq.nlargest(N_LISTED, scored)
    return tuple(_listed(pairs[-place], f"{x:.3f}", f"{y:.3f}", apart) for _, place, apart, x, y in top)


def _listed(pair: _Pair, first: str, second: str, difference: float | None = None) -> ComparedCase:
    a, b = pair
    return ComparedCase(a.title, a.seed, a.case_id, b.case_id, first, second, difference)
