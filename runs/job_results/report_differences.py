"""How alike the reports of two jobs are on the same cases: circuits, groups, labels, and claims whose verdicts differ."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tracescribe.runs.access import log_export
from tracescribe.runs.job_results.averaging import mean_of
from tracescribe.runs.job_results.case_rows import artefacts_of
from tracescribe.runs.job_results.comparison import ReportDifferences
from tracescribe.runs.job_results.pairing import Compact
from tracescribe.runs.job_results.summary import Mean
from tracescribe.runs.store.errors import StoreDamagedError
from tracescribe.tracer.provenance import canonical_json

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store

REPORT = "report.json"
MOST_READ = 400
"""Pairs of reports that are read; each takes some ten milliseconds."""
N_FLIPPED = 20
_AT_ONCE = 100
_NAMES = ("claim_id", "statement")
"""Fields of a claim that say nothing of what it claims."""
_SUPERNODES = ("supernode", "supernodes", "source", "destination")
"""Fields that name supernodes by ids, which mean nothing in another report."""
_OPPOSED = frozenset({("supported", "refuted"), ("refuted", "supported")})

Feature = tuple[int, int, int]


def compare_reports(
    store: Store, job_ids: tuple[str, str], pairs: Sequence[tuple[Compact, Compact]]
) -> ReportDifferences:
    """Compare the reports of cases that both jobs finished; with many pairs evenly spaced ones.

    What single reports claim comes out of this, so the audit log tells first that they are opened.

    Raises:
        AccessDeniedError: whoever asks may not see single reports.
        StoreError: the store cannot be read, or a report is damaged or missing.
    """
    places = np.unique(np.linspace(0, len(pairs) - 1, min(MOST_READ, len(pairs))).astype(np.int64))
    chosen = [pairs[place] for place in places]
    for place, job_id in enumerate(job_ids):
        log_export(store, None, job_id, [pair[place].case_id for pair in chosen], form="comparison")
    features, groups, labels = [], [], []
    verdicts: Counter[tuple[str, str]] = Counter()
    flipped: list[tuple[str, str]] = []
    n_read = 0
    for start in range(0, len(chosen), _AT_ONCE):
        part = chosen[start : start + _AT_ONCE]
        names = artefacts_of(store, [case.case_id for pair in part for case in pair])
        for pair in part:
            hashes = [names.get(case.case_id, {}).get(REPORT) for case in pair]
            if None in hashes:
                continue  # retention took it
            n_read += 1
            one, other = (_read(store, str(sha256)) for sha256 in hashes)
            features.append(jaccard(circuit_features(one), circuit_features(other)))
            groups.append(group_likeness(supernode_sets(one), supernode_sets(other)))
            labels.append(jaccard(label_pairs(one), label_pairs(other)))
            outcomes = claim_outcomes(one), claim_outcomes(other)
            for claim in sorted(outcomes[0].keys() & outcomes[1].keys()):
                both = outcomes[0][claim][0], outcomes[1][claim][0]
                verdicts[both] += 1
                if both in _OPPOSED:
                    flipped.append((pair[0].title, f"{both[0]} → {both[1]}: {outcomes[0][claim][1]}"))
    return ReportDifferences(
        n_read=n_read,
        n_pairs=len(pairs),
        features=_mean(features),
        groups=_mean(groups),
        labels=_mean(labels),
        verdicts=tuple((a, b, n) for (a, b), n in sorted(verdicts.items())),
        flipped=tuple(flipped[:N_FLIPPED]),
        n_flipped=len(flipped),
    )


def jaccard(first: frozenset[Any], second: frozenset[Any]) -> float | None:
    """Shared members by all members; None where both sets are empty."""
    every = first | second
    return len(first & second) / len(every) if every else None


def group_likeness(first: Sequence[frozenset[Any]], second: Sequence[frozenset[Any]]) -> float | None:
    """Mean Jaccard index of every group of both with its best partner; None where neither has groups."""
    best = [max((jaccard(a, b) or 0.0 for b in second), default=0.0) for a in first]
    best += [max((jaccard(b, a) or 0.0 for a in first), default=0.0) for b in second]
    return sum(best) / len(best) if best else None


def supernode_sets(report: Mapping[str, Any]) -> tuple[frozenset[Feature], ...]:
    """Members of the supernodes that a report stands by."""
    return tuple(_members(one) for one in report["supernodes"] if not one.get("rejected"))


def circuit_features(report: Mapping[str, Any]) -> frozenset[Feature]:
    """All features of the circuit."""
    return frozenset().union(*supernode_sets(report))


def label_pairs(report: Mapping[str, Any]) -> frozenset[tuple[int, int, str]]:
    """(layer, feature, label), white space and case left out."""
    return frozenset(
        (int(one["layer"]), int(one["feature"]), " ".join(str(one["text"]).casefold().split()))
        for one in report["labels"]
    )


def claim_outcomes(report: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """(outcome, statement) of every judged claim, by what it claims: supernodes stand for their members, ids for nothing."""
    members = {one["supernode_id"]: sorted(_members(one)) for one in report["supernodes"]}
    outcomes = {one["claim_id"]: str(one["outcome"]) for one in report["verdicts"]}
    found = {}
    for claim in report["claims"]:
        outcome = outcomes.get(claim["claim_id"])
        if outcome is not None:
            told = {
                name: _resolved(value, members) if name in _SUPERNODES else value
                for name, value in claim.items()
                if name not in _NAMES
            }
            found[canonical_json(told)] = outcome, str(claim["statement"])
    return found


def _resolved(value: Any, members: Mapping[str, list[Feature]]) -> Any:
    if isinstance(value, str):
        return members.get(value, value)
    if isinstance(value, list):
        return [_resolved(one, members) for one in value]
    return value


def _members(supernode: Mapping[str, Any]) -> frozenset[Feature]:
    return frozenset((int(m["layer"]), int(m["position"]), int(m["feature"])) for m in supernode["members"])


def _read(store: Store, sha256: str) -> Mapping[str, Any]:
    try:
        report = json.loads(store.artefacts.read(sha256))
        if not all(isinstance(report[name], list) for name in ("supernodes", "labels", "claims", "verdicts")):
            raise ValueError("it is no report")
    except (ValueError, KeyError, TypeError) as error:
        raise StoreDamagedError(f"report {sha256} in the store cannot be read: {error}; retry its case") from error
    return dict(report)


def _mean(values: Iterable[float | None]) -> Mean | None:
    held = [value for value in values if value is not None]
    return mean_of(np.array(held)) if held else None
