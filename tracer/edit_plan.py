"""Rows of edits, checked and compiled to arrays by layer: what the hooks of a batched run apply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tracescribe.tracer.clean_run import CleanRun, check_node
from tracescribe.tracer.edits import FeatureEdit, InterventionSettings, Row, check_finite, positions_of
from tracescribe.tracer.errors import InterventionError
from tracescribe.tracer.graph import FeatureNode


@dataclass(frozen=True, eq=False)
class LayerEdits:
    """All edits of one layer's features, sorted by row; arrays of length `n_edits`.

    Attributes:
        row, position: where.
        feature: index within the layer.
        slot: index of the feature's decoder in `decoders`.
        target: activation to set; 0 where nothing is set.
        is_set: whether an activation is set.
        shift: amount added besides.
        decoders: `[n_unique, n_layers - layer, d_model]`.
    """

    row: Tensor
    position: Tensor
    feature: Tensor
    slot: Tensor
    target: Tensor
    is_set: Tensor
    shift: Tensor
    decoders: Tensor

    def of_rows(self, start: int, stop: int) -> LayerEdits:
        """The edits of rows `start` to `stop - 1`, rows counted from `start`."""
        low, high = (int(torch.searchsorted(self.row, bound)) for bound in (start, stop))
        part = slice(low, high)
        return LayerEdits(
            self.row[part] - start,
            self.position[part],
            self.feature[part],
            self.slot[part],
            self.target[part],
            self.is_set[part],
            self.shift[part],
            self.decoders,
        )


@dataclass(frozen=True, eq=False)
class EditPlan:
    """Compiled rows, sorted by the earliest position that they touch.

    Attributes:
        n_rows: number of rows.
        order: which of the given rows each sorted row is, `[n_rows]`.
        first_position: earliest position touched by each sorted row, `[n_rows]`, ascending.
        layers: edits by the layer that the features read.
    """

    n_rows: int
    order: Tensor
    first_position: Tensor
    layers: dict[int, LayerEdits]


@dataclass
class _Change:
    target: float | None = None
    shift: float = 0.0


def compile_rows(rows: Sequence[Row], clean: CleanRun, settings: InterventionSettings) -> EditPlan:
    """Check every edit and lay the rows out by layer.

    Raises:
        InterventionError: no rows, a row without edits, or an edit that is out of range, not finite, or at a masked
            position.
    """
    if not rows:
        raise InterventionError("no rows of edits: an intervention needs at least one")
    changes = [_changes(index, row, clean, settings) for index, row in enumerate(rows)]
    first = torch.tensor([min(node.position for node in row) for row in changes])
    order = torch.argsort(first, stable=True)
    by_layer: dict[int, list[tuple[int, FeatureNode, _Change]]] = {}
    for index, given in enumerate(order.tolist()):
        for node, change in changes[given].items():
            by_layer.setdefault(node.layer, []).append((index, node, change))
    layers = {layer: _layer_edits(layer, by_layer[layer], clean) for layer in sorted(by_layer)}
    return EditPlan(n_rows=len(rows), order=order, first_position=first[order], layers=layers)


def _changes(index: int, row: Row, clean: CleanRun, settings: InterventionSettings) -> dict[FeatureNode, _Change]:
    """One row's net change of each feature node; setting forgets what came before, shifts add up."""
    if not row:
        raise InterventionError(f"row {index} has no edits; leave it out, the clean run is part of every result")
    changes: dict[FeatureNode, _Change] = {}
    for edit in row:
        check_finite(edit)
        for position in positions_of(edit.position, clean.n_pos):
            node = FeatureNode(edit.layer, position, edit.feature)
            check_node(clean, node)
            if position < settings.zero_positions and not settings.allow_masked:
                raise InterventionError(
                    f"the edit of feature {edit.ref} touches position {position}, where no feature counts as active "
                    f"(the first {settings.zero_positions}); start at position {settings.zero_positions}"
                )
            if isinstance(edit, FeatureEdit):
                changes[node] = _Change(target=edit.value)
            else:
                changes.setdefault(node, _Change()).shift += edit.amount
    return changes


def _layer_edits(layer: int, edits: list[tuple[int, FeatureNode, _Change]], clean: CleanRun) -> LayerEdits:
    features = torch.tensor([node.feature for _, node, _ in edits])
    unique, slot = torch.unique(features, return_inverse=True)
    return LayerEdits(
        row=torch.tensor([row for row, _, _ in edits]),
        position=torch.tensor([node.position for _, node, _ in edits]),
        feature=features,
        slot=slot,
        target=torch.tensor([change.target or 0.0 for _, _, change in edits]),
        is_set=torch.tensor([change.target is not None for _, _, change in edits]),
        shift=torch.tensor([change.shift for _, _, change in edits]),
        decoders=clean.transcoders.decoder_rows(layer, unique),
    )
