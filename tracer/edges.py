"""Edges of an attribution graph: columns of target, source and weight, or dense blocks that are unfolded when asked for.

In a traced graph all targets at one layer and position have the same possible sources, so that their edges fill a dense
block: 4 bytes per edge instead of 20, and matrix products instead of gathering.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
"""float32; edges of a float64 trace are float64."""
DoubleArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

Columns = tuple[IntArray, IntArray, FloatArray]


@dataclass(frozen=True, eq=False)
class EdgeBlock:
    """All edges into some targets of one layer. Exact zeros are no edges.

    Attributes:
        target: node indices, ascending, `[n_target]`.
        source: node indices, ascending, `[n_source]`.
        weight: `[n_target, n_source]`.
    """

    target: IntArray
    source: NDArray[np.int32]
    weight: FloatArray


class EdgeTable:
    """Edges as parallel arrays of length `n_edges`: node indices `target`, `source`, and signed `weight`."""

    def __init__(self, target: IntArray, source: IntArray, weight: FloatArray) -> None:
        """Edges in any order."""
        self._columns: Columns | None = (target, source, weight)
        self.blocks: tuple[EdgeBlock, ...] | None = None

    @classmethod
    def from_blocks(cls, blocks: Sequence[EdgeBlock]) -> EdgeTable:
        """Edges in dense blocks; those of one target lie in one block, and blocks ascend by target.

        The columns then read by target, then source. They are made when first asked for, and kept.
        """
        table = cls.__new__(cls)
        table._columns = None
        table.blocks = tuple(blocks)
        return table

    @property
    def target(self) -> IntArray:
        """Node indices, `[n_edges]`."""
        return self._unfolded()[0]

    @property
    def source(self) -> IntArray:
        """Node indices, `[n_edges]`."""
        return self._unfolded()[1]

    @property
    def weight(self) -> FloatArray:
        """Direct linear effects, `[n_edges]`."""
        return self._unfolded()[2]

    def __len__(self) -> int:
        if self._columns is not None or self.blocks is None:
            return len(self.weight)
        return sum(int(np.count_nonzero(block.weight)) for block in self.blocks)

    def row_sums(self, n_nodes: int) -> DoubleArray:
        """Sum of the absolute weights into each node, `[n_nodes]`."""
        if self.blocks is None:
            return np.bincount(self.target, weights=np.abs(self.weight), minlength=n_nodes).astype(np.float64)
        sums = np.zeros(n_nodes)
        for block in self.blocks:
            sums[block.target] = np.abs(block.weight).sum(1, dtype=np.float64)
        return sums

    def inside(self, nodes: BoolArray) -> EdgeTable:
        """Edges between the chosen nodes, in the same form and order; node indices stay."""
        if self.blocks is None:
            return self.chosen(nodes[self.target] & nodes[self.source])
        blocks = []
        for block in self.blocks:
            rows = np.flatnonzero(nodes[block.target])
            if len(rows):
                columns = np.flatnonzero(nodes[block.source])
                weight = block.weight if len(rows) == len(block.target) else block.weight[rows]
                weight = weight if len(columns) == len(block.source) else weight[:, columns]
                blocks.append(EdgeBlock(block.target[rows], block.source[columns], weight))
        return EdgeTable.from_blocks(blocks)

    def chosen(self, keep: BoolArray) -> EdgeTable:
        """The chosen edges, in columns.

        Args:
            keep: `[n_edges]`.
        """
        return EdgeTable(self.target[keep], self.source[keep], self.weight[keep])

    def chosen_in_blocks(self, keep: Sequence[BoolArray]) -> EdgeTable:
        """The chosen edges, in columns, without unfolding the others.

        Args:
            keep: for each block, `[n_target, n_source]`.
        """
        assert self.blocks is not None, "only for edges in blocks"
        pairs = zip(self.blocks, keep, strict=True)
        return EdgeTable(*_joined([_unfold(block, mask) for block, mask in pairs]))

    def _unfolded(self) -> Columns:
        if self._columns is None:
            assert self.blocks is not None, "a table has columns or blocks"
            self._columns = _joined([_unfold(block, block.weight != 0) for block in self.blocks])
        return self._columns


def _unfold(block: EdgeBlock, keep: BoolArray) -> Columns:
    row, column = np.nonzero(keep)
    return block.target[row], block.source[column].astype(np.int64), block.weight[row, column]


def _joined(parts: Sequence[Columns]) -> Columns:
    if not parts:
        nothing: NDArray[Any] = np.zeros(0, dtype=np.int64)
        return nothing, nothing, np.zeros(0, dtype=np.float32)
    target, source, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    return target, source, weight
