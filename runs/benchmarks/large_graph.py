"""A graph as large as people trace, made from a seed: for measurements of what draws and reads graphs.

It has the shape of a traced one (tokens, layers, several features per cell, errors, logits) and weights with a heavy tail,
and stands for no model: its labels say so.
"""

from __future__ import annotations

import numpy as np

from tracescribe.tracer.errors import SettingError
from tracescribe.tracer.graph import AttributionGraph, EdgeTable, IntArray, NodeKind, NodeTable, standard_node_ids

N_TOKENS = 40
N_LAYERS = 26
N_LOGITS = 10
N_FEATURES = 16_384
"""Features per layer that the nodes are drawn from."""
_ERROR_SHARE = 0.1
_BOTTOM_HEAVY = 0.6  # early layers have more active features


def large_graph(n_nodes: int = 5_000, n_edges: int = 100_000, *, seed: int = 0) -> AttributionGraph:
    """A graph of a given size; the same for the same numbers.

    Args:
        n_nodes: of all kinds.
        n_edges: each from a lower to a higher layer, from the same token or one before.

    Raises:
        SettingError: too few nodes for tokens and logits, or more edges than such a graph holds.
    """
    draw = np.random.default_rng(seed)
    table = _nodes(n_nodes, draw)
    edges = _edges(table, n_edges, draw)
    ids = standard_node_ids(table, N_LAYERS)
    tokens = tuple(f" word{i}" for i in range(N_TOKENS))
    return AttributionGraph(
        prompt="".join(tokens),
        tokens=tokens,
        token_ids=tuple(range(N_TOKENS)),
        n_layers=N_LAYERS,
        nodes=table,
        node_ids=ids,
        labels=tuple(_label(table, node, tokens) for node in range(n_nodes)),
        edges=edges,
        provenance={"model": "made-up", "seed": seed},
    )


def _label(table: NodeTable, node: int, tokens: tuple[str, ...]) -> str:
    """As tracers write them; features have none before they are labelled."""
    kind, feature = table.kind[node], int(table.feature[node])
    if kind == NodeKind.FEATURE:
        return f"made-up feature {int(table.layer[node])}/{feature}"
    if kind == NodeKind.LOGIT:
        return f'Output " answer{feature - 1_000}" (p={float(table.activation[node]):.3f})'
    return f'{"Emb" if kind == NodeKind.EMBEDDING else "Err: mlp"} "{tokens[int(table.position[node])]}"'


def _nodes(n_nodes: int, draw: np.random.Generator) -> NodeTable:
    n_inner = n_nodes - N_TOKENS - N_LOGITS
    cells = N_LAYERS * N_TOKENS
    n_errors = min(cells, round(_ERROR_SHARE * n_inner))
    n_features = n_inner - n_errors
    if n_features < N_LAYERS:
        raise SettingError(
            f"{n_nodes} nodes are too few for {N_TOKENS} tokens and {N_LOGITS} outputs; ask for 200 or more"
        )
    share = np.linspace(1.0, _BOTTOM_HEAVY, N_LAYERS)
    layer = np.sort(draw.choice(N_LAYERS, n_features, p=share / share.sum()))
    position = draw.integers(0, N_TOKENS, n_features)
    # without repetition within a layer, so that ids are unique
    feature = np.concatenate(
        [draw.choice(N_FEATURES, int(n), replace=False) for n in np.bincount(layer, minlength=N_LAYERS)]
    )
    error_cell = np.sort(draw.choice(cells, n_errors, replace=False))
    probability = np.sort(draw.dirichlet(np.full(N_LOGITS + 1, 0.3))[:N_LOGITS])[::-1]
    kinds = [NodeKind.FEATURE] * n_features + [NodeKind.ERROR] * n_errors
    kinds += [NodeKind.EMBEDDING] * N_TOKENS + [NodeKind.LOGIT] * N_LOGITS
    nothing = np.full(n_errors + N_TOKENS, np.nan)
    influence = draw.permutation(np.arange(1, n_nodes + 1) / n_nodes)
    influence[n_nodes - N_LOGITS :] = np.nan
    return NodeTable(
        kind=np.array(kinds, dtype=np.int64),
        layer=np.concatenate(
            [layer, error_cell // N_TOKENS, np.full(N_TOKENS, -1), np.full(N_LOGITS, N_LAYERS)]
        ).astype(np.int64),
        position=np.concatenate(
            [position, error_cell % N_TOKENS, np.arange(N_TOKENS), np.full(N_LOGITS, N_TOKENS - 1)]
        ).astype(np.int64),
        feature=np.concatenate(
            [feature, np.full(n_errors, -1), np.arange(N_TOKENS), 1_000 + np.arange(N_LOGITS)]
        ).astype(np.int64),
        activation=np.concatenate([draw.gamma(2.0, 3.0, n_features), nothing, probability]).astype(np.float32),
        influence=influence.astype(np.float32),
        bias=np.full(n_nodes, np.nan, dtype=np.float32),
    )


def _edges(table: NodeTable, n_edges: int, draw: np.random.Generator) -> EdgeTable:
    """Drawn pairs that may have an edge, each once; an error has none into it."""
    n = len(table)
    ends_here = np.flatnonzero((table.kind == NodeKind.FEATURE) | (table.kind == NodeKind.LOGIT))
    starts_here = np.flatnonzero(table.kind != NodeKind.LOGIT)
    if 8 * n_edges > n * n:  # about twice as many could be drawn
        raise SettingError(f"a graph of {n} nodes has no {n_edges} such edges; ask for {n * n // 8} or fewer")
    found: IntArray = np.zeros(0, dtype=np.int64)
    for _ in range(40):
        target, source = draw.choice(ends_here, 4 * n_edges), draw.choice(starts_here, 4 * n_edges)
        fits = (table.layer[source] < table.layer[target]) & (table.position[source] <= table.position[target])
        found = np.unique(np.concatenate([found, target[fits] * n + source[fits]]))
        if len(found) >= n_edges:
            break
    else:
        raise SettingError(f"a graph of {n} nodes has no {n_edges} such edges; ask for fewer")
    pairs = np.sort(draw.permutation(found)[:n_edges])
    weight = draw.standard_cauchy(n_edges).clip(-200, 200) * 0.05 + draw.choice([-1e-4, 1e-4], n_edges)
    return EdgeTable(pairs // n, pairs % n, weight.astype(np.float32))
