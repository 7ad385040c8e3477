"""Edges: does the report draw the connections that gold knows?

Ends are compared through the one-to-one match of supernodes; embeddings and logits by node id. Edges with an end that
matches nothing count as wrong; edges that gold knows but a graph cannot show, and pairs of which gold cannot tell, count
neither way, whatever their sign. An edge is right only with its sign; what a wrong sign costs is told apart by `ends_f1`, which does not look
at signs, and by `sign_accuracy`, which looks at nothing else.

Source: F1 over directed, signed edges, as edge recovery is scored in Conmy et al. 2023 (ACDC).
"""

from __future__ import annotations

from collections.abc import Mapping

from tracescribe.evals.gold import GoldCircuit
from tracescribe.evals.matching import Matching
from tracescribe.evals.prediction import PredictedEdge, Prediction
from tracescribe.evals.scorers.metric import NOTHING, Metric, Tally

METRICS = (
    Metric("edges.precision", "edge precision", "every drawn edge is one of gold's, with its sign"),
    Metric("edges.recall", "edge recall", "every edge of gold that a graph can show is drawn, with its sign"),
    Metric("edges.f1", "edge F1", "harmonic mean of both"),
    Metric("edges.ends_f1", "edge ends F1", "the same without signs"),
    Metric("edges.sign_accuracy", "edge signs", "edges drawn where gold has one have its sign", "pooled"),
)
Signed = tuple[str, str, int]


def score_edges(prediction: Prediction, gold: GoldCircuit, matching: Matching) -> Mapping[str, Tally]:
    """Score the edges between supernodes; gold edges of a supernode without members are not asked for."""
    nameless = {s.supernode_id for s in gold.supernodes if not s.members}
    known = [e for e in gold.edges if not nameless & {e.source, e.destination}]
    asked: set[Signed] = {(e.source, e.destination, e.sign) for e in known if e.visible and e.status == "asked"}
    if not asked:
        return {metric.name: NOTHING for metric in METRICS}
    asked_ends = {e[:2] for e in asked}
    silent = {(e.source, e.destination) for e in gold.edges if not e.visible or e.status == "undecided"} - asked_ends
    drawn = {e for e in _drawn(prediction, matching) if e[:2] not in silent}
    right = len(drawn & asked)
    drawn_ends = {e[:2] for e in drawn}
    met = [e for e in drawn if e[:2] in asked_ends]
    return {
        "edges.precision": Tally(right, len(drawn)),
        "edges.recall": Tally(right, len(asked)),
        "edges.f1": Tally(2 * right, len(drawn) + len(asked)),
        "edges.ends_f1": Tally(2 * len(drawn_ends & asked_ends), len(drawn_ends) + len(asked_ends)),
        "edges.sign_accuracy": Tally(right, len(met)),
    }


def _drawn(prediction: Prediction, matching: Matching) -> set[Signed]:
    """The edges that the report stands by, in gold's names; supernodes of which gold cannot tell are left out."""
    rename = {match.predicted_id: match.gold_id for match in matching.matches}
    supernodes = {s.supernode_id for s in prediction.supernodes}
    unsaid = matching.undecided | {s.supernode_id for s in prediction.supernodes if s.rejected}
    said = (edge for edge in prediction.edges if not unsaid & {edge.source, edge.destination})
    return {_translated(edge, rename, supernodes) for edge in said}


def _translated(edge: PredictedEdge, rename: Mapping[str, str], supernodes: set[str]) -> Signed:
    """An edge in gold's names; an end that matches nothing keeps its own, which gold never uses."""
    ends = [rename.get(end, end) if end in supernodes else end for end in (edge.source, edge.destination)]
    return ends[0], ends[1], edge.sign
