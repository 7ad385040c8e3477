"""Edges of a trace under way: sparse rows in the order they come, one table in canonical order at the end."""

from __future__ import annotations

import numpy as np

from tracescribe.tracer.graph import EdgeTable, FloatArray, IntArray
from tracescribe.tracer.prune import DoubleArray, propagate

BUDGET_NORM_FLOOR = 1e-8
"""Smallest row sum while a node budget is spent (circuit-tracer 0.4.1 uses another floor here than for influence)."""


class EdgeStore:
    """Sparse edge rows.

    Nodes are numbered: active features, then errors and tokens, then logits. Rows exist for features and logits.
    """

    def __init__(self, feature_layer: IntArray, n_sources: int, n_logits: int) -> None:
        """Start with no edge.

        Args:
            feature_layer: layer of each active feature, `[n_active]`.
            n_sources: active features, errors and tokens.
            n_logits: output tokens.
        """
        self.n_active = len(feature_layer)
        self.n_sources = n_sources
        self.n_nodes = n_sources + n_logits
        self._feature_layer = feature_layer
        self._rows: dict[int, tuple[IntArray, FloatArray]] = {}

    def add(self, targets: IntArray, weight: FloatArray) -> None:
        """Keep a block of rows.

        Args:
            targets: node numbers, `[n]`.
            weight: `[n, n_sources]`; exact zeros are no edges.
        """
        for target, row in zip(targets.tolist(), weight, strict=True):
            source = np.flatnonzero(row)
            self._rows[target] = (source, row[source])

    def feature_influence(self, probabilities: FloatArray) -> DoubleArray:
        """Influence of every active feature on the logits through the rows known so far, `[n_active]`.

        Args:
            probabilities: of the logits, `[n_logits]`.
        """
        start = np.zeros(self.n_nodes)
        start[self.n_sources :] = probabilities
        # errors and tokens are never targets: below everything is where they may stand
        layer = np.full(self.n_nodes, -1, dtype=np.int64)
        layer[: self.n_active] = self._feature_layer
        layer[self.n_sources :] = self._feature_layer.max(initial=-1) + 1
        return propagate(self._edges(), start, layer, BUDGET_NORM_FLOOR)[: self.n_active]

    def table(self, selected: IntArray) -> EdgeTable:
        """Edges among the nodes that remain when only `selected` features are kept, by target, then source."""
        edges = self._edges()
        kept = np.concatenate([selected, np.arange(self.n_active, self.n_nodes)])
        if len(kept) < self.n_nodes:
            number = np.full(self.n_nodes, -1)
            number[kept] = np.arange(len(kept))
            target, source = number[edges.target], number[edges.source]
            inside = (target >= 0) & (source >= 0)
            edges = EdgeTable(target[inside], source[inside], edges.weight[inside])
        return edges

    def _edges(self) -> EdgeTable:
        """All rows so far, by target; sources ascend within each."""
        targets = sorted(self._rows)
        if not targets:
            nothing = np.zeros(0, dtype=np.int64)
            return EdgeTable(nothing, nothing, np.zeros(0, dtype=np.float32))
        rows = [self._rows[target] for target in targets]
        return EdgeTable(
            np.repeat(np.array(targets, dtype=np.int64), [len(source) for source, _ in rows]),
            np.concatenate([source for source, _ in rows]),
            np.concatenate([weight for _, weight in rows]),
        )
