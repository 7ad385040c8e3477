"""One feature of a report, with the texts that it fires in."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from tracescribe.runs.access.roles import Principal
from tracescribe.runs.web.context import Context, allowed
from tracescribe.runs.web.feature_details import EVIDENCE_FILE, FeatureDetails, feature_details
from tracescribe.runs.web.ids import CaseId
from tracescribe.runs.web.report_reading import open_case_report
from tracescribe.tracer.graph import FeatureRef

router = APIRouter(tags=["features"])
Layer = Annotated[int, Path(ge=0, le=999_999, description="layer of the feature")]
Feature = Annotated[int, Path(ge=0, le=999_999_999, description="number of the feature in its layer")]


@router.get(
    "/api/reports/{case_id}/features/{layer}/{feature}",
    summary="One feature with its texts",
    dependencies=[Depends(allowed("see evidence"))],
)
def read_feature(
    case_id: CaseId,
    layer: Layer,
    feature: Feature,
    context: Context,
    visitor: Annotated[Principal, Depends(allowed("open reports"))],
) -> FeatureDetails:
    """Label, score, tokens it raises and lowers, and texts with its activation on every token.

    Texts come from the server's scan where the report rests on that very scan, else from what was kept with the report;
    `why_not` tells why there are none. A feature that the report does not label can be asked for too.
    """
    opened = open_case_report(context, visitor, case_id)
    kept = (lambda: context.open(visitor, case_id, EVIDENCE_FILE)) if EVIDENCE_FILE in opened.names else None
    return feature_details(opened.report, FeatureRef(layer, feature), context.settings.evidence, kept)
