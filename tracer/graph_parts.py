"""What a graph holds beside its arrays, as JSON: the part that the native format and GraphML share.

Arrays go their own way in each format; prompt, tokens, scores, provenance and what a file held beyond the graph go
through here, checked against the same models as the JSON document (`graph_rows`), so that a graph which was read from
one format can be written in any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from tracescribe.tracer.graph import AttributionGraph, EdgeTable, GraphScores, NodeKind, NodeTable
from tracescribe.tracer.graph_checks import graph_faults
from tracescribe.tracer.graph_document import GraphFaultsError, validate
from tracescribe.tracer.graph_import import KIND_OF_TYPE
from tracescribe.tracer.graph_rows import (
    MAX_LAYERS,
    MAX_PROMPT,
    MAX_TOKENS,
    Count,
    LinkRow,
    Metadata,
    NodeId,
    NodeRow,
    OwnRow,
    QueryParameters,
    Row,
    Scores,
    Text,
)

_DOCUMENT_KEYS = frozenset({"metadata", "qParams", "nodes", "links"})


class ExtraPart(Row):
    """What a graph file held beyond the graph (`AttributionGraph.extra`)."""

    metadata: Metadata | Annotated[dict[str, Any], Field(max_length=0)] = Field(default_factory=dict)
    qParams: QueryParameters | None = None
    document: dict[str, Any] = Field(default_factory=dict)
    order: list[Text] = Field(default_factory=list)
    nodes: dict[NodeId, NodeRow] = Field(default_factory=dict)
    links: list[LinkRow] = Field(default_factory=list)
    ambiguous_links: list[dict[str, Any]] = Field(default_factory=list)


class GraphPart(OwnRow):
    """Everything of a graph but its arrays."""

    prompt: Annotated[str, Field(max_length=MAX_PROMPT)]
    tokens: Annotated[list[Text], Field(min_length=1, max_length=MAX_TOKENS)]
    token_ids: list[Count]
    n_layers: Annotated[int, Field(ge=1, le=MAX_LAYERS)]
    scores: Scores | None
    provenance: dict[str, Any]
    extra: ExtraPart


_PART = TypeAdapter(GraphPart)


def part_of(graph: AttributionGraph) -> dict[str, Any]:
    """Everything of a graph but its arrays, node ids and labels, as plain JSON values."""
    extra = dict(graph.extra)
    if "links" in extra:
        # JSON has no pairs as keys; the ends as the graph names them, which a file may have spelled otherwise
        ends = extra["links"].items()
        extra["links"] = [{**row, "source": source, "target": target} for (source, target), row in ends]
    return {
        "prompt": graph.prompt,
        "tokens": list(graph.tokens),
        "token_ids": list(graph.token_ids),
        "n_layers": graph.n_layers,
        "scores": None if graph.scores is None else asdict(graph.scores),
        "provenance": dict(graph.provenance),
        "extra": extra,
    }


def join_parts(
    part: Any, table: NodeTable, node_ids: Sequence[str], labels: Sequence[str], edges: EdgeTable, name: str
) -> AttributionGraph:
    """The graph of a file, after every check that a graph must pass.

    Args:
        part: as `part_of` gave it, untrusted.
        table: `[n_nodes]`, untrusted.
        node_ids: `[n_nodes]`, untrusted.
        labels: `[n_nodes]`, untrusted.
        edges: `[n_edges]`, untrusted.
        name: how messages call the file.

    Raises:
        GraphFaultsError: the parts break the schema, contradict each other, or are no acyclic graph.
    """
    faults: list[str] = []
    checked = validate(_PART, part, "graph", faults)
    if checked is None:
        raise GraphFaultsError(name, faults)
    extra = dict(part["extra"])
    if "links" in extra:
        extra["links"] = {(row["source"], row["target"]): row for row in extra["links"]}
    graph = AttributionGraph(
        prompt=checked.prompt,
        tokens=tuple(checked.tokens),
        token_ids=tuple(checked.token_ids),
        n_layers=checked.n_layers,
        nodes=table,
        node_ids=tuple(node_ids),
        labels=tuple(labels),
        edges=edges,
        scores=None if checked.scores is None else GraphScores(**checked.scores.model_dump()),
        provenance=checked.provenance,
        extra=extra,
    )
    faults = graph_faults(graph)
    if not faults:
        faults = _contradictions(graph, checked.extra)
    if faults:
        raise GraphFaultsError(name, faults)
    return graph


def _contradictions(graph: AttributionGraph, extra: ExtraPart) -> list[str]:
    """Where the rows of a JSON document that came along say something else than the graph."""
    faults = [f"extra.document.{key}: belongs to the graph" for key in sorted(_DOCUMENT_KEYS & extra.document.keys())]
    table = graph.nodes
    for i, node_id in enumerate(graph.node_ids):
        row = extra.nodes.get(node_id)
        if row is None:
            continue
        kind, layer = NodeKind(int(table.kind[i])), int(table.layer[i])
        inner = kind in (NodeKind.FEATURE, NodeKind.ERROR)
        same = KIND_OF_TYPE[row.feature_type] == kind and row.ctx_idx == int(table.position[i])
        if not same or (inner and str(row.layer) != str(layer)):
            faults.append(f"extra.nodes.{node_id}: contradicts nodes[{i}], a node of kind {kind.name.lower()}")
    return faults
