"""Edges between supernodes, input tokens and output tokens: summed direct effects of the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    groups = {one.supernode_id: [graph.node_of_feature.get(m.node) for m in one.members] for one in supernodes}
    known = {name: [index for index in members if index is not None] for name, members in groups.items()}
    return tuple(
        SupernodeEdge(source=source, destination=destination, weight=weight)
        for source, destination, weight in summed_effects(graph, known)
    )


def summed_effects(graph: AttributionGraph, groups: Mapping[str, Sequence[int]]) -> list[tuple[str, str, float]]:
    """Direct effects between groups of nodes, input tokens and output tokens: source, destination, summed weight.

    By destination and then size. What is below `MIN_INPUT_SHARE` of all that its destination receives is left out.

    Args:
        groups: indices of nodes by the group's name; a node in several of them counts for the first.
    """
    names, group = _ends(graph, groups)
    summed = np.zeros((len(names), len(names)))
    edges = graph.edges
    target, source = group[edges.target], group[edges.source]
    kept = (target >= 0) & (source >= 0) & (target != source)
    np.add.at(summed, (target[kept], source[kept]), edges.weight[kept].astype(np.float64))
    received = np.bincount(
        np.maximum(target, 0), weights=np.where(target >= 0, np.abs(edges.weight), 0.0), minlength=len(names)
    )
    found = [
        (int(s), int(t), float(summed[t, s]))
        for t, s in zip(*np.nonzero(summed), strict=True)
        if abs(summed[t, s]) >= MIN_INPUT_SHARE * received[t]
    ]
    found.sort(key=lambda one: (one[1], -abs(one[2]), one[0]))
    return [(names[source], names[destination], weight) for source, destination, weight in found]


def _ends(graph: AttributionGraph, groups: Mapping[str, Sequence[int]]) -> tuple[list[str], np.ndarray]:
    """Names of the ends, and the end that each node belongs to, `[n_nodes]`; -1 for nodes outside the circuit."""
    names = list(groups)
    group = np.full(graph.n_nodes, -1, dtype=np.int64)
    for number, name in reversed(list(enumerate(names))):
        group[list(groups[name])] = number
    for index in sorted(int(i) for kind in (NodeKind.EMBEDDING, NodeKind.LOGIT) for i in graph.of_kind(kind)):
        group[index] = len(names)
        names.append(graph.node_ids[index])
    return names, group
