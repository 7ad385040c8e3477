"""Values that cannot be, whatever was measured: shares beyond 0 and 1, bounds the wrong way round, counts that do not add up."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from tracescribe.agents.claims import LabelClaim, Predicate
from tracescribe.agents.findings import DetectionScore, FeatureLabel, JudgedScore
from tracescribe.agents.reporting.report_model import CircuitReport

SHARES = frozenset(
    {
        *("probability", "probability_before", "probability_after", "p_value", "q_value", "alpha", "level"),
        *("auc", "f1", "precision", "recall", "balanced_accuracy", "agreement", "random_agreement"),
        *("agreement_p", "effect_p", "sufficiency_p", "necessity_p"),
        *("error_influence", "replacement_score", "completeness_score", "influence_left_out"),
    }
)
"""Names of fields that hold a share, a probability, a p value or an area under a curve."""
SLACK = 1e-6
"""By which a share may leave 0 to 1: a softmax in single precision sums up to a little more than 1."""
_PARTS = ("targets", "labels", "supernodes", "plans", "measurements", "verdicts", "circuit", "swaps", "unexplained")


def value_faults(report: CircuitReport) -> list[str]:
    """Values that cannot be, in words."""
    document = report.model_dump(mode="json", include=set(_PARTS))
    faults: list[str] = []
    for where, name, value in _fields(document, ""):
        if name in SHARES and isinstance(value, int | float) and not -SLACK <= value <= 1.0 + SLACK:
            faults.append(f"{where} is {value:g}, but it must lie between 0 and 1")
        if isinstance(value, Mapping) and {"low", "high", "level"} <= set(value):
            faults += _interval_faults(where, value)
    for label in report.labels:
        faults += _score_faults(label)
    return faults + _label_faults(report)


def _fields(value: Any, where: str) -> Iterator[tuple[str, str, Any]]:
    """Every field of a JSON value and of what it holds: its JSON Pointer, name and value."""
    if isinstance(value, Mapping):
        for name, child in value.items():
            yield f"{where}/{name}", name, child
            yield from _fields(child, f"{where}/{name}")
    elif isinstance(value, list):
        for place, child in enumerate(value):
            yield from _fields(child, f"{where}/{place}")


def _interval_faults(where: str, interval: Mapping[str, Any]) -> list[str]:
    low, high = interval["low"], interval["high"]
    if not low <= high:
        return [f"{where} ends at {high:g}, below its beginning at {low:g}"]
    of_share = where.startswith(("/labels/", "/swaps/"))
    if of_share and not (low >= -SLACK and high <= 1.0 + SLACK):
        return [f"{where} runs from {low:g} to {high:g}, but what it is of lies between 0 and 1"]
    return []


def _score_faults(label: FeatureLabel) -> list[str]:
    """Scores of a label that its counts do not give."""
    name = f"the label of feature {label.layer}/{label.feature}"
    faults: list[str] = []
    if label.score is not None and not math.isclose(label.score.f1, _f1(label.score), abs_tol=SLACK):
        faults.append(f"{name} has an F1 of {label.score.f1:g}, which its precision and recall do not give")
    for judged in label.judged:
        if any(right > n for right, n in _counts(judged)):
            faults.append(f"{name} was told right in more contexts than were judged ({judged.method}, {judged.judge})")
        elif not math.isclose(judged.balanced_accuracy, _balanced(judged), abs_tol=SLACK):
            faults.append(
                f"{name} has a balanced accuracy ({judged.method}, {judged.judge}) that its counts do not give"
            )
    return faults


def _f1(score: DetectionScore) -> float:
    both = score.precision + score.recall
    return 2.0 * score.precision * score.recall / both if both > 0.0 else 0.0


def _counts(judged: JudgedScore) -> tuple[tuple[int, int], ...]:
    return (
        (judged.right_positive, judged.n_positive),
        (judged.right_random, judged.n_random),
        (judged.right_near_miss, judged.n_near_miss),
    )


def _balanced(judged: JudgedScore) -> float:
    """Mean of the shares told right of positives and of negatives; NaN where one of both was never judged."""
    negatives = judged.n_random + judged.n_near_miss
    if not judged.n_positive or not negatives:
        return math.nan
    right = judged.right_random + judged.right_near_miss
    return (judged.right_positive / judged.n_positive + right / negatives) / 2.0


def _label_faults(report: CircuitReport) -> list[str]:
    """Labels that stand beside a tested claim about another predicate: its verdict would be read as theirs."""
    tested = {verdict.claim_id for verdict in report.verdicts if verdict.outcome != "untested"}
    predicates: dict[tuple[int, int], list[Predicate | None]] = {}
    for label in report.labels:
        predicates.setdefault((label.layer, label.feature), []).append(label.predicate)
    return [
        f"claim {claim.claim_id} tested another predicate than the label of feature {claim.layer}/{claim.feature} has"
        for claim in report.claims
        if isinstance(claim, LabelClaim)
        and claim.claim_id in tested
        and claim.predicate not in predicates.get((claim.layer, claim.feature), [claim.predicate])
    ]
