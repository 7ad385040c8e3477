"""CPR and CMD over edges: how much of the answer's logit do the edges that a report tells first carry?

Cutting an edge between two features is no intervention on the model, in which everything adds up in one stream, but one on
the replacement model that the graph is of. There a node's pre-activation is the sum of its edges and a constant, so a
circuit of edges is computed exactly: with the edges left out at 0, every feature's activation is what its remaining edges
and its constant give (0 where they are below 0; attention, norms and gates as in the prompt), and so on up to the answer.
Edges from errors stay, as errors do in `faithfulness`. m is the logit of the answer, less the mean over all logits as
everywhere in graphs. The report ranks the graph's edges by the weight of the link between the two groups that it tells;
edges within a supernode come with its strongest link, and edges that it does not tell last, in a random order.

Source: Mueller et al. 2025, MIB (arXiv 2504.13151), for f over edges, its grid, CPR and CMD; the linear propagation is
that of the attribution graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracescribe.evals.scorers.faithfulness import FaithfulnessCurve, kept_counts, recovered
from tracescribe.evals.scorers.metric import NOTHING, Metric, Tally
from tracescribe.tracer.graph import AttributionGraph, NodeKind
from tracescribe.tracer.statistics import Float64Array

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport

N_RANDOM_ORDERS = 10
"""Random orders of the edges that CPR is compared with."""
MAX_EDGES = 2_000_000
"""Most edges of a graph that is scored: one order of them takes seconds there."""

METRICS = (
    Metric("circuit.edge_cpr", "edge CPR", "area under f(k): the first edges carry the whole logit"),
    Metric(
        "circuit.edge_cmd", "edge CMD", "area of |1 - f(k)|: the first edges leave nothing as it was",
        higher_is_better=False,
    ),
    Metric("circuit.edge_cpr_over_random", "edge CPR over random", "the order carries all where random ones carry nothing"),
)  # fmt: skip


class EdgeRuns:
    """The replacement model of one graph, run with some of its edges.

    Args:
        graph: unpruned: every node's edges and constant add up to what it computes.

    Attributes:
        candidates: places in the graph's edge table that may be left out, `[n_candidates]`: all but those from errors.
    """

    def __init__(self, graph: AttributionGraph) -> None:
        nodes, edges = graph.nodes, graph.edges
        assert graph.target_logit is not None, "checked by score_edge_faithfulness"
        self._target = graph.target_logit
        self._edges = edges
        self._constant = np.nan_to_num(nodes.bias.astype(np.float64))
        self._is_computed = np.isin(nodes.kind, (NodeKind.FEATURE, NodeKind.LOGIT))
        self._is_feature = nodes.kind == NodeKind.FEATURE
        weight = edges.weight.astype(np.float64)
        whole = self._constant + np.bincount(edges.target, weights=weight, minlength=graph.n_nodes)
        self._whole = np.where(self._is_computed, whole, 1.0)
        self._n_steps = graph.n_layers + 2
        self.candidates: NDArray[np.int64] = np.flatnonzero(nodes.kind[edges.source] != NodeKind.ERROR)

    def logit(self, left_out: NDArray[np.int64]) -> float:
        """The answer's logit without some edges, given by their places in the edge table."""
        edges = self._edges
        weight = edges.weight.astype(np.float64)
        weight[left_out] = 0.0
        share = np.ones(len(self._whole))
        value = self._whole
        for _ in range(self._n_steps):  # each step settles one more layer
            value = self._constant + np.bincount(
                edges.target, weights=weight * share[edges.source], minlength=len(share)
            )
            safe = np.where(self._whole == 0, 1.0, self._whole)
            new = np.where(self._is_feature, np.maximum(value, 0.0) / safe, 1.0)
            if np.array_equal(new, share):
                break
            share = new
        return float(value[self._target])

    def curve(self, order: NDArray[np.int64], ends: tuple[float, float]) -> FaithfulnessCurve | None:
        """f over the grid for one order of the candidates; `ends` are m(full) and m(empty)."""
        kept = kept_counts(len(order))
        found = {count: self.logit(order[count:]) for count in dict.fromkeys(kept)}
        shares = recovered(np.array([*ends, *(found[count] for count in kept)]))
        return None if shares is None else FaithfulnessCurve(kept, shares[2:])


