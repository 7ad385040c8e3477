"""Edges between supernodes, input tokens and output tokens: summed direct effects of the graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tracescribe.agents.findings import Supernode, SupernodeEdge
from tracescribe.tracer.graph import AttributionGraph, NodeKind

MIN_INPUT_SHARE = 0.05
"""Edges below this share of what their destination receives in all are not told: they would hide the others."""


def circuit_edges(graph: AttributionGraph, supernodes: Sequence[Supernode]) -> tuple[SupernodeEdge, ...]:
    """Edges of the circuit, by destination and then size.

    Args:
        graph: the graph that the members' edges are taken from.
        supernodes: a feature in several of them counts for the first.
    """
    names, group = _groups(graph, supernodes)
    summed = np.zeros((len(names), len(names)))
    edges = graph.edges
    target, source = group[edges.target], group[edges.source]
    kept = (target >= 0) & (source >= 0) & (target != source)
    np.add.at(summed, (target[kept], source[kept]), edges.weight[kept].astype(np.float64))
    received = np.bincount(
        np.maximum(target, 0), weights=np.where(target >= 0, np.abs(edges.weight), 0.0), minlength=len(names)
    )
    found = [
        SupernodeEdge(source=names[s], destination=names[t], weight=float(summed[t, s]))
        for t, s in zip(*np.nonzero(summed), strict=True)
        if abs(summed[t, s]) >= MIN_INPUT_SHARE * received[t]
    ]
    order = {name: number for number, name in enumerate(names)}
    return tuple(sorted(found, key=lambda e: (order[e.destination], -abs(e.weight), order[e.source])))


def _groups(graph: AttributionGraph, supernodes: Sequence[Supernode]) -> tuple[list[str], np.ndarray]:
    """Names of the ends, and the end that each node belongs to, `[n_nodes]`; -1 for nodes outside the circuit."""
    names = [supernode.supernode_id for supernode in supernodes]
    group = np.full(graph.n_nodes, -1, dtype=np.int64)
    for number, supernode in reversed(list(enumerate(supernodes))):
        for member in supernode.members:
            index = graph.node_of_feature.get(member.node)
            if index is not None:
                group[index] = number
    for index in range(graph.n_nodes):
        if graph.nodes.kind[index] in (NodeKind.EMBEDDING, NodeKind.LOGIT):
            group[index] = len(names)
            names.append(graph.node_ids[index])
    return names, group
