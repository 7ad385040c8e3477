"""Attribution profiles: what feeds each feature of a prompt, and what it feeds, through the whole graph.

The graph's edges are direct. A profile follows them to the ends: with every active feature linear in its inputs, a
source's total effect on a node is the sum over all paths of the product of its edges, each divided by the activation
of the feature it passes through (gradient times input of the local replacement model). The graph is a DAG by layer, so
the sum is a handful of sparse products.

Source: "ADAG", arXiv 2604.07615 (input and output views, cosine per view, harmonic mean of both); Ameisen et al. 2025,
"Circuit Tracing", transformer-circuits.pub (the replacement model).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracescribe.tracer.errors import AttributionError, SettingError
from tracescribe.tracer.graph import AttributionGraph, FloatArray, IntArray, NodeKind

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MIN_PASS_THROUGH = 0.05
"""Least activation, as a share of a feature's summed absolute input, that its paths are divided by: a feature just above
its threshold, the rest of large inputs that cancel, would otherwise multiply every path through it without bound."""


@dataclass(frozen=True, eq=False)
class Profiles:
    """Profiles of all feature nodes of a graph, in the order of `graph.of_kind(NodeKind.FEATURE)`.

    Attributes:
        nodes: node index of each row, `[n_features]`.
        inputs: total signed attribution of each prompt token, divided by its absolute sum, `[n_features, n_pos]`.
        outputs: total signed effect on each target logit, `[n_features, n_logits]`, in units of the logit.
        logits: node index of each column of `outputs`, `[n_logits]`.
        destinations: share of absolute *direct* effect that goes to each layer and position,
            `[n_features, (n_layers + 1) * n_pos]`; column `layer * n_pos + position`, logits as layer `n_layers`. It
            names no feature and no token, so that it compares features of different prompts of one shape.
    """

    nodes: IntArray
    inputs: FloatArray
    outputs: FloatArray
    logits: IntArray
    destinations: FloatArray


def profiles(graph: AttributionGraph) -> Profiles:
    """All profiles of a graph.

    Raises:
        AttributionError: the graph has a cycle, or an edge weight that is not finite.
    """
    return Profiles(
        nodes=graph.of_kind(NodeKind.FEATURE),
        inputs=in_profile(graph),
        outputs=out_profile(graph),
        logits=graph.of_kind(NodeKind.LOGIT),
        destinations=destination_profile(graph),
    )


def in_profile(graph: AttributionGraph) -> FloatArray:
    """Total attribution of each prompt token to each feature, through the graph.

    Signed; each row divided by its absolute sum. (The source divides by the plain sum, which cancellation can bring to
    zero; cosines differ by at most a sign that is thereby fixed.)

    Returns:
        `[n_features, n_pos]` in the order of `graph.of_kind(NodeKind.FEATURE)`; a row of zeros where no token reaches.

    Raises:
        AttributionError: the graph has a cycle, or an edge weight that is not finite.
    """
    tokens = graph.of_kind(NodeKind.EMBEDDING)
    start = np.zeros((graph.n_nodes, graph.n_pos))
    start[tokens, graph.nodes.position[tokens]] = 1.0
    total = _propagate(_passed_on(graph), start, graph.n_layers)[graph.of_kind(NodeKind.FEATURE)]
    return _shares(total).astype(np.float32)


def out_profile(graph: AttributionGraph) -> FloatArray:
    """Total effect of each feature, as active as it is, on each target logit, through the graph.

    Returns:
        `[n_features, n_logits]`, signed, in the orders of `graph.of_kind`.

    Raises:
        AttributionError: the graph has a cycle, or an edge weight that is not finite.
    """
    logits = graph.of_kind(NodeKind.LOGIT)
    start = np.zeros((graph.n_nodes, len(logits)))
    start[logits, np.arange(len(logits))] = 1.0
    passed_on = _passed_on(graph).T.tocsr()
    return _propagate(passed_on, start, graph.n_layers)[graph.of_kind(NodeKind.FEATURE)].astype(np.float32)


def destination_profile(graph: AttributionGraph) -> FloatArray:
    """Where each feature's direct effect goes: shares over layers and positions of the nodes it feeds.

    Returns:
        `[n_features, (n_layers + 1) * n_pos]`, not negative, rows sum to 1, or to 0 where a feature feeds nothing.
    """
    nodes, edges = graph.nodes, graph.edges
    row = np.full(graph.n_nodes, -1)
    features = graph.of_kind(NodeKind.FEATURE)
    row[features] = np.arange(len(features))
    column = np.minimum(nodes.layer, graph.n_layers) * graph.n_pos + nodes.position
    kept = (row[edges.source] >= 0) & (nodes.layer[edges.target] >= 0)
    width = (graph.n_layers + 1) * graph.n_pos
    flat = row[edges.source[kept]] * width + column[edges.target[kept]]
    weight = np.abs(edges.weight[kept].astype(np.float64))
    summed = np.bincount(flat, weights=weight, minlength=len(features) * width).astype(np.float64)
    return _shares(summed.reshape(len(features), width)).astype(np.float32)


def similarity(*views: FloatArray) -> FloatArray:
    """How alike rows are in every view: harmonic mean of clamped cosines.

    A cosine below 0 counts as 0, so that views must agree. Where one of two rows is zero in a view, that view says
    nothing of the pair and the others decide; a pair of which no view knows both has similarity 0. The diagonal is 1.

    Args:
        views: each `[n, width]`, widths may differ.

    Returns:
        `[n, n]`, symmetric, 0 to 1.

    Raises:
        SettingError: no view, or views of different height.

    Source: "ADAG", arXiv 2604.07615.
    """
    heights = sorted({len(view) for view in views})
    if len(heights) != 1:
        raise SettingError(f"similarity needs views of one height, found {heights or 'no views'}")
    cosines, known = zip(*(_cosines(view, view) for view in views), strict=True)
    result = _harmonic(cosines, known)
    np.fill_diagonal(result, 1.0)
    return result.astype(np.float32)


def cross_similarity(first: Sequence[FloatArray], second: Sequence[FloatArray]) -> FloatArray:
    """`similarity` between the rows of one graph and those of another, view by view: `[n_first, n_second]`.

    Raises:
        SettingError: no view, or views that do not pair up in number and width.
    """
    shapes = [(a.shape[1], b.shape[1]) for a, b in zip(first, second, strict=False)]
    if not shapes or len(first) != len(second) or any(a != b for a, b in shapes):
        raise SettingError(f"views must pair up in number and width, found {len(first)}, {len(second)} and {shapes}")
    cosines, known = zip(*(_cosines(a, b) for a, b in zip(first, second, strict=True)), strict=True)
    return _harmonic(cosines, known).astype(np.float32)


def _cosines(first: FloatArray, second: FloatArray) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Clamped cosines of all pairs of rows, and which pairs have no zero row."""
    units, present = [], []
    for view in (first, second):
        norm = np.linalg.norm(view.astype(np.float64), axis=1, keepdims=True)
        present.append(norm[:, 0] > 0)
        units.append(np.divide(view, norm, out=np.zeros(view.shape), where=norm > 0))
    return np.clip(units[0] @ units[1].T, 0.0, 1.0), np.outer(present[0], present[1])


