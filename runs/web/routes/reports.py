"""The list of reports, as a page and as JSON, and the way in for reports that were made elsewhere."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, File, Query, Request, UploadFile
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict

from tracescribe.runs.access.roles import Principal
from tracescribe.runs.web.context import Context, allowed, right_first
from tracescribe.runs.web.errors import Refusal
from tracescribe.runs.web.pages import page
from tracescribe.runs.web.rate import limited
from tracescribe.runs.web.report_filters import PER_PAGE, ReportFilter, kind_filter
from tracescribe.runs.web.report_list import ListedReports, listed_page

router = APIRouter(tags=["reports"])

_MAX_NAME = 120


class BroughtIn(BaseModel):
    """A report that is in the store now.

    Attributes:
        case_id: its id here; the same report brought in twice has one.
        address: of its page.
    """

    model_config = ConfigDict(frozen=True)

    case_id: str
    address: str


@router.get("/reports", response_class=HTMLResponse, include_in_schema=False)
def show_reports(
    request: Request, context: Context, visitor: Annotated[Principal, Depends(allowed("open reports"))]
) -> HTMLResponse:
    """The list of reports."""
    from tracescribe.runs.review.listing import find_reports

    chosen, left_out = kind_filter(request.query_params)
    found = listed_page(find_reports(context.store, chosen.query()))
    return page(
        request,
        "reports.html",
        found=found,
        chosen=chosen,
        left_out=left_out,
        per_page=PER_PAGE,
        may_bring_in=visitor.may("run jobs"),
    )


@router.get("/api/reports", summary="List reports", dependencies=[Depends(allowed("open reports"))])
def list_reports(context: Context, chosen: Annotated[ReportFilter, Query()]) -> ListedReports:
    """Search, filter, sort; one page at a time; a page beyond the last gives the last."""
    from tracescribe.runs.review.listing import find_reports

    return listed_page(find_reports(context.store, chosen.query()))


def bring_in_report(
    context: Context,
    visitor: Annotated[Principal, Depends(allowed("run jobs"))],
    report: Annotated[UploadFile, File(description="report.json, as `tracescribe interpret` writes it")],
    graph: Annotated[UploadFile | None, File(description="the graph.json that it is about")] = None,
) -> BroughtIn:
    """Put a report that was made elsewhere, and its graph, into the store. It is checked, and never altered."""
    from tracescribe.runs.review.bringing_in import bring_in

    content = report.file.read()
    if not content:
        raise Refusal(422, "invalid", "the report is empty; choose the report.json of a report folder")
    drawn = graph.file.read() if graph is not None else b""
    name = (report.filename or "").replace("\\", "/").rpartition("/")[2]
    called, gold = name[:_MAX_NAME] or "upload", context.settings.gold
    case_id = bring_in(context.store, content, drawn or None, called, visitor.name, gold=gold)
    return BroughtIn(case_id=case_id, address=f"/reports/{case_id}")


router.add_api_route(
    "/api/reports",
    bring_in_report,
    methods=["POST"],
    summary="Bring a report in",
    status_code=201,
    dependencies=[Depends(limited("bring in"))],
    route_class_override=right_first("run jobs"),
)
