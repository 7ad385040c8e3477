"""Takes human hints out of a graph before anyone who must not know them sees it.

Labels, pinned nodes and supernodes are hints, and so is the order of nodes in published files, in which members of one
supernode often stand side by side. What the model itself says stays: prompt tokens, output tokens, probabilities,
weights, activations.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from tracescribe.tracer.graph import AttributionGraph, EdgeTable, NodeKind

PROVENANCE_KEYS = (
    "model",
    "model_sha256",
    "transcoders",
    "transcoders_sha256",
    "tracer_version",
    "settings",
    "seed",
    "n_active_features",
    "conservation_error",
    "pruning",
)
"""Provenance that stays; a file could hide hints under any other key."""

_OUTPUT_LABEL = re.compile(r'output:? "(?P<token>.*)" \(p=[0-9.]+\)', re.IGNORECASE | re.DOTALL)


def blind(graph: AttributionGraph) -> AttributionGraph:
    """The same graph without human hints, nodes and edges in canonical order.

    Feature labels become empty; labels of tokens, errors and outputs are written anew from tokens and probabilities;
    everything a file held beyond the graph is dropped.
    """
    table = graph.nodes
    order = np.lexsort((np.array(graph.node_ids), table.feature, table.position, table.layer, table.kind))
    new_index = np.empty(graph.n_nodes, dtype=np.int64)
    new_index[order] = np.arange(graph.n_nodes)
    target, source = new_index[graph.edges.target], new_index[graph.edges.source]
    edge_order = np.lexsort((source, target))
    return replace(
        graph,
        nodes=table.take(order),
        node_ids=tuple(graph.node_ids[i] for i in order),
        labels=tuple(_plain_label(graph, int(i)) for i in order),
        edges=EdgeTable(target[edge_order], source[edge_order], graph.edges.weight[edge_order]),
        provenance={key: graph.provenance[key] for key in PROVENANCE_KEYS if key in graph.provenance},
        extra={},
    )


def _plain_label(graph: AttributionGraph, index: int) -> str:
    kind = graph.nodes.kind[index]
    if kind == NodeKind.FEATURE:
        return ""
    if kind == NodeKind.LOGIT:
        found = _OUTPUT_LABEL.fullmatch(graph.labels[index])
        token = found["token"] if found else ""
        return f'Output "{token}" (p={graph.nodes.activation[index]:.3f})' if found else ""
    prefix = "Emb" if kind == NodeKind.EMBEDDING else "Err: mlp"
    token = graph.token_text(index)
    return f'{prefix}: "{token}"' if kind == NodeKind.EMBEDDING else f'{prefix} "{token}"'
