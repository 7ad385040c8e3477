"""Influence, pruning, scores and the node budget by their definitions, on dense float64 matrices.

Slow and plain on purpose: nothing is shared with the tracer. Nodes come in the order of a graph: features, errors,
tokens, logits; rows of the adjacency are targets.

Source: circuit-tracer 0.4.1 (github.com/decoderesearch/circuit-tracer), restated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Counts(NamedTuple):
    """How many nodes there are of each kind, in the order in which they stand."""

    features: int
    errors: int
    tokens: int
    logits: int

    def of(self, kind: str) -> NDArray[np.int64]:
        """Node numbers of a kind."""
        place = self._fields.index(kind)
        start = sum(self[:place])
        return np.arange(start, start + self[place])


@dataclass(frozen=True, eq=False)
class Pruned:
    """Masks over nodes and over pairs of nodes, and the score of every edge."""

    nodes: Mask
    edges: Mask
    scores: Matrix


def shares(adjacency: Matrix, floor: float = 1e-10) -> Matrix:
    """Absolute values, each row divided by its sum."""
    absolute = np.abs(adjacency)
    return np.asarray(absolute / np.maximum(absolute.sum(1, keepdims=True), floor))


def influence(adjacency: Matrix, weights: Matrix, floor: float = 1e-10) -> Matrix:
    """`w N + w N^2 + ...` until nothing is left."""
    normalised = shares(adjacency, floor)
    total, step = np.zeros(len(weights)), weights
    for _ in range(1000):
        step = step @ normalised
        if not step.any():
            return total
        total = total + step
    raise AssertionError("the matrix has a cycle")


def cut_off(scores: Matrix, share: float) -> float:
    """The score at which the largest scores first hold `share` of the total."""
    ordered = np.sort(scores, axis=None)[::-1]
    held = np.cumsum(ordered) / ordered.sum()
    return float(ordered[min(int((held < share).sum()), len(ordered) - 1)])


def prune(adjacency: Matrix, counts: Counts, probabilities: Matrix, node_share: float, edge_share: float) -> Pruned:
    """What pruning keeps."""
    weights = np.zeros(len(adjacency))
    weights[counts.of("logits")] = probabilities
    nodes = influence(adjacency, weights) >= cut_off(influence(adjacency, weights), node_share)
    fixed = np.zeros_like(nodes)
    fixed[[*counts.of("tokens"), *counts.of("logits")]] = True
    nodes |= fixed
    kept = np.where(np.outer(nodes, nodes), adjacency, 0)
    scores = shares(kept) * (influence(kept, weights) + weights)[:, None]
    edges = (scores >= cut_off(scores, edge_share)) & (scores > 0)
    feature = np.zeros_like(nodes)
    feature[counts.of("features")] = True
    while True:
        remaining = nodes & (fixed | edges.any(0)) & (~feature | edges.any(1))
        edges = edges & np.outer(remaining, remaining)
        if (remaining == nodes).all():
            return Pruned(nodes, edges, scores)
        nodes = remaining


def scores(adjacency: Matrix, counts: Counts, probabilities: Matrix) -> tuple[float, float]:
    """Replacement and completeness of an unpruned graph."""
    weights = np.zeros(len(adjacency))
    weights[counts.of("logits")] = probabilities
    total = influence(adjacency, weights)
    token, error = total[counts.of("tokens")].sum(), total[counts.of("errors")].sum()
    explained = 1 - shares(adjacency)[:, counts.of("errors")].sum(1)
    importance = total + weights
    return float(token / (token + error)), float((explained * importance).sum() / importance.sum())


def cumulative(adjacency: Matrix, counts: Counts, probabilities: Matrix) -> Matrix:
    """Share of all influence on each node and those above it."""
    weights = np.zeros(len(adjacency))
    weights[counts.of("logits")] = probabilities
    total = influence(adjacency, weights)
    return np.asarray([total[total >= own].sum() for own in total], dtype=np.float64) / float(total.sum())


def within_budget(adjacency: Matrix, counts: Counts, probabilities: Matrix, budget: int, step: int) -> list[int]:
    """Features that a node budget keeps, ascending: the most influential through the rows known so far, step by step."""
    weights = np.zeros(len(adjacency))
    weights[counts.of("logits")] = probabilities
    done: list[int] = []
    while len(done) < min(budget, counts.features):
        known = np.zeros_like(adjacency)
        rows = [*counts.of("logits"), *done]
        known[rows] = adjacency[rows]
        total = influence(known, weights, floor=1e-8)
        left = [f for f in range(counts.features) if f not in done]
        # ties, such as features without any influence, come in circuit-tracer's order: torch's, of all in float32
        ranked = torch.argsort(torch.as_tensor(total[: counts.features]).float(), descending=True).tolist()
        done += [f for f in ranked if f in left][: min(step, budget - len(done))]
    return sorted(done)