def score_edge_faithfulness(
    report: CircuitReport, graph: AttributionGraph, rng: np.random.Generator
) -> Mapping[str, Tally]:
    """Score how faithful the report's edges are to the graph's replacement model.

    There is no score for a report without edges, and for a graph whose nodes do not tell their constants (a published
    one) or are not all there (a pruned one), since nothing can be propagated through it.
    """
    scores = {metric.name: NOTHING for metric in METRICS}
    if graph.target_logit is None or not report.edges or not can_propagate(graph):
        return scores
    runs = EdgeRuns(graph)
    none = np.zeros(0, dtype=np.int64)
    ends = (runs.logit(none), runs.logit(runs.candidates))
    curve = runs.curve(edge_order(report, graph, runs.candidates, rng), ends)
    if curve is None:
        return scores
    random = [runs.curve(rng.permutation(runs.candidates), ends) for _ in range(N_RANDOM_ORDERS)]
    chance = float(np.mean([one.cpr for one in random if one is not None]))
    return {
        "circuit.edge_cpr": Tally(curve.cpr),
        "circuit.edge_cmd": Tally(curve.cmd),
        "circuit.edge_cpr_over_random": Tally(curve.cpr - chance),
    }


def can_propagate(graph: AttributionGraph) -> bool:
    """Whether every feature's edges and constant add up to its activation, within what float32 loses."""
    nodes, edges = graph.nodes, graph.edges
    features = graph.of_kind(NodeKind.FEATURE)
    if len(edges.weight) > MAX_EDGES or not len(features) or "pruning" in graph.provenance:
        return False
    incoming = np.bincount(edges.target, weights=edges.weight.astype(np.float64), minlength=graph.n_nodes)
    size = np.bincount(edges.target, weights=np.abs(edges.weight.astype(np.float64)), minlength=graph.n_nodes)
    told = nodes.bias[features].astype(np.float64)
    gap = np.abs(incoming[features] + told - nodes.activation[features])
    return bool(np.isfinite(gap).all() and (gap <= 1e-3 * (1.0 + size[features] + np.abs(told))).all())


def edge_order(
    report: CircuitReport, graph: AttributionGraph, candidates: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """The graph's edges in the report's order, the first to keep first, `[n_candidates]`."""
    homes: list[list[int]] = [[] for _ in range(graph.n_nodes)]
    names = {name: number for number, name in enumerate(_ends(report))}
    for supernode in report.supernodes:
        for member in supernode.members:
            index = graph.node_of_feature.get(member.node)
            if index is not None and supernode.supernode_id in names:
                homes[index].append(names[supernode.supernode_id])
    for name, number in names.items():
        if name in graph.index_of:
            homes[graph.index_of[name]].append(number)
    links: dict[tuple[int, int], float] = {}
    for edge in report.edges:
        source, destination = names[edge.source], names[edge.destination]
        for pair in ((source, destination), (source, source), (destination, destination)):
            links[pair] = max(links.get(pair, 0.0), abs(edge.weight))
    score = _edge_scores(graph, candidates, homes, links)
    return candidates[np.lexsort((rng.permutation(len(candidates)), -score))]


def _edge_scores(
    graph: AttributionGraph,
    candidates: NDArray[np.int64],
    homes: Sequence[Sequence[int]],
    links: Mapping[tuple[int, int], float],
) -> Float64Array:
    """Weight of the strongest link that each edge is part of; -1 for edges that the report does not tell."""
    score = np.full(len(candidates), -1.0)
    housed = np.array([bool(home) for home in homes])
    sources, targets = graph.edges.source[candidates], graph.edges.target[candidates]
    for place in np.flatnonzero(housed[sources] & housed[targets]):
        pairs = ((a, b) for a in homes[sources[place]] for b in homes[targets[place]])
        score[place] = max((links.get(pair, -1.0) for pair in pairs), default=-1.0)
    return score


def _ends(report: CircuitReport) -> dict[str, None]:
    return dict.fromkeys(end for edge in report.edges for end in (edge.source, edge.destination))
