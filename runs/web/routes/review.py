"""Reviews of a report: what they come to, and one more act."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field, StringConstraints

from tracescribe.runs.access.roles import Principal
from tracescribe.runs.review.acts import MAX_TEXT, Act, ReviewStatus
from tracescribe.runs.review.agreement import Agreement
from tracescribe.runs.review.states import DoneAct, ReviewState
from tracescribe.runs.strict_models import StrictModel
from tracescribe.runs.web.context import Context, WebContext, allowed
from tracescribe.runs.web.ids import REVIEW_ID, CaseId, ReviewQuery
from tracescribe.tracer.errors import UnknownIdError

router = APIRouter(tags=["reviews"])

Reader = Annotated[Principal, Depends(allowed("open reports"))]
Reviewer = Annotated[Principal, Depends(allowed("review"))]


class NewAct(StrictModel):
    """One more act of a review.

    Attributes:
        review_id: None for the visitor's own review, which the first act begins.
        expected_version: of the review as the visitor saw it; where it has moved on, nothing is saved.
        why: in the visitor's words; may be empty.
        act_id: made by whoever sends it, for this act alone: sent again, because the answer was lost, it is not done again.
    """

    review_id: Annotated[str, StringConstraints(pattern=REVIEW_ID)] | None = None
    expected_version: int = Field(ge=0, le=1_000_000_000, strict=True)
    act: Act
    why: Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_TEXT)] = ""
    act_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{16,64}$")] | None = None


class Conflict(BaseModel):
    """The answer where a review moved on: nothing was saved, and here is what came first."""

    error: str
    message: str
    state: ReviewState
    since: tuple[DoneAct, ...]


class ListedReview(BaseModel):
    """A review in a list. Moments are seconds since 1970."""

    review_id: str
    reviewer: str
    own: bool
    version: int
    status: ReviewStatus
    created_at: float
    changed_at: float


class Reviews(BaseModel):
    """The reviews of a report, the one that was begun first first."""

    reviews: tuple[ListedReview, ...]


class History(BaseModel):
    """A review as the list of its acts, first to last; `undone` is not told: it needs no report to be read."""

    review_id: str | None
    reviewer: str
    status: ReviewStatus
    acts: tuple[DoneAct, ...]


class ReviewVersion(BaseModel):
    """How far a review is; 0 and no id before its first act."""

    review_id: str | None
    version: int


@router.get("/api/reports/{case_id}/review")
def read_review(case_id: CaseId, context: Context, visitor: Reader, review: ReviewQuery = None) -> ReviewState:
    """A review and what it comes to: the visitor's own, or another's by its id."""
    from tracescribe.runs.review.loading import load_review

    _note(context, visitor, case_id)
    return load_review(context.store, case_id, review, visitor.name)


@router.get("/api/reports/{case_id}/reviews")
def list_reviews(case_id: CaseId, context: Context, visitor: Reader) -> Reviews:
    """Who reviewed the report, and how far each is."""
    from tracescribe.runs.review import loading
    from tracescribe.runs.web.report_reading import case_is_known

    if not case_is_known(context.store, case_id):
        raise UnknownIdError(f"there is no case {case_id}; look at the list of reports")
    return Reviews(
        reviews=tuple(
            ListedReview(
                review_id=found.review_id,
                reviewer=found.reviewer,
                own=found.reviewer == visitor.name,
                version=found.version,
                status=found.status,  # type: ignore[arg-type]
                created_at=found.created_at,
                changed_at=found.changed_at,
            )
            for found in loading.list_reviews(context.store, case_id)
        )
    )


@router.get("/api/reports/{case_id}/review/history")
def read_history(case_id: CaseId, context: Context, visitor: Reader, review: ReviewQuery = None) -> History:
    """The acts of a review as they were done. They are kept longer than the report that they are about."""
    from tracescribe.runs.access.reading import log_review
    from tracescribe.runs.review.loading import acts_of_review, find_review

    found = find_review(context.store, case_id, review, visitor.name)
    if found is None:
        return History(review_id=None, reviewer=visitor.name, status="open", acts=())
    log_review(context.store, visitor, case_id, found.review_id)
    acts = acts_of_review(context.store, found.review_id)
    return History(
        review_id=found.review_id,
        reviewer=found.reviewer,
        status=found.status,  # type: ignore[arg-type]
        acts=tuple(acts),
    )


@router.get("/api/reports/{case_id}/review/version")
def read_version(case_id: CaseId, context: Context, visitor: Reader, review: ReviewQuery = None) -> ReviewVersion:
    """How far a review is, for pages that look whether somebody else went on with it."""
    from tracescribe.runs.review.loading import find_review

    found = find_review(context.store, case_id, review, visitor.name)
    return (
        ReviewVersion(review_id=None, version=0)
        if found is None
        else ReviewVersion(review_id=found.review_id, version=found.version)
    )


@router.get("/api/reports/{case_id}/agreement")
def read_agreement(case_id: CaseId, context: Context, visitor: Reader) -> Agreement:
    """How far the reviews of a report agree, each two of them, and on what they do not."""
    from tracescribe.runs.review.agreement import agreement_of

    _note(context, visitor, case_id)
    return agreement_of(context.store, case_id)


@router.post("/api/reports/{case_id}/review/acts", responses={409: {"model": Conflict}})
def add_act(case_id: CaseId, new: NewAct, context: Context, visitor: Reviewer) -> ReviewState:
    """Do one thing in a review. It is saved whole, with its entry in the audit log, or not at all."""
    from tracescribe.runs.review.saving import save_act

    _note(context, visitor, case_id)
    return save_act(context.store, visitor, case_id, new.review_id, new.expected_version, new.act, new.why, new.act_id)


def _note(context: WebContext, visitor: Principal, case_id: str) -> None:
    """Who looks at a review looks at its report.

    Raises:
        ArtefactMissingError: the report is no longer kept; which reviews there are, and their acts, still are.
    """
    from tracescribe.runs.review.stored import must_be_kept

    must_be_kept(context.store, case_id)
    context.note(visitor, case_id)
