"""Looks reviews up: which there are of a report, and what each comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tracescribe.runs.review.acts import act_adapter
from tracescribe.runs.review.folding import Course
from tracescribe.runs.review.regrouping import effects_of_case
from tracescribe.runs.review.states import DoneAct, ReviewState
from tracescribe.runs.review.stored import Kept, StoredReport, report_of_case
from tracescribe.runs.store.errors import StoreDamagedError
from tracescribe.runs.store.tables import review_acts, reviews
from tracescribe.tracer.errors import UnknownIdError

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store

_COURSES_KEPT, _ACTS_KEPT = 64, 60_000
_courses: Kept[Course] = Kept(_COURSES_KEPT, lambda course: course.version, _ACTS_KEPT)


@dataclass(frozen=True)
class ReviewSummary:
    """A review as lists have it.

    Attributes:
        reviewer: who began it.
        version: number of its acts.
        created_at, changed_at: seconds since 1970.
    """

    review_id: str
    case_id: str
    report_sha256: str
    reviewer: str
    version: int
    status: str
    created_at: float
    changed_at: float


def list_reviews(store: Store, case_id: str) -> tuple[ReviewSummary, ...]:
    """The reviews of a report, the one that was begun first first.

    Raises:
        StoreError: the store cannot be read.
    """
    return list_reviews_of(store, (case_id,))[case_id]


def list_reviews_of(store: Store, case_ids: Sequence[str]) -> dict[str, tuple[ReviewSummary, ...]]:
    """`list_reviews` of each of some reports, as many as are on one page of a list, in one query.

    Raises:
        StoreError: the store cannot be read.
    """
    query = sa.select(*_columns()).where(reviews.c.case_id.in_(case_ids))
    query = query.order_by(reviews.c.created_at, reviews.c.review_id)
    found: dict[str, list[ReviewSummary]] = {case_id: [] for case_id in case_ids}
    for row in store.read(lambda connection: connection.execute(query).all()):
        found[row.case_id].append(ReviewSummary(*row))
    return {case_id: tuple(of_case) for case_id, of_case in found.items()}


def load_review(store: Store, case_id: str, review_id: str | None, reviewer: str) -> ReviewState:
    """A review as it stands.

    Args:
        review_id: which; None for the reviewer's own, which may have no act yet.
        reviewer: who asks.

    Raises:
        UnknownIdError: the case has no report, or no such review.
        ReportError: its report cannot be read.
        StoreError: the store cannot be read.
    """
    stored = report_of_case(store, case_id)
    summary = find_review(store, case_id, review_id, reviewer)
    course = course_of_review(store, stored, summary)
    return state_of(course, stored, summary, reviewer)


def _columns() -> tuple[sa.Column[Any], ...]:
    row = reviews.c
    return (
        row.review_id,
        row.case_id,
        row.report_sha256,
        row.reviewer,
        row.version,
        row.status,
        row.created_at,
        row.changed_at,
    )


def find_review(store: Store, case_id: str, review_id: str | None, reviewer: str) -> ReviewSummary | None:
    """A review; None where the reviewer has none of their own yet."""
    query = sa.select(*_columns()).where(reviews.c.case_id == case_id)
    query = query.where(reviews.c.reviewer == reviewer if review_id is None else reviews.c.review_id == review_id)
    row = store.read(lambda connection: connection.execute(query).first())
    if row is None and review_id is not None:
        raise UnknownIdError(f"case {case_id[:80]} has no review {review_id[:80]!r}; look at the list of its reviews")
    return None if row is None else ReviewSummary(*row)


def course_of_review(store: Store, stored: StoredReport, summary: ReviewSummary | None) -> Course:
    """The course of a review up to its last act; the caller's own."""
    effects = effects_of_case(store, stored)
    if summary is None:
        return Course(stored.report, effects)
    if summary.report_sha256 != stored.sha256:
        raise UnknownIdError(
            f"review {summary.review_id} is of an earlier report of case {summary.case_id}, which was replaced when the "
            "case was tried again; have another reviewer begin anew"
        )
    kept = _courses.get(_course_name(store, stored, summary.review_id))
    if kept is not None and kept.version > summary.version:
        kept = None  # the store was put back from a backup, or somebody was quicker
    course = Course(stored.report, effects) if kept is None else kept.copy()
    for done in acts_of_review(store, summary.review_id, course.version):
        course.go_on(done)
    if kept is None or course.version > kept.version:
        keep_course(store, stored, summary.review_id, course.copy())
    return course


def acts_of_review(store: Store, review_id: str, after: int = 0) -> Sequence[DoneAct]:
    """The acts of a review as they were done, without what was undone.

    Args:
        after: version behind which they begin.

    Raises:
        StoreDamagedError: one of them cannot be read.
    """
    row = review_acts.c
    query = (
        sa.select(row.version, row.at, row.actor, row.act, row.why, row.act_id)
        .where(row.review_id == review_id, row.version > after)
        .order_by(row.version)
    )
    rows = store.read(lambda connection: connection.execute(query).all())
    try:
        return [
            DoneAct(
                version=version,
                at=at,
                actor=actor,
                act=act_adapter.validate_json(act),
                why=why,
                undone=False,
                act_id=act_id,
            )
            for version, at, actor, act, why, act_id in rows
        ]
    except ValueError as error:
        raise StoreDamagedError(
            f"review {review_id} holds an act that cannot be ({str(error).splitlines()[0]}); restore the store from a "
            "backup"
        ) from error


def keep_course(store: Store, stored: StoredReport, review_id: str, course: Course) -> None:
    """Remember how far a review has come, so that its next act need not begin at its first."""
    _courses.put(_course_name(store, stored, review_id), course)


def _course_name(store: Store, stored: StoredReport, review_id: str) -> str:
    """With the graph that its links follow from: once that is deleted, they follow from none."""
    return f"{store.store_id}.{review_id}.{stored.graph_sha256}"


def state_of(course: Course, stored: StoredReport, summary: ReviewSummary | None, reviewer: str) -> ReviewState:
    """What a course comes to, under the name of its review or of whoever may begin one."""
    return course.state(
        case_id=stored.case_id,
        report_sha256=stored.sha256,
        reviewer=reviewer if summary is None else summary.reviewer,
        review_id=None if summary is None else summary.review_id,
    )
