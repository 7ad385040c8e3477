"""What a graph alone says of how much each feature matters: its links, what reaches it, what it reaches, its place.

Every quantity enters by rank: among all features of the graph, among those of its position, and among those of its
layer. Ranks make graphs of different models, transcoders and sizes comparable.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tracescribe.agents.grouping.feature_links import identities
from tracescribe.agents.grouping.graph_facts import GraphFacts
from tracescribe.tracer.graph import AttributionGraph, FeatureNode, NodeKind

Values = NDArray[np.float64]
"""One value for each feature node, in the order of `graph.of_kind(NodeKind.FEATURE)`."""

QUANTITIES = (
    "influence",
    "sources",
    "targets",
    "effect",
    "effect_on_answer",
    "direct_effect",
    "target_spread",
    "saying",
    "token_input",
    "negative_input",
    "negative_output",
    "sources_of_possible",
    "targets_of_possible",
    "gain",
    "input_evenness",
)
"""What is ranked; `docs/graph-only.md` says what each means."""
SCOPES = ("graph", "position", "layer")
"""Among which features a quantity is ranked."""
PLACES = ("depth", "place", "last", "repeats", "punctuation", "digits")
"""What enters as it is, 0 to 1."""
NODE_EVIDENCE = (*(f"{name}@{scope}" for name in QUANTITIES for scope in SCOPES), *PLACES)
"""Every column of the evidence."""
MOST_REPEATS = 3
"""Further positions at which a feature fires, from which more make no difference."""


def node_evidence(facts: GraphFacts, influence: Mapping[FeatureNode, float]) -> Values:
    """The evidence of every feature node, `[n_features, len(NODE_EVIDENCE)]`.

    Args:
        influence: share of the output's influence that passes through each feature node.
    """
    graph = facts.graph
    index = facts.profiles.nodes
    layer, position = graph.nodes.layer[index], graph.nodes.position[index]
    found = _quantities(facts, np.array([influence[graph.feature_node(int(i))] for i in index]))
    columns = []
    for name in QUANTITIES:
        # ranks of values in single precision: sums taken in another order stay equal
        values = np.nan_to_num(found[name]).astype(np.float32)
        columns += [ranks(values), _ranks_within(values, position), _ranks_within(values, layer)]
    return np.stack(columns + _places(graph, index), axis=1) if len(index) else np.zeros((0, len(NODE_EVIDENCE)))


def ranks(values: NDArray[np.float32]) -> Values:
    """Ranks between 0 and 1, ties at their mean; a single value has rank one half."""
    from scipy.stats import rankdata

    return np.asarray((rankdata(values) - 0.5) / max(1, len(values)))


def _ranks_within(values: NDArray[np.float32], key: NDArray[np.int64]) -> Values:
    found = np.zeros(len(values))
    for one in np.unique(key):
        mine = key == one
        found[mine] = ranks(values[mine])
    return found


def _quantities(facts: GraphFacts, influence: Values) -> Mapping[str, Values]:
    graph, edges, index = facts.graph, facts.graph.edges, facts.profiles.nodes
    n, kind = graph.n_nodes, graph.nodes.kind
    weight = edges.weight.astype(np.float64)
    size = np.abs(weight)

    def total(end: NDArray[np.int64], values: Values) -> Values:
        return np.asarray(np.bincount(end, weights=values, minlength=n)[index], dtype=np.float64)

    into, out = total(edges.target, size), total(edges.source, size)
    sources, targets = (total(end, (size > 0).astype(np.float64)) for end in (edges.target, edges.source))
    below, above = _possible(graph)
    to_logits = kind[edges.target] == NodeKind.LOGIT
    answer = (
        int(np.flatnonzero(facts.profiles.logits == graph.target_logit)[0]) if graph.target_logit is not None else 0
    )
    outputs = facts.profiles.outputs.astype(np.float64)
    return {
        "influence": influence,
        "sources": sources,
        "targets": targets,
        "effect": np.abs(outputs).sum(axis=1),
        "effect_on_answer": outputs[:, answer] if outputs.shape[1] else np.zeros(len(index)),
        "direct_effect": total(edges.source, np.where(to_logits, weight, 0.0)),
        "target_spread": _spread(edges.source, size, n)[index],
        "saying": facts.direct_share,
        "token_input": _part(total(edges.target, np.where(kind[edges.source] == NodeKind.EMBEDDING, size, 0.0)), into),
        "negative_input": _part(total(edges.target, np.where(weight < 0, size, 0.0)), into),
        "negative_output": _part(total(edges.source, np.where(weight < 0, size, 0.0)), out),
        "sources_of_possible": sources / np.maximum(1, below),
        "targets_of_possible": targets / np.maximum(1, above),
        # a floor far below any weight that is kept, in the graph's own units
        "gain": np.log(out + 1e-9 * (size.max(initial=0.0) + 1e-30))
        - np.log(into + 1e-9 * (size.max(initial=0.0) + 1e-30)),
        "input_evenness": np.exp(_spread(edges.target, size, n)[index]) / np.maximum(1, sources),
    }


def _part(some: Values, whole: Values) -> Values:
    return np.divide(some, whole, out=np.zeros_like(some), where=whole > 0)


def _spread(end: NDArray[np.int64], size: Values, n: int) -> Values:
    """Entropy in nats of how each node's weight is spread over its links at one end, `[n_nodes]`."""
    whole = np.bincount(end, weights=size, minlength=n)
    share = size / np.where(whole > 0, whole, 1.0)[end]
    told = np.zeros_like(share)
    told[share > 0] = -share[share > 0] * np.log(share[share > 0])
    return np.asarray(np.bincount(end, weights=told, minlength=n), dtype=np.float64)


def _possible(graph: AttributionGraph) -> tuple[Values, Values]:
    """Of each feature node: nodes that could feed it and nodes that it could feed, by layer and position."""
    table = graph.nodes
    layer = np.clip(table.layer, -1, graph.n_layers) + 1
    counts = np.zeros((graph.n_layers + 3, graph.n_pos + 1))
    np.add.at(counts, (layer + 1, table.position + 1), 1.0)
    up_to = counts.cumsum(axis=0).cumsum(axis=1)  # [layers below or at, positions before or at]
    index = graph.of_kind(NodeKind.FEATURE)
    at, position = layer[index] + 1, table.position[index] + 1
    below = up_to[at - 1, position]
    to_here = up_to[-1, position - 1] - up_to[at, position - 1]
    above = (up_to[-1, -1] - up_to[at, -1]) - to_here
    return below, above


def _places(graph: AttributionGraph, index: NDArray[np.int64]) -> list[Values]:
    nodes = [graph.feature_node(int(i)) for i in index]
    position = graph.nodes.position[index]
    _, key, count = np.unique(identities(nodes), return_inverse=True, return_counts=True)
    tokens = [graph.tokens[p].strip() for p in position]
    return [
        graph.nodes.layer[index] / max(1, graph.n_layers),
        position / max(1, graph.n_pos - 1),
        (position == position.max(initial=0)).astype(np.float64),
        np.minimum(count[key] - 1, MOST_REPEATS) / MOST_REPEATS,
        np.array([not any(sign.isalnum() for sign in token) for token in tokens], dtype=np.float64),
        np.array([token.isdigit() for token in tokens], dtype=np.float64),
    ]
