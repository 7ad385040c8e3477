"""Edges of a trace under way: dense blocks in the order they come, one table in canonical order at the end.

A block holds targets that read one layer at one position, against all sources that can reach them: those of lower
layers at the same and earlier positions. Nothing else is stored, and no N x N matrix is ever built.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tracescribe.tracer.edges import BoolArray, DoubleArray, EdgeBlock, EdgeTable, FloatArray, IntArray
from tracescribe.tracer.sweep import EdgeRows

BUDGET_NORM_FLOOR = 1e-8
"""Smallest row sum while a node budget is spent (circuit-tracer 0.4.1 uses another floor here than for influence)."""


@dataclass(frozen=True, eq=False)
class _Piece:
    """Rows of targets at one layer and position.

    Attributes:
        layer, position: of the targets.
        target: node numbers, `[n]`.
        weight: `[n, n_reaching]`; which sources reach is told by `EdgeStore.reaching`.
        row_sum: absolute sum of each row, `[n]`.
    """

    layer: int
    position: int
    target: IntArray
    weight: FloatArray
    row_sum: DoubleArray


class EdgeStore:
    """Edge rows.

    Nodes are numbered: active features, then errors (layer-major) and tokens, then logits. Rows exist for features and
    logits.
    """

    def __init__(self, feature_layer: IntArray, feature_position: IntArray, n_layers: int, n_pos: int, n_logits: int):
        """Start with no edge.

        Args:
            feature_layer, feature_position: of each active feature, sorted by layer, `[n_active]`.
            n_layers: layers of the model.
            n_pos: prompt tokens.
            n_logits: logit targets.
        """
        self.n_active = len(feature_layer)
        self.n_sources = self.n_active + (n_layers + 1) * n_pos
        self.n_nodes = self.n_sources + n_logits
        self.n_layers, self.n_pos = n_layers, n_pos
        self._feature_position = feature_position
        self._layer_end = np.searchsorted(feature_layer, np.arange(n_layers + 1))
        self._pieces: dict[tuple[int, int], list[_Piece]] = {}

    def reaching(self, layer: int, position: int) -> IntArray:
        """Sources that can reach a target reading this layer and position, ascending; `layer` n_layers for logits."""
        features = np.flatnonzero(self._feature_position[: self._layer_end[layer]] <= position)
        here = np.arange(position + 1)
        errors = self.n_active + np.arange(layer)[:, None] * self.n_pos + here
        tokens = self.n_active + self.n_layers * self.n_pos + here
        return np.concatenate([features, errors.ravel(), tokens])

    def add(self, rows: EdgeRows, targets: IntArray) -> tuple[DoubleArray, DoubleArray]:
        """Keep a block of rows.

        Args:
            rows: as the sweep gives them.
            targets: node numbers of all targets of the sweep's call, of which the block has some, `[n]`.

        Returns:
            Signed and absolute sum of each row, `[n_block]`.
        """
        group = rows.layer * self.n_pos + rows.position
        _, counts = torch.unique_consecutive(group, return_counts=True)
        node = targets[rows.index.cpu().numpy()]
        signed, absolute = np.empty(len(node)), np.empty(len(node))
        stop = 0
        for count in counts.tolist():
            start, stop = stop, stop + count
            layer, position = int(rows.layer[start]), int(rows.position[start])
            column = rows.column[torch.from_numpy(self.reaching(layer, position)).to(rows.column.device)]
            weight = rows.sums[start:stop].index_select(1, column)
            signed[start:stop] = weight.sum(1).cpu().numpy()
            absolute[start:stop] = torch.linalg.vector_norm(weight, 1, dim=1).cpu().numpy()
            piece = _Piece(layer, position, node[start:stop], weight.cpu().numpy(), absolute[start:stop])
            self._pieces.setdefault((layer, position), []).append(piece)
        return signed, absolute

    def feature_influence(self, probabilities: FloatArray) -> DoubleArray:
        """Influence of every active feature on the logits through the rows known so far, `[n_active]`.

        Args:
            probabilities: of the logits, `[n_logits]`.
        """
        total = np.zeros(self.n_nodes)
        total[self.n_sources :] = probabilities
        for layer, position in sorted(self._pieces, reverse=True):  # top layer first: its nodes are complete
            reached = None
            for piece in self._pieces[layer, position]:
                flow = total[piece.target] / np.maximum(piece.row_sum, BUDGET_NORM_FLOOR)
                if flow.any():
                    reached = self.reaching(layer, position) if reached is None else reached
                    total[reached] += flow @ np.abs(piece.weight, dtype=np.float64)
        return total[: self.n_active]

    def table(self, selected: IntArray) -> EdgeTable:
        """Edges among the nodes that remain when only `selected` features are kept; the store is empty afterwards."""
        kept: BoolArray = np.ones(self.n_nodes, dtype=np.bool_)
        kept[: self.n_active] = False
        kept[selected] = True
        number = np.cumsum(kept) - 1
        blocks = []
        for group in sorted(self._pieces):
            pieces = self._pieces.pop(group)
            source = self.reaching(*group)
            columns = np.flatnonzero(kept[source])
            target = np.concatenate([piece.target for piece in pieces])
            order = np.argsort(target)
            if len(pieces) == 1 and len(columns) == len(source) and (np.diff(target) > 0).all():
                weight = pieces[0].weight
            else:
                weight = np.concatenate([piece.weight[:, columns] for piece in pieces])[order]
            blocks.append(EdgeBlock(number[target[order]], number[source[columns]].astype(np.int32), weight))
        return EdgeTable.from_blocks(blocks)
