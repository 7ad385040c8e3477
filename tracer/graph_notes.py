"""What is lawful in a graph, but worth knowing before it is used or uploaded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tracescribe.tracer.graph import AttributionGraph, NodeKind
from tracescribe.tracer.graph_json import cantor_number
from tracescribe.tracer.query_parameters import saved_view

_MAX_SHOWN = 3


def graph_notes(graph: AttributionGraph) -> list[str]:
    """Oddities of a graph, one line each; none of them keeps it from being used."""
    return [*_identity(graph), *_links(graph), *_numbers(graph), *_view(graph)]


def feature_numbering(graph: AttributionGraph) -> str:
    """How the file that a graph came from numbers its features in `feature`.

    Returns:
        `cantor` (Cantor number of layer and index, as it is written), `index` (the bare index), `other`, or `none` for
        a graph without features or not from a JSON file. The graph itself takes layer and index from node ids.
    """
    rows = graph.extra.get("nodes", {})
    found = {"cantor": True, "index": True}
    seen = 0
    for i in graph.of_kind(NodeKind.FEATURE).tolist():
        number = rows.get(graph.node_ids[i], {}).get("feature")
        if number is None:
            continue
        layer, feature = int(graph.nodes.layer[i]), int(graph.nodes.feature[i])
        seen += 1
        found["cantor"] &= number == cantor_number(layer, feature)
        found["index"] &= number == feature
    if not seen:
        return "none"
    return next((name for name, fits in found.items() if fits), "other")


def _identity(graph: AttributionGraph) -> Iterator[str]:
    metadata = graph.extra.get("metadata")
    if metadata:
        missing = [key for key in ("slug", "scan") if not isinstance(metadata.get(key), str) or not metadata[key]]
        if missing:
            yield f"no {' and no '.join(missing)} in metadata: Neuronpedia refuses the file"
        if metadata.get("schema_version") == 1 and feature_numbering(graph) not in ("cantor", "none"):
            yield "schema_version 1 promises Cantor numbers in `feature`, which these are not; node ids are taken"
    unknown = [name for name in ("model_sha256", "transcoders_sha256") if not graph.provenance.get(name)]
    if unknown:
        yield "does not say which weights it was traced from: interventions need --model and --transcoders that fit"
    if not graph.token_ids:
        yield "does not tell the ids of all tokens: its prompt cannot be run again exactly"


def _links(graph: AttributionGraph) -> Iterator[str]:
    table, edges = graph.nodes, graph.edges
    kind, layer, position = table.kind, table.layer, table.position
    aside = len(graph.extra.get("ambiguous_links", ()))
    if aside:
        yield f"{aside} links could mean either of two nodes with one id, and were set aside"
    odd = {
        "lead into an error or a token, which nothing drives": np.isin(
            kind[edges.target], (NodeKind.ERROR, NodeKind.EMBEDDING)
        ),
        "leave an output": kind[edges.source] == NodeKind.LOGIT,
        "do not lead to a higher layer": layer[edges.target] <= layer[edges.source],
        "lead to an earlier position": position[edges.target] < position[edges.source],
    }
    for what, where in odd.items():
        if where.any():
            yield f"{int(where.sum())} links {what}"
    touched = np.zeros(graph.n_nodes, dtype=np.bool_)
    touched[edges.target] = True
    touched[edges.source] = True
    lonely = int((~touched & np.isin(kind, (NodeKind.FEATURE, NodeKind.ERROR))).sum())
    if lonely:
        yield f"{lonely} features and errors without a link"


def _numbers(graph: AttributionGraph) -> Iterator[str]:
    features = graph.nodes.kind == NodeKind.FEATURE
    for name, column in (("activation", graph.nodes.activation), ("influence", graph.nodes.influence)):
        unknown = int((features & np.isnan(column)).sum())
        if unknown:
            yield f"{unknown} of {int(features.sum())} features without {name}"


def _view(graph: AttributionGraph) -> Iterator[str]:
    view = saved_view(graph.extra.get("qParams"))
    named = [*view.pinned, *(member for group in view.supernodes for member in group.members)]
    unknown = [node_id for node_id in dict.fromkeys(named) if node_id not in graph.index_of]
    if unknown:
        more = f" and {len(unknown) - _MAX_SHOWN} more" if len(unknown) > _MAX_SHOWN else ""
        shown = ", ".join(repr(node_id[:60]) for node_id in unknown[:_MAX_SHOWN])
        yield f"pins or supernodes name nodes that are not in the graph: {shown}{more}"
