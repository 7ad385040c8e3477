"""Files that leave the store: what a review made of a report, the report, its graph. Each is logged before it is sent.

They are asked for by POST, so that no link on another page can make somebody take a report out.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import Response

from tracescribe.runs.access.roles import Principal
from tracescribe.runs.review import exporting
from tracescribe.runs.review.stored import (
    NATIVE_FILE,
    artefacts_of_case,
    graph_artefact,
    must_be_kept,
    report_of_case,
)
from tracescribe.runs.store.database import Store
from tracescribe.runs.web.context import Context, allowed
from tracescribe.runs.web.ids import CaseId, ReviewQuery

router = APIRouter(tags=["exports"])

JSON, HTML, SVG = "application/json", "text/html; charset=utf-8", "image/svg+xml"


_FILES: dict[exporting.Form, tuple[str, str]] = {
    "gold": ("gold-{}.json", JSON),
    "neuronpedia": ("graph-reviewed-{}.json", JSON),
    "html": ("report-reviewed-{}.html", HTML),
    "svg": ("circuit-{}.svg", SVG),
    "report": ("report-{}.json", JSON),
    "graph": ("graph-{}.json", JSON),
}
"""Name of the file, and its type."""


@router.post(
    "/api/reports/{case_id}/export/{form}",
    response_class=Response,
    responses={200: {"description": "the file", "content": {JSON: {}, "text/html": {}, SVG: {}}}},
)
def export(
    case_id: CaseId,
    form: Annotated[exporting.Form, Path(description="what is made of it")],
    context: Context,
    visitor: Annotated[Principal, Depends(allowed("export reports"))],
    review: ReviewQuery = None,
    licence: Annotated[str, Query(max_length=200, description="under which gold may be used")] = "",
) -> Response:
    """A file of a report or of its review. Gold needs a review that was closed as accepted."""
    from tracescribe.runs.access.reading import log_export

    must_be_kept(context.store, case_id)
    report_of_case(context.store, case_id)
    name, media_type = _FILES[form]
    if form == "graph":
        name, media_type = _graph_name(context.store, case_id, name)
    content = exporting.exported(context.store, case_id, form, review, visitor.name, licence=licence)
    job_id = case_id.rpartition(".")[0]
    log_export(context.store, visitor, job_id, [case_id], form=form, to="browser")
    headers = {"Content-Disposition": f'attachment; filename="{name.format(case_id)}"'}
    return Response(content, media_type=media_type, headers=headers)


def _graph_name(store: Store, case_id: str, name: str) -> tuple[str, str]:
    """Of the graph's file: graphs are given as they are stored."""
    found = graph_artefact(artefacts_of_case(store, case_id))
    if found is None or found[0].endswith(".json"):
        return name, JSON
    suffix = ".tsgraph" if found[0] == NATIVE_FILE else ".json.gz"
    return name.removesuffix(".json") + suffix, "application/octet-stream"
