"""The full attribution graph of a report: a block of bytes to draw, and single nodes with their edges."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Response

from tracescribe.runs.access.roles import Principal
from tracescribe.runs.web.context import Context, allowed
from tracescribe.runs.web.graph_data import open_case_graph
from tracescribe.runs.web.graph_links import NodeDetails, node_details
from tracescribe.runs.web.graph_wire import DEFAULT_EDGES, MAX_EDGES, MEDIA_TYPE, WIRE_VERSION
from tracescribe.runs.web.ids import CaseId

router = APIRouter(tags=["graph"])

NodeId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.-]{1,100}$", description="of a node, such as `2_55_8` or `E_7_0`")]
Reader = Annotated[Principal, Depends(allowed("open reports"))]


@router.get(
    "/api/reports/{case_id}/graph",
    response_class=Response,
    responses={
        200: {
            "description": "the graph: `TSVG`, version and length of the header (uint32), header as JSON, arrays",
            "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        },
        304: {"description": "as before"},
    },
)
def graph_block(
    case_id: CaseId,
    context: Context,
    visitor: Reader,
    edges: Annotated[int, Query(ge=0, le=MAX_EDGES, description="the strongest that are sent")] = DEFAULT_EDGES,
    if_none_match: Annotated[str | None, Header()] = None,
    accept_encoding: Annotated[str, Header()] = "",
) -> Response:
    """The full attribution graph, packed for drawing: nodes, and edges by falling |weight|."""
    served = open_case_graph(context, visitor, case_id)
    packed = _takes_gzip(accept_encoding)
    headers = {
        "ETag": f'"{served.sha256[:32]}-{WIRE_VERSION}-{edges}{"-gzip" if packed else ""}"',
        "Vary": "Accept-Encoding",
    }
    if if_none_match is not None and headers["ETag"] in (tag.strip() for tag in if_none_match.split(",")):
        return Response(status_code=304, headers=headers)
    if packed:
        headers["Content-Encoding"] = "gzip"
    return Response(served.block(edges, packed=packed), media_type=MEDIA_TYPE, headers=headers)


@router.get("/api/reports/{case_id}/graph/nodes/{node_id}")
def graph_node(
    case_id: CaseId,
    node_id: NodeId,
    context: Context,
    visitor: Reader,
    limit: Annotated[int, Query(ge=1, le=1000, description="edges on each side")] = 50,
) -> NodeDetails:
    """A node with the edges into it and out of it, strongest first."""
    return node_details(open_case_graph(context, visitor, case_id), node_id, limit)


def _takes_gzip(accept_encoding: str) -> bool:
    for part in accept_encoding.lower().split(","):
        name, _, quality = part.partition(";")
        if name.strip() == "gzip":
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
