"""The API's description as a page of our own: the usual ones load scripts from other hosts."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from tracescribe.runs.web.api_view import parts_of, schemas_of
from tracescribe.runs.web.pages import page

router = APIRouter()


@router.get("/api/docs", include_in_schema=False)
def api_docs(request: Request) -> HTMLResponse:
    """Every operation with its parameters, answers and an example."""
    schema = request.app.openapi()
    address = f"{request.url.scheme}://{request.url.netloc}"
    return page(
        request,
        "api_docs.html",
        description=schema["info"]["description"],
        parts=parts_of(schema, address),
        schemas=schemas_of(schema),
    )
