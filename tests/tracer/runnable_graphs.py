"""Small complete graphs that run as models: random ones, and one with a planted chain."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from tracescribe.tracer.edges import EdgeTable
from tracescribe.tracer.graph import AttributionGraph, NodeKind, NodeTable
from tracescribe.tracer.transcoder_formats.activation import Activation


def relu_layers(graph: AttributionGraph) -> Any:
    """Stands for transcoders of ReLU features: all that running a graph asks of them."""
    layer = SimpleNamespace(activation=Activation("relu"), threshold=None)
    return SimpleNamespace(stored=SimpleNamespace(layers=[layer] * graph.n_layers))


def complete_graph(
    kinds: list[int],
    layers: list[int],
    edges: dict[tuple[int, int], float],
    activation: dict[int, float],
    n_layers: int,
) -> AttributionGraph:
    """A graph whose biases make up what edges leave open.

    Args:
        edges: weight by (target, source).
        activation: of features.
    """
    n = len(kinds)
    pairs = sorted(edges)
    target, source = (np.array([pair[i] for pair in pairs], dtype=np.int64) for i in (0, 1))
    weight = np.array([edges[pair] for pair in pairs], dtype=np.float32)
    value = np.array([activation.get(i, np.nan) for i in range(n)], dtype=np.float32)
    summed = np.bincount(target, weights=weight.astype(np.float64), minlength=n)
    is_feature = np.array(kinds) == NodeKind.FEATURE
    bias = np.where(is_feature, value - summed, 0.0).astype(np.float32)
    nodes = NodeTable(
        kind=np.array(kinds, dtype=np.int64),
        layer=np.array(layers, dtype=np.int64),
        position=np.zeros(n, dtype=np.int64),
        feature=np.arange(n, dtype=np.int64),
        activation=value,
        influence=np.full(n, np.nan, dtype=np.float32),
        bias=bias,
    )
    return AttributionGraph(
        prompt="x",
        tokens=("x",),
        token_ids=(0,),
        n_layers=n_layers,
        nodes=nodes,
        node_ids=tuple(f"n{i}" for i in range(n)),
        labels=("",) * n,
        edges=EdgeTable(target, source, weight),
        provenance={},
    )


def random_graph(rng: np.random.Generator, n_layers: int = 3, width: int = 6) -> AttributionGraph:
    """Tokens, `width` features a layer, and three outputs, densely linked."""
    kinds = [NodeKind.EMBEDDING] + [NodeKind.FEATURE] * (n_layers * width) + [NodeKind.LOGIT] * 3
    layers = [-1] + [layer for layer in range(n_layers) for _ in range(width)] + [n_layers] * 3
    edges = {
        (t, s): float(rng.normal())
        for t in range(len(kinds))
        for s in range(len(kinds))
        if layers[s] < layers[t] and rng.random() < 0.7
    }
    activation = {i: float(0.5 + rng.random()) for i, kind in enumerate(kinds) if kind == NodeKind.FEATURE}
    return complete_graph([int(kind) for kind in kinds], layers, edges, activation, n_layers)


def planted() -> tuple[AttributionGraph, dict[str, int]]:
    """token -> first -> second -> answer, beside features that feed nothing of weight, and their indices by name."""
    names = {"token": 0, "first": 1, "idle": 2, "second": 3, "late": 4, "answer": 5, "foil": 6}
    kinds = [NodeKind.EMBEDDING, *[NodeKind.FEATURE] * 4, *[NodeKind.LOGIT] * 2]
    layers = [-1, 0, 0, 1, 1, 2, 2]
    edges = {(1, 0): 2.0, (2, 0): 2.0, (3, 1): 2.0, (3, 2): 0.01, (4, 2): 1.0, (5, 3): 6.0, (6, 4): 0.001, (5, 0): 0.01}
    activation = {1: 2.0, 2: 2.0, 3: 2.0, 4: 1.0}
    return complete_graph([int(kind) for kind in kinds], layers, edges, activation, 2), names
