"""How far two reviewers of one report agree: Cohen's kappa on what they judged, the adjusted Rand index on groups.

A reviewer has judged what they accepted, rejected or changed; who accepts the whole report has accepted whatever they let
stand. Where two reviewers have judged nothing in common, there is no figure, and it is said why.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from tracescribe.runs.review.corrections import stands
from tracescribe.runs.review.loading import list_reviews, load_review
from tracescribe.runs.review.stored import report_of_case
from tracescribe.runs.store.errors import StoreDamagedError

if TYPE_CHECKING:
    from tracescribe.runs.review.states import ReviewState
    from tracescribe.runs.store.database import Store

_log = logging.getLogger(__name__)
MAX_REVIEWS = 12
"""Reviews that are compared, those that were changed last: pairs grow with the square."""
MAX_DISAGREEMENTS = 200
_SHOWN = 3
ACCEPTED, CHANGED, REJECTED = "accepted", "changed", "rejected"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Disagreement(_Part):
    """One thing that two reviewers see differently.

    Attributes:
        target: as acts name it, or `node:ID` for a node that they put into different groups.
        first, second: what each says of it.
    """

    target: str
    first: str
    second: str


class Figure(_Part):
    """One measure of agreement.

    Attributes:
        value: kappa or index: 1 is full agreement, 0 what chance gives; None where it is not defined.
        observed: share of the compared things on which both agree; None where nothing is compared, and for groups.
        n: things that were compared.
        why_not: why there is no value; empty where there is one.
    """

    value: float | None
    observed: float | None
    n: int
    why_not: str = ""


class Pair(_Part):
    """Two reviews.

    Attributes:
        first_others, second_others: who else has acts that stand in that review: it is not that reviewer's opinion alone.
        labels: Cohen's kappa on labels of features and supernodes: accepted, changed or rejected; a label where the
            report has none counts as changed, and a supernode that does not stand is left out unless it was judged.
        claims: the same on claims: accepted or rejected.
        groups: adjusted Rand index on which nodes belong together, over the nodes that either puts into a supernode;
            a node that one of them leaves out is a group of its own there.
        disagreements: at most `MAX_DISAGREEMENTS`.
    """

    first_review: str
    first_reviewer: str
    second_review: str
    second_reviewer: str
    first_others: tuple[str, ...] = ()
    second_others: tuple[str, ...] = ()
    labels: Figure
    claims: Figure
    groups: Figure
    disagreements: tuple[Disagreement, ...]


class Unreadable(_Part):
    """A review that the store holds damaged: the others are compared without it."""

    review_id: str
    reviewer: str


class Agreement(_Part):
    """The agreement of all reviewers of a report, two by two.

    Attributes:
        n_reviews: all there are of this report, not of one that it replaced; more than `MAX_REVIEWS` are not compared.
    """

    case_id: str
    n_reviews: int
    pairs: tuple[Pair, ...]
    unreadable: tuple[Unreadable, ...] = ()


def agreement_of(store: Store, case_id: str) -> Agreement:
    """The agreement of all reviewers of a report.

    Raises:
        UnknownIdError: the case has no report.
        StoreError: the store cannot be read. A review that is damaged is told in the answer.
    """
    sha256 = report_of_case(store, case_id).sha256
    every = [one for one in list_reviews(store, case_id) if one.version > 0 and one.report_sha256 == sha256]
    chosen = sorted(every, key=lambda one: -one.changed_at)[:MAX_REVIEWS]
    chosen.sort(key=lambda one: (one.created_at, one.review_id))
    states: list[ReviewState] = []
    unreadable: list[Unreadable] = []
    for one in chosen:
        try:
            states.append(load_review(store, case_id, one.review_id, one.reviewer))
        except StoreDamagedError as error:
            _log.warning("review %s is left out of the agreement: %s", one.review_id, error)
            unreadable.append(Unreadable(review_id=one.review_id, reviewer=one.reviewer))
    pairs = tuple(pair_of(first, second) for first, second in combinations(states, 2))
    return Agreement(case_id=case_id, n_reviews=len(every), pairs=pairs, unreadable=tuple(unreadable))


def pair_of(first: ReviewState, second: ReviewState) -> Pair:
    """The agreement of two reviews of one report."""
    labels, on_labels = _kappa(_judged_labels(first), _judged_labels(second), "labels")
    claims, on_claims = _kappa(_judged_claims(first), _judged_claims(second), "claims")
    groups, on_groups = _rand_index(first, second)
    return Pair(
        first_review=first.review_id or "",
        first_reviewer=first.reviewer,
        second_review=second.review_id or "",
        second_reviewer=second.reviewer,
        first_others=_others(first),
        second_others=_others(second),
        labels=labels,
        claims=claims,
        groups=groups,
        disagreements=tuple([*on_labels, *on_claims, *on_groups][:MAX_DISAGREEMENTS]),
    )


# -- inside -----------------------------------------------------------------------------------------------------------


def _others(state: ReviewState) -> tuple[str, ...]:
    """Who else decided something that stands; whoever only said something changed no figure."""
    decided = {done.actor for done in state.history if not done.undone and done.act.kind != "comment"}
    return tuple(sorted(decided - {state.reviewer}))


def _judged_labels(state: ReviewState) -> dict[str, tuple[str, str]]:
    """What was said of each label: the judgement, and the judgement in words."""
    told: dict[str, tuple[str, str]] = {}
    for label in state.labels:
        said = _judgement(state, label.decision, label.text != label.text_before)
        _put(told, f"label:{label.layer}/{label.feature}", said, label.text)
    for one in state.supernodes:
        # of the label of what was merged away, or of a guess that the report itself gave up, nobody has said anything
        if one.label_before is not None and (stands(one) or one.decision != "open"):
            said = _judgement(state, one.decision, one.label != one.label_before)
            _put(told, f"supernode:{one.supernode_id}", said, one.label)
    return told


def _judged_claims(state: ReviewState) -> dict[str, tuple[str, str]]:
    told: dict[str, tuple[str, str]] = {}
    for claim in state.claims:
        _put(told, f"claim:{claim.claim_id}", _judgement(state, claim.decision, False), "")
    return told


def _judgement(state: ReviewState, decision: str, changed: bool) -> str | None:
    if decision == "rejected":
        return REJECTED
    if changed:
        return CHANGED
    return ACCEPTED if decision == "accepted" or state.status == "accepted" else None


def _put(told: dict[str, tuple[str, str]], target: str, said: str | None, text: str) -> None:
    if said is not None:
        told[target] = (said, f"changed to “{text}”" if said == CHANGED else said)


def _kappa(
    first: Mapping[str, tuple[str, str]], second: Mapping[str, tuple[str, str]], what: str
) -> tuple[Figure, list[Disagreement]]:
    both = [target for target in first if target in second]
    if not both:
        return Figure(value=None, observed=None, n=0, why_not=f"no {what} were judged by both"), []
    ones, others = [first[target][0] for target in both], [second[target][0] for target in both]
    observed = sum(one == other for one, other in zip(ones, others, strict=True)) / len(both)
    # two who change a label to different words disagree too, though both judge that it is wrong
    apart = [
        Disagreement(target=target, first=first[target][1], second=second[target][1])
        for target in both
        if first[target] != second[target]
    ]
    if len({*ones, *others}) == 1:
        why = f"both judged all {len(both)} {what} alike, so that chance alone would agree as well"
        return Figure(value=None, observed=observed, n=len(both), why_not=why), apart
    from sklearn.metrics import cohen_kappa_score

    return Figure(value=float(cohen_kappa_score(ones, others)), observed=observed, n=len(both)), apart


def _rand_index(first: ReviewState, second: ReviewState) -> tuple[Figure, list[Disagreement]]:
    for state in (first, second):
        if not _judged_groups(state):
            why = f"{state.reviewer} has judged or changed no supernode"
            return Figure(value=None, observed=None, n=0, why_not=why), []
    one, other = _groups(first), _groups(second)
    nodes = sorted({*one, *other})
    if len(nodes) < 2:
        why = "fewer than two nodes are in a supernode"
        return Figure(value=None, observed=None, n=len(nodes), why_not=why), []
    ones, others = _partition(nodes, one), _partition(nodes, other)
    apart = _apart(first, second, nodes, one, other)
    if len(set(ones)) == len(set(others)) and len(set(ones)) in (1, len(nodes)):
        alike = "all nodes are together" if len(set(ones)) == 1 else "no two nodes are together"
        why = f"{alike} in either review, so that there is no grouping to compare"
        return Figure(value=None, observed=None, n=len(nodes), why_not=why), apart
    from sklearn.metrics import adjusted_rand_score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # many groups for few nodes is no fault here
        value = float(adjusted_rand_score(ones, others))
    return Figure(value=value, observed=None, n=len(nodes)), apart


def _judged_groups(state: ReviewState) -> bool:
    if state.status == "accepted":
        return True
    return any(one.decision != "open" or one.members != one.members_before for one in state.supernodes)


def _groups(state: ReviewState) -> dict[str, str]:
    """The supernode of each node that the reviewer counts as part of the circuit."""
    return {node: one.supernode_id for one in state.supernodes if stands(one) for node in one.members}


def _partition(nodes: Sequence[str], groups: Mapping[str, str]) -> list[str]:
    return [groups.get(node, f"alone:{node}") for node in nodes]


def _apart(
    first: ReviewState, second: ReviewState, nodes: Sequence[str], one: Mapping[str, str], other: Mapping[str, str]
) -> list[Disagreement]:
    """Nodes that are not in the same group once each group of one is matched with the one of the other most like it."""
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    ours, theirs = sorted(set(one.values())), sorted(set(other.values()))
    shared = np.zeros((len(ours), len(theirs)))
    for node in nodes:
        if node in one and node in other:
            shared[ours.index(one[node]), theirs.index(other[node])] += 1
    rows, columns = linear_sum_assignment(-shared)
    match = {ours[row]: theirs[column] for row, column in zip(rows, columns, strict=True) if shared[row, column]}
    return [
        Disagreement(target=f"node:{node}", first=_told(first, node), second=_told(second, node))
        for node in nodes
        if (match.get(one[node]) if node in one else None) != other.get(node) or (node in one) != (node in other)
    ]


def _told(state: ReviewState, node: str) -> str:
    """Where a review has a node, and with what: the same supernode may be another group."""
    home = next((one for one in state.supernodes if stands(one) and node in one.members), None)
    if home is None:
        fallen = next((one for one in state.supernodes if one.decision == "rejected" and node in one.members), None)
        return (
            "in no supernode" if fallen is None else f"in none, as {fallen.supernode_id} “{fallen.label}” was rejected"
        )
    others = [member for member in home.members if member != node]
    more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
    company = f"with {', '.join(others[:_SHOWN])}{more}" if others else "alone"
    return f"in {home.supernode_id} “{home.label}”, {company}"
