"""A report beside the gold circuit of its prompt, for whoever asks to see it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from tracescribe.runs.access.roles import Principal
from tracescribe.runs.review.gold_lookup import gold_for
from tracescribe.runs.review.stored import graph_of_case
from tracescribe.runs.web.context import Context, allowed
from tracescribe.runs.web.gold_view import FATES, gold_page
from tracescribe.runs.web.ids import CaseId
from tracescribe.runs.web.pages import page
from tracescribe.runs.web.routes.report import open_or_explain

router = APIRouter(tags=["reports"])


@router.get("/reports/{case_id}/gold", response_class=HTMLResponse, include_in_schema=False)
def show_gold(
    request: Request,
    context: Context,
    visitor: Annotated[Principal, Depends(allowed("open reports"))],
    case_id: CaseId,
) -> HTMLResponse:
    """Supernodes and links of both side by side, and every score."""
    opened = open_or_explain(request, context, visitor, case_id)
    if isinstance(opened, HTMLResponse):
        return opened
    gold, why_not = gold_for(opened.report, context.settings.gold)
    graph = graph_of_case(context.store, case_id) if gold is not None and opened.has_graph else None
    shown = gold_page(opened.report, gold, graph) if gold is not None else None
    return page(request, "report_gold.html", opened=opened, gold=shown, why_not=why_not, fates=FATES)
