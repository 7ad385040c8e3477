"""What the drawing of a report's supernode graph needs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from tracescribe.runs.access.roles import Principal
from tracescribe.runs.web.circuit_data import CircuitData, circuit_data
from tracescribe.runs.web.context import Context, allowed
from tracescribe.runs.web.graph_data import open_case_graph
from tracescribe.runs.web.ids import CaseId
from tracescribe.runs.web.report_reading import open_case_report

router = APIRouter(tags=["reports"])


@router.get("/api/reports/{case_id}/circuit")
def read_circuit(
    case_id: CaseId, context: Context, visitor: Annotated[Principal, Depends(allowed("open reports"))]
) -> CircuitData:
    """Tokens, targets, nodes and how claims came out; what belongs together is in the review."""
    opened = open_case_report(context, visitor, case_id)
    graph = open_case_graph(context, visitor, case_id).graph if opened.has_graph else None
    return circuit_data(case_id, opened.report, graph)