def _harmonic(cosines: Sequence[NDArray[np.float64]], known: Sequence[NDArray[np.bool_]]) -> NDArray[np.float64]:
    """Harmonic mean over the views that know a pair; 0 where any of them is 0."""
    count = np.sum(known, axis=0)
    zero = np.any([k & (c <= 0) for c, k in zip(cosines, known, strict=True)], axis=0)
    inverse = np.sum(
        [np.divide(1.0, c, out=np.zeros(c.shape), where=k & (c > 0)) for c, k in zip(cosines, known, strict=True)],
        axis=0,
    )
    mean: NDArray[np.float64] = np.divide(count, inverse, out=np.zeros(count.shape), where=~zero & (inverse > 0))
    return mean


def _shares(total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows divided by their absolute sum; zero rows stay."""
    size = np.abs(total).sum(axis=1, keepdims=True)
    shares: NDArray[np.float64] = np.divide(total, size, out=np.zeros_like(total), where=size > 0)
    return shares


def _passed_on(graph: AttributionGraph) -> csr_array:
    """Edges, `[n_nodes target, n_nodes source]`, each divided by what its target turns input into output with.

    Features: the activation (their summed absolute input where a file does not tell it). Logits: 1.
    """
    from scipy.sparse import csr_array

    nodes, edges = graph.nodes, graph.edges
    weight = edges.weight.astype(np.float64)
    if not np.isfinite(weight).all():
        raise AttributionError(f"the graph has {int((~np.isfinite(weight)).sum())} edge weights that are not finite")
    size = np.bincount(edges.target, weights=np.abs(weight), minlength=graph.n_nodes)
    activation = np.abs(np.nan_to_num(nodes.activation.astype(np.float64), nan=np.inf))
    divisor = np.where(np.isfinite(activation), np.maximum(activation, MIN_PASS_THROUGH * size), size)
    divisor = np.where(nodes.kind == NodeKind.LOGIT, 1.0, divisor)
    safe = np.where(divisor > 0, divisor, 1.0)
    shape = (graph.n_nodes, graph.n_nodes)
    return csr_array((weight / safe[edges.target], (edges.target, edges.source)), shape=shape)


def _propagate(matrix: csr_array, start: NDArray[np.float64], n_layers: int) -> NDArray[np.float64]:
    """Sum of `matrix^k start` over k >= 1; it ends because every path climbs the layers."""
    total = np.zeros_like(start)
    step = start
    for _ in range(n_layers + 2):
        step = np.asarray(matrix @ step)
        total += step
        if not step.any():
            return total
    raise AttributionError(
        f"the graph has a cycle: effects still flow after {n_layers + 2} steps, and {n_layers} layers allow no more"
    )
