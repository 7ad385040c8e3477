"""The page of one report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse

from tracescribe.runs.access.roles import Principal
from tracescribe.runs.review.loading import ReviewSummary, list_reviews
from tracescribe.runs.review.stored import Kept
from tracescribe.runs.store.errors import ArtefactDamagedError, ArtefactMissingError
from tracescribe.runs.web.context import Context, allowed
from tracescribe.runs.web.feature_shelf import evidence_for
from tracescribe.runs.web.ids import CaseId, ReviewQuery
from tracescribe.runs.web.pages import page
from tracescribe.runs.web.report_reading import case_is_known, open_case_report, review_status_of
from tracescribe.runs.web.report_view import ReportPage, dots_of, report_page, target_of_anchor, values_of
from tracescribe.tracer.errors import ReportError, UnknownIdError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tracescribe.agents.report import CircuitReport
    from tracescribe.runs.web.context import WebContext
    from tracescribe.runs.web.report_reading import OpenedReport

router = APIRouter(tags=["reports"])
_pages: Kept[ReportPage] = Kept(12)
"""What was computed of the reports that were looked at last, by their hash and whether there is evidence."""
Reader = Annotated[Principal, Depends(allowed("open reports"))]


@router.get("/reports/{case_id}", response_class=HTMLResponse, include_in_schema=False)
def show_report(
    request: Request,
    context: Context,
    visitor: Reader,
    case_id: CaseId,
    review: ReviewQuery = None,
    view: Annotated[Literal["circuit", "graph"], Query(description="what the drawing shows first")] = "circuit",
) -> HTMLResponse:
    """Circuit, story, claims with their tests, features, and where every number comes from."""
    opened = open_or_explain(request, context, visitor, case_id)
    if isinstance(opened, HTMLResponse):
        return opened
    shown, why_not = computed_page(opened.sha256, opened.report, context.settings.evidence)
    return page(
        request,
        "report.html",
        opened=opened,
        shown=shown,
        review_id=review or "",
        first_view=view if opened.has_graph else "circuit",
        review_status=review_status_of(context.store, case_id),
        evidence_words=why_not
        or "Texts are shaded by how strongly the feature fires; the strongest token is underlined.",
        may_review=visitor.may("review"),
        may_export=visitor.may("export reports"),
        may_audit=visitor.may("see audit log"),
        may_live=visitor.may("review") and context.settings.model is not None and opened.report.tested,
        dots_of=dots_of,
        values_of=values_of,
        target_of_anchor=target_of_anchor,
    )


def computed_page(sha256: str, report: CircuitReport, evidence_folder: Path | None) -> tuple[ReportPage, str]:
    """What the page of a report shows, and why there is no evidence beside its features; computed once.

    Args:
        sha256: of the report's bytes.
        evidence_folder: of the server's scan; None for the embedded model's.
    """
    evidence, why_not = evidence_for(report, evidence_folder)
    return _pages.get_or_make(f"{sha256} {evidence is not None}", lambda: report_page(report, evidence)), why_not


def open_or_explain(
    request: Request, context: WebContext, visitor: Principal, case_id: str
) -> OpenedReport | HTMLResponse:
    """The report, or a page that says why there is none to see.

    Raises:
        AccessDeniedError: the visitor's role does not allow it.
        StoreError: the store cannot be used.
    """
    try:
        return open_case_report(context, visitor, case_id)
    except UnknownIdError:
        if case_is_known(context.store, case_id):
            return _gone(
                request, 410, "This report is no longer kept", f"The report of {case_id} is not in the store.",
                "Its case failed or is still at work, or its files were deleted when their time to be kept was over. "
                "Figures of its job and what was reviewed are kept longer than reports.",
                case_id=case_id, reviews=list_reviews(context.store, case_id),
            )  # fmt: skip
        return _gone(
            request, 404, "No such report", f"There is no report {case_id}.",
            "Perhaps the address was cut off. The list has all reports, and searches their prompts.",
        )  # fmt: skip
    except ArtefactMissingError as error:
        return _gone(
            request, 410, "This report is no longer kept", str(error),
            "Its file was deleted. What was reviewed and logged about it is kept.",
            case_id=case_id, reviews=list_reviews(context.store, case_id),
        )  # fmt: skip
    except (ArtefactDamagedError, ReportError) as error:
        return _gone(
            request, 503, "This report is damaged", str(error),
            "It is not shown, because it would not be what was stored. 'tracescribe store check' lists every damaged file; "
            "bring it back from a backup.",
        )  # fmt: skip


def _gone(
    request: Request,
    status: int,
    heading: str,
    message: str,
    advice: str,
    case_id: str = "",
    reviews: Sequence[ReviewSummary] = (),
) -> HTMLResponse:
    return page(
        request,
        "report_gone.html",
        status_code=status,
        heading=heading,
        message=message,
        advice=advice,
        case_id=case_id,
        reviews=reviews,
    )
