"""Edges: does the report draw the connections that gold knows?

Ends are compared through the one-to-one match of supernodes; embeddings and logits by node id. Edges with an end that
matches nothing count as wrong, edges that gold knows but a graph cannot show count neither way.

Source: F1 over directed, signed edges, as edge recovery is scored in Conmy et al. 2023 (ACDC).
"""

from __future__ import annotations

from collections.abc import Mapping

from tracescribe.evals.gold import GoldCircuit
from tracescribe.evals.matching import Matching
from tracescribe.evals.prediction import PredictedEdge, Prediction
from tracescribe.evals.scorers.metric import NOTHING, Metric, Tally

METRICS = (
    Metric("edges.precision", "edge precision", "every drawn edge is one of gold's"),
    Metric("edges.recall", "edge recall", "every edge of gold that a graph can show is drawn"),
    Metric("edges.f1", "edge F1", "harmonic mean of both"),
)


def score_edges(prediction: Prediction, gold: GoldCircuit, matching: Matching) -> Mapping[str, Tally]:
    """Score the edges between supernodes; gold edges of a supernode without members are not asked for."""
    nameless = {s.supernode_id for s in gold.supernodes if not s.members}
    asked = {(e.source, e.destination, e.sign) for e in gold.edges if e.visible}
    asked = {edge for edge in asked if not nameless & set(edge[:2])}
    if not asked:
        return {metric.name: NOTHING for metric in METRICS}
    ignored = {(e.source, e.destination, e.sign) for e in gold.edges if not e.visible}
    rename = {match.predicted_id: match.gold_id for match in matching.matches}
    supernodes = {s.supernode_id for s in prediction.supernodes}
    unsaid = matching.undecided | {s.supernode_id for s in prediction.supernodes if s.rejected}
    drawn = {
        _translated(edge, rename, supernodes)
        for edge in prediction.edges
        if not unsaid & {edge.source, edge.destination}
    } - ignored
    right = len(drawn & asked)
    return {
        "edges.precision": Tally(right, len(drawn)),
        "edges.recall": Tally(right, len(asked)),
        "edges.f1": Tally(2 * right, len(drawn) + len(asked)),
    }


def _translated(edge: PredictedEdge, rename: Mapping[str, str], supernodes: set[str]) -> tuple[str, str, int]:
    """An edge in gold's names; an end that matches nothing keeps its own, which gold never uses."""
    ends = [rename.get(end, end) if end in supernodes else end for end in (edge.source, edge.destination)]
    return ends[0], ends[1], edge.sign
