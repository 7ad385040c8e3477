"""Influence, pruning and scores of an attribution graph. No N x N matrix is ever built, sorted or copied.

A traced graph's edges lie in dense blocks: influence takes one matrix-vector product per block. A graph that was read
from a file has its edges in columns: all work is per edge. Only edges between kept nodes are scored and sorted.

Influence of a node: the share of the output that reaches it through all paths of row-normalised absolute edges.

Source: Ameisen et al. 2025, "Circuit Tracing" (transformer-circuits.pub/2025/attribution-graphs/methods.html), as
circuit-tracer 0.4.1 computes it (github.com/decoderesearch/circuit-tracer), with accumulation in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from tracescribe.tracer.edges import BoolArray, DoubleArray, EdgeBlock, EdgeTable, FloatArray, IntArray
from tracescribe.tracer.errors import AttributionError, SettingError
from tracescribe.tracer.graph import (
    AttributionGraph,
    GraphScores,
    NodeKind,
)

NORM_FLOOR = 1e-10
"""Smallest row sum that is divided by (circuit-tracer 0.4.1)."""

SORTED_AT_ONCE = 4096
"""Scores that are simply sorted to find a cut-off among them."""

MAX_STEPS = 1000
"""Longest path that is followed. Edges climb layers, so a traced graph ends after `n_layers + 2` steps; only a cycle in
a foreign graph comes this far (circuit-tracer 0.4.1 has the same bound)."""


@dataclass(frozen=True)
class PruneSettings:
    """What pruning keeps.

    Attributes:
        node_threshold: share of all influence that the kept nodes carry.
        edge_threshold: share of all edge scores that the kept edges carry.
    """

    node_threshold: float = 0.8
    edge_threshold: float = 0.98

    def __post_init__(self) -> None:
        faults = [f"{k} is {v}" for k, v in asdict(self).items() if not 0 < v <= 1]
        if faults:
            raise SettingError(f"prune settings: {', '.join(faults)}; expected above 0, at most 1")


@dataclass(frozen=True, eq=False)
class PruneMasks:
    """What pruning would keep.

    Attributes:
        nodes: `[n_nodes]`.
        edges: `[n_edges]`.
        edge_scores: influence that flows through each edge once the dropped nodes are gone, `[n_edges]`.
    """

    nodes: BoolArray
    edges: BoolArray
    edge_scores: DoubleArray


def propagate(edges: EdgeTable, start: DoubleArray, layer: IntArray, floor: float = NORM_FLOOR) -> DoubleArray:
    """Influence of every node: `start N + start N^2 + ...`, N the row-normalised absolute edges.

    Where every edge climbs layers, as in a traced graph, one pass from the top down touches each edge once; otherwise
    the sum is taken step by step.

    Args:
        edges: of an acyclic graph.
        start: weight of each node to begin with, `[n_nodes]`.
        layer: layer of each node, `[n_nodes]`.
        floor: smallest row sum that is divided by.

    Returns:
        `[n_nodes]`, without `start` itself.

    Raises:
        AttributionError: the graph has a cycle.
    """
    if edges.blocks is not None:
        return _pass_down_blocks(edges.blocks, edges.row_sums(len(start)), start, layer, floor)
    return _spread(edges, normalise(edges, len(start), floor), start, layer)


def _spread(edges: EdgeTable, weight: DoubleArray, start: DoubleArray, layer: IntArray) -> DoubleArray:
    if (layer[edges.target] > layer[edges.source]).all():
        return _pass_down(edges, weight, start, layer)
    return _sum_steps(edges, weight, start)


def _pass_down_blocks(
    blocks: Sequence[EdgeBlock], row_sums: DoubleArray, start: DoubleArray, layer: IntArray, floor: float
) -> DoubleArray:
    total = start.copy()
    for block in sorted(blocks, key=lambda b: int(layer[b.target[0]]), reverse=True):  # top layer first, as below
        flow = total[block.target] / np.maximum(row_sums[block.target], floor)
        rows = np.flatnonzero(flow)
        if len(rows):
            weight = np.abs(block.weight if len(rows) == len(flow) else block.weight[rows], dtype=np.float64)
            total[block.source] += flow[rows] @ weight
    return np.asarray(total - start)


def normalise(edges: EdgeTable, n_nodes: int, floor: float = NORM_FLOOR) -> DoubleArray:
    """Each edge's share of the absolute sum of its target's edges, `[n_edges]`."""
    weight = np.abs(edges.weight).astype(np.float64)
    row_sum = np.bincount(edges.target, weights=weight, minlength=n_nodes)
    return np.asarray(weight / np.maximum(row_sum, floor)[edges.target])


def _pass_down(edges: EdgeTable, weight: DoubleArray, start: DoubleArray, layer: IntArray) -> DoubleArray:
    climbed = layer[edges.target]
    order = np.argsort(climbed, kind="stable") if (np.diff(climbed) < 0).any() else slice(None)
    target, source, weight = edges.target[order], edges.source[order], weight[order]
    bounds = np.flatnonzero(np.diff(climbed[order])) + 1
    bounds = np.concatenate([[0], bounds, [len(target)]])
    total = start.copy()
    for first, last in zip(bounds[-2::-1], bounds[:0:-1], strict=True):  # top layer first: its nodes are complete
        flow = total[target[first:last]] * weight[first:last]
        total += np.bincount(source[first:last], weights=flow, minlength=len(total))
    return np.asarray(total - start)


def _sum_steps(edges: EdgeTable, weight: DoubleArray, start: DoubleArray) -> DoubleArray:
    step: DoubleArray = start
    total = np.zeros(len(start))
    for _ in range(MAX_STEPS):
        flow = step[edges.target] * weight
        step = np.bincount(edges.source, weights=flow, minlength=len(start)).astype(np.float64)
        if not step.any():
            return total
        total += step
    raise AttributionError(
        f"influence still flows after {MAX_STEPS} steps: the graph has a cycle; trace or download it again"
    )


def node_influence(graph: AttributionGraph) -> DoubleArray:
    """Influence of every node on the logits, these weighted by their probabilities, `[n_nodes]`.

    Raises:
        AttributionError: the graph has a cycle.
    """
    return propagate(graph.edges, logit_weights(graph), graph.nodes.layer)


def logit_weights(graph: AttributionGraph) -> DoubleArray:
    """Probability of every logit node and zero elsewhere, `[n_nodes]`; equal weights where a file tells none."""
    weights = np.zeros(graph.n_nodes)
    logits = graph.of_kind(NodeKind.LOGIT)
    probabilities = np.nan_to_num(graph.nodes.activation[logits].astype(np.float64), nan=0.0)
    weights[logits] = probabilities if probabilities.any() else 1.0
    return weights


def cumulative_influence(influence: DoubleArray) -> FloatArray:
    """Share of all influence that lies on each node and those above it, `[n_nodes]`: smaller is more influential."""
    order = np.argsort(-influence, kind="stable")
    share = np.zeros(len(influence), dtype=np.float32)
    total = influence.sum()
    share[order] = np.cumsum(influence[order]) / total if total > 0 else 1.0
    return share


def threshold_score(scores: DoubleArray, share: float) -> float:
    """The score from which on the largest scores together hold `share` of the total; 0 where all are 0."""
    total = scores.sum(dtype=np.float64)
    if not total > 0:
        return 0.0
    wanted, found, rest = share * total, 0.0, scores
    while len(rest) > SORTED_AT_ONCE:  # halve what the cut-off may be in, instead of sorting everything
        middle = np.partition(rest, len(rest) // 2)[len(rest) // 2]
        above = rest[rest > middle]
        if found + above.sum() >= wanted:
            rest = above
            continue
        found += above.sum()
        equal = int((rest == middle).sum())
        if found + equal * middle >= wanted:
            return float(middle)
        found += equal * middle
        rest = rest[rest < middle]
    descending = np.sort(rest)[::-1]
    first = int(np.searchsorted(found + np.cumsum(descending), wanted))
    return float(descending[first]) if first < len(descending) else 0.0


def prune_masks(graph: AttributionGraph, settings: PruneSettings | None = None) -> PruneMasks:
    """What pruning would keep, as masks over all edges; `prune` makes no such masks.

    Tokens and logits always stay. An edge with a dropped end scores exactly 0 and cannot pass, so only edges between
    kept nodes are scored and sorted.

    Raises:
        AttributionError: the graph has a cycle.
    """
    settings, edges = settings or PruneSettings(), graph.edges
    candidates = _candidates(graph, node_influence(graph), settings)
    inside = edges.inside(candidates)
    scores = _edge_scores(inside, logit_weights(graph), graph.nodes.layer)
    if inside.blocks is not None:  # the columns hold no zeros
        scores = [s[block.weight != 0] for s, block in zip(scores, inside.blocks, strict=True)]
    flat = np.concatenate([s.ravel() for s in scores]) if scores else np.zeros(0)
    keep = flat >= threshold_score(flat, settings.edge_threshold)
    nodes, keep = _drop_dangling(inside, candidates, keep, graph.nodes.kind)
    place = np.flatnonzero(candidates[edges.target] & candidates[edges.source])
    edge_mask, edge_scores = np.zeros(len(edges), dtype=np.bool_), np.zeros(len(edges))
    edge_mask[place], edge_scores[place] = keep, flat
    return PruneMasks(nodes, edge_mask, edge_scores)


def _candidates(graph: AttributionGraph, influence: DoubleArray, settings: PruneSettings) -> BoolArray:
    """Nodes that influence keeps, before any edge is looked at; tokens and logits always stay."""
    kind = graph.nodes.kind
    fixed = (kind == NodeKind.EMBEDDING) | (kind == NodeKind.LOGIT)
    return np.asarray((influence >= threshold_score(influence, settings.node_threshold)) | fixed)


def _edge_scores(edges: EdgeTable, start: DoubleArray, layer: IntArray) -> list[DoubleArray]:
    """Influence that flows through each edge: by block `[n_target, n_source]`, or one array `[n_edges]` of columns."""
    n_nodes = len(start)
    if edges.blocks is None:
        share = normalise(edges, n_nodes)
        flow = _spread(edges, share, start, layer) + start
        return [share * flow[edges.target]]
    row_sums = edges.row_sums(n_nodes)
    flow = _pass_down_blocks(edges.blocks, row_sums, start, layer, NORM_FLOOR) + start
    scale = flow / np.maximum(row_sums, NORM_FLOOR)
    return [np.abs(block.weight) * scale[block.target, None] for block in edges.blocks]


def _pruned_edges(
    graph: AttributionGraph, influence: DoubleArray, settings: PruneSettings
) -> tuple[BoolArray, EdgeTable]:
    """Nodes and edges that pruning keeps; only edges that pass the cut-off are ever unfolded."""
    candidates = _candidates(graph, influence, settings)
    inside = graph.edges.inside(candidates)
    scores = _edge_scores(inside, logit_weights(graph), graph.nodes.layer)
    flat = np.concatenate([s.ravel() for s in scores]) if scores else np.zeros(0)
    cut_off = threshold_score(flat, settings.edge_threshold)
    if inside.blocks is None:
        passed = inside.chosen(scores[0] >= cut_off)
    else:
        pairs = zip(inside.blocks, scores, strict=True)
        passed = inside.chosen_in_blocks([(s >= cut_off) & (block.weight != 0) for block, s in pairs])
    nodes, keep = _drop_dangling(passed, candidates, np.ones(len(passed), dtype=np.bool_), graph.nodes.kind)
    return nodes, passed.chosen(keep)


def _drop_dangling(edges: EdgeTable, nodes: BoolArray, keep: BoolArray, kind: IntArray) -> tuple[BoolArray, BoolArray]:
    """Drop, until nothing changes, what leads nowhere and features that nothing feeds; returns nodes and edges."""
    fixed = (kind == NodeKind.EMBEDDING) | (kind == NodeKind.LOGIT)
    features = kind == NodeKind.FEATURE
    while True:
        has_output = np.bincount(edges.source[keep], minlength=len(nodes)) > 0
        has_input = np.bincount(edges.target[keep], minlength=len(nodes)) > 0
        remaining = nodes & (fixed | has_output) & (~features | has_input)
        if (remaining == nodes).all():
            return nodes, keep
        nodes = remaining
        keep = keep & nodes[edges.target] & nodes[edges.source]


def prune(graph: AttributionGraph, settings: PruneSettings | None = None) -> AttributionGraph:
    """The part of a graph that carries the influence.

    Returns:
        Kept nodes and edges. The influence column holds each node's cumulative share in the graph given (smaller is
        more influential); scores stay those of the unpruned graph; the settings are added to the provenance.

    Raises:
        AttributionError: the graph has a cycle.
    """
    settings = settings or PruneSettings()
    influence = node_influence(graph)
    nodes, kept = _pruned_edges(graph, influence, settings)
    whole = replace(graph.with_influence(cumulative_influence(influence)), edges=kept)
    return replace(whole.subgraph(nodes), provenance={**graph.provenance, "pruning": asdict(settings)})


def graph_scores(graph: AttributionGraph) -> GraphScores:
    """Replacement and completeness score; of the unpruned graph they tell how far the transcoders explain the prompt.

    Replacement: influence of tokens over that of tokens and errors. Completeness: mean over all nodes, weighted by
    influence, of the share of incoming absolute weight that is not from errors; nodes without input count as explained.

    Raises:
        AttributionError: the graph has a cycle.
    """
    return measure(graph)[0]


def measure(graph: AttributionGraph) -> tuple[GraphScores, DoubleArray]:
    """Scores, and the influence of every node `[n_nodes]` that they rest on, in one go.

    Raises:
        AttributionError: the graph has a cycle.
    """
    kind, weights, edges = graph.nodes.kind, logit_weights(graph), graph.edges
    is_error = kind == NodeKind.ERROR
    if edges.blocks is not None:
        row_sums = edges.row_sums(graph.n_nodes)
        influence = _pass_down_blocks(edges.blocks, row_sums, weights, graph.nodes.layer, NORM_FLOOR)
        unexplained = np.zeros(graph.n_nodes)
        for block in edges.blocks:
            from_errors = np.abs(block.weight[:, is_error[block.source]]).sum(1, dtype=np.float64)
            unexplained[block.target] = from_errors / np.maximum(row_sums[block.target], NORM_FLOOR)
    else:
        share = normalise(edges, graph.n_nodes)
        influence = _spread(edges, share, weights, graph.nodes.layer)
        from_error = np.flatnonzero(is_error[edges.source])
        found = np.bincount(edges.target[from_error], weights=share[from_error], minlength=graph.n_nodes)
        unexplained = found.astype(np.float64)
    token, error = influence[kind == NodeKind.EMBEDDING].sum(), influence[is_error].sum()
    output = influence + weights
    scores = GraphScores(
        replacement=float(token / (token + error)) if token + error > 0 else 0.0,
        completeness=float(((1 - unexplained) * output).sum() / output.sum()) if output.sum() > 0 else 0.0,
    )
    return scores, influence


def error_influence_share(graph: AttributionGraph) -> float:
    """Share of all influence that lies on error nodes, between 0 and 1.

    Raises:
        AttributionError: the graph has a cycle.
    """
    influence = node_influence(graph)
    total = float(influence.sum())
    return float(influence[graph.nodes.kind == NodeKind.ERROR].sum()) / total if total > 0 else 0.0
