"""Two reports on one prompt side by side, as a page and as JSON."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse

from tracescribe.runs.access.roles import Principal
from tracescribe.runs.web.comparable import prompt_of, reports_on, shared_prompts
from tracescribe.runs.web.compared_view import compared, fact_rows
from tracescribe.runs.web.context import Context, allowed
from tracescribe.runs.web.errors import Refusal, refusal_of
from tracescribe.runs.web.ids import CASE_ID
from tracescribe.runs.web.pages import page
from tracescribe.runs.web.report_pair_told import ComparedReports
from tracescribe.tracer.errors import TracescribeError

router = APIRouter(tags=["compare"])

_Id = Query(pattern=CASE_ID, description="id of a report")
_Reader = Annotated[Principal, Depends(allowed("open reports"))]


@router.get("/compare", response_class=HTMLResponse, include_in_schema=False)
def show_comparison(
    request: Request,
    context: Context,
    visitor: _Reader,
    a: Annotated[str | None, _Id] = None,
    b: Annotated[str | None, _Id] = None,
    report: Annotated[list[str] | None, Query(max_length=10)] = None,
    prompt: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$")] = None,
) -> HTMLResponse:
    """Two reports compared; with none, one or two that do not fit: what can be chosen.

    `report` is what the list's form sends without scripts: a case id for each chosen row.
    """
    chosen = [one for one in (a, b, *(report or ())) if one]
    found = drawn = problem = None
    if len(chosen) == 2:
        try:
            found, drawn = compared(context, visitor, chosen[0], chosen[1])
        except (TracescribeError, Refusal) as error:
            refusal = refusal_of(error)
            if refusal.status not in (404, 410, 422):
                raise
            problem = refusal.message
    elif len(chosen) > 2:
        problem = f"{len(chosen)} reports are chosen; two can be compared"
    prompt_sha256 = prompt or (prompt_of(context.store, chosen[0]) if chosen else None)
    return page(
        request,
        "compare.html",
        status_code=200 if problem is None else 422,
        found=found,
        facts=fact_rows(found) if found is not None else (),
        drawn=drawn,
        problem=problem,
        chosen=[*chosen[:2], "", ""][:2],
        choices=reports_on(context.store, prompt_sha256) if prompt_sha256 is not None else (),
        prompts=shared_prompts(context.store) if prompt_sha256 is None or problem else (),
    )


@router.get("/api/compare", summary="Compare two reports on one prompt")
def compare_reports(
    context: Context, visitor: _Reader, a: Annotated[str, _Id], b: Annotated[str, _Id]
) -> ComparedReports:
    """Supernodes matched by the members they share, labels, links, claims (those that came out differently first), cost."""
    return compared(context, visitor, a, b)[0]
