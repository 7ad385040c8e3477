"""Rows of edits, checked and compiled to arrays by place: what the hooks of a batched run apply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal, TypeVar

import torch
from torch import Tensor

from tracescribe.tracer.clean_run import CleanRun, check_node
from tracescribe.tracer.edits import (
    AnyEdit,
    AnyRow,
    DirectionEdit,
    ErrorEdit,
    FeatureEdit,
    InterventionSettings,
    StreamPoint,
    check_finite,
    positions_of,
)
from tracescribe.tracer.errors import InterventionError
from tracescribe.tracer.graph import FeatureNode

Place = tuple[int, StreamPoint | Literal["write"]]
"""A layer, and where in it a vector is added: a place in the residual stream, or the write point."""

_PER_EDIT = ("row", "position", "feature", "slot", "target", "is_set", "shift", "vector", "constant", "factor")

_Edits = TypeVar("_Edits", "LayerEdits", "VectorEdits")


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
        decoders: `[n_unique, n_written, d_model]`.
    """

    row: Tensor
    position: Tensor
    feature: Tensor
    slot: Tensor
    target: Tensor
    is_set: Tensor
    shift: Tensor
    decoders: Tensor


@dataclass(frozen=True, eq=False)
class VectorEdits:
    """All vectors added at one place, sorted by row: `(constant + factor * <stream, vector>) * vector`.

    Attributes:
        row, position: where, `[n_edits]`.
        vector: `[n_edits, d_model]`; of unit length where the stream counts.
        constant, factor: `[n_edits]`.
    """

    row: Tensor
    position: Tensor
    vector: Tensor
    constant: Tensor
    factor: Tensor


@dataclass(frozen=True, eq=False)
class PassEdits:
    """What one forward pass applies.

    Attributes:
        features: by the layer that the features read.
        vectors: by place.
    """

    features: Mapping[int, LayerEdits] = field(default_factory=dict)
    vectors: Mapping[Place, VectorEdits] = field(default_factory=dict)

    def part(self, rows: tuple[int, int], positions: tuple[int, int]) -> PassEdits:
        """The edits of some rows and positions (first, and the one behind the last); rows are counted from the first."""
        features = {layer: _part(edits, rows, positions) for layer, edits in self.features.items()}
        vectors = {place: _part(edits, rows, positions) for place, edits in self.vectors.items()}
        return PassEdits(
            {layer: edits for layer, edits in features.items() if len(edits.row)},
            {place: edits for place, edits in vectors.items() if len(edits.row)},
        )

    def without_earlier(self, layer: int, position: int) -> PassEdits:
        """Without a layer's edits at and behind its write point that stand before a position."""
        features, vectors = dict(self.features), dict(self.vectors)
        if layer in features:
            features[layer] = _part(features[layer], None, (position, position + 1))
        places: tuple[Place, ...] = ((layer, "write"), (layer, "resid_post"))
        for place in places:
            if place in vectors:
                vectors[place] = _part(vectors[place], None, (position, position + 1))
        return PassEdits(features, vectors)


@dataclass(frozen=True, eq=False)
class EditPlan:
    """Compiled rows, sorted by the first block and the earliest position that they change.

    Attributes:
        n_rows: number of rows.
        order: which of the given rows each sorted row is, `[n_rows]`.
        first_position: earliest position touched by each sorted row, `[n_rows]`.
        first_block: first block of the model whose input each sorted row changes, `[n_rows]`, ascending; `n_layers`
            where it changes no more than what leaves the last one.
        edits: of all rows.
    """

    n_rows: int
    order: Tensor
    first_position: Tensor
    first_block: Tensor
    edits: PassEdits


@dataclass
class _Change:
    target: float | None = None
    shift: float = 0.0


@dataclass
class _Row:
    """One row, checked: the net change of each feature node, and the other edits at each of their positions."""

    features: dict[FeatureNode, _Change] = field(default_factory=dict)
    errors: list[tuple[int, ErrorEdit]] = field(default_factory=list)
    directions: list[tuple[int, DirectionEdit]] = field(default_factory=list)

    @property
    def first(self) -> int:
        """The earliest position."""
        others = [position for position, _ in (*self.errors, *self.directions)]
        return min([node.position for node in self.features] + others)

    @property
    def first_block(self) -> int:
        """The first block that must be run: edits of features, errors and `resid_post` change the next one's input."""
        blocks = [node.layer + 1 for node in self.features] + [edit.layer + 1 for _, edit in self.errors]
        return min(blocks + [edit.layer + (edit.point == "resid_post") for _, edit in self.directions])


def compile_rows(
    rows: Sequence[AnyRow], clean: CleanRun, settings: InterventionSettings, n_positions: int | None = None
) -> EditPlan:
    """Check every edit and lay the rows out by place.

    Args:
        rows: the edits of each run.
        clean: the run that they change.
        settings: where the mask ends, and whether edits may stand under it.
        n_positions: positions that there will be, generated ones included; None takes those of the prompt. Edits of
            errors stay within the prompt: behind it there is no clean run to take an error from.

    Raises:
        InterventionError: no rows, a row without edits, or an edit that is out of range, not finite, or at a masked
            position.
    """
    if not rows:
        raise InterventionError("no rows of edits: an intervention needs at least one")
    total = clean.n_pos if n_positions is None else n_positions
    masked = clean.masked(settings.zero_positions)
    refused = 0 if settings.allow_masked else masked
    checked = [_checked(index, row, clean, refused, total) for index, row in enumerate(rows)]
    keys = [(row.first_block, row.first) for row in checked]
    order = sorted(range(len(rows)), key=keys.__getitem__)
    features: dict[int, list[tuple[int, FeatureNode, _Change]]] = {}
    errors: dict[int, list[tuple[int, int, ErrorEdit]]] = {}
    vectors: dict[Place, list[tuple[int, int, Tensor, float, float]]] = {}
    for index, given in enumerate(order):
        for node, change in checked[given].features.items():
            features.setdefault(node.layer, []).append((index, node, change))
        for position, error in checked[given].errors:
            errors.setdefault(error.layer, []).append((index, position, error))
        for position, edit in checked[given].directions:
            vectors.setdefault((edit.layer, edit.point), []).append((index, position, *_direction_change(edit, clean)))
    for layer, found in errors.items():
        added = _error_changes(layer, found, clean, masked)
        vectors[layer, "write"] = [(row, at, v, 1.0, 0.0) for (row, at, _), v in zip(found, added, strict=True)]
    edits = PassEdits(
        {layer: _layer_edits(layer, features[layer], clean) for layer in sorted(features)},
        {place: _vector_edits(found, clean) for place, found in vectors.items()},
    )
    return EditPlan(
        n_rows=len(rows),
        order=torch.tensor(order, device="cpu"),
        first_position=torch.tensor([keys[given][1] for given in order], device="cpu"),
        first_block=torch.tensor([keys[given][0] for given in order], device="cpu"),
        edits=edits,
    )


def _checked(index: int, row: AnyRow, clean: CleanRun, refused: int, n_positions: int) -> _Row:
    """One row's edits by position; setting an activation forgets what came before, shifts add up."""
    if not row:
        raise InterventionError(f"row {index} has no edits; leave it out, the clean run is part of every result")
    found = _Row()
    for edit in row:
        _check_place(edit, clean)
        check_finite(edit)
        within = min(n_positions, clean.n_pos) if isinstance(edit, ErrorEdit) else n_positions
        positions = positions_of(edit.position, within)
        if positions[0] < refused and not isinstance(edit, DirectionEdit):
            raise InterventionError(
                f"the edit of {_name(edit)} touches position {positions[0]}, where no feature counts as active "
                f"(the first {refused}); start at position {refused}"
            )
        for position in positions:
            if isinstance(edit, ErrorEdit):
                found.errors.append((position, edit))
            elif isinstance(edit, DirectionEdit):
                found.directions.append((position, edit))
            elif isinstance(edit, FeatureEdit):
                found.features[FeatureNode(edit.layer, position, edit.feature)] = _Change(target=edit.value)
            else:
                node = FeatureNode(edit.layer, position, edit.feature)
                found.features.setdefault(node, _Change()).shift += edit.amount
    return found


def _name(edit: AnyEdit) -> str:
    if isinstance(edit, ErrorEdit):
        return f"layer {edit.layer}'s error"
    return f"layer {edit.layer}'s {edit.point}" if isinstance(edit, DirectionEdit) else f"feature {edit.ref}"


def _check_place(edit: AnyEdit, clean: CleanRun) -> None:
    """Refuse a layer, feature or shape that the model does not have; positions are checked where their number is known.

    Raises:
        InterventionError: out of range, or a vector of another width.
    """
    if not isinstance(edit, (ErrorEdit, DirectionEdit)):
        check_node(clean, FeatureNode(edit.layer, 0, edit.feature))
        return
    if not 0 <= edit.layer < clean.model.n_layers:
        raise InterventionError(f"no layer {edit.layer}: the model has layers 0 to {clean.model.n_layers - 1}")
    vector = edit.vector if isinstance(edit, ErrorEdit) else edit.direction
    if vector is not None and tuple(vector.shape) != (clean.model.d_model,):
        raise InterventionError(
            f"the edit of {_name(edit)} has a vector of shape {list(vector.shape)}, expected [{clean.model.d_model}]"
        )
    if isinstance(edit, DirectionEdit) and not bool(edit.direction.any()):
        raise InterventionError(f"the edit of {_name(edit)} has a direction of zeros; give one that points somewhere")


def _error_changes(
    layer: int, edits: list[tuple[int, int, ErrorEdit]], clean: CleanRun, zero_positions: int
) -> list[Tensor]:
    """What each edit adds at the layer's write point, `[d_model]` each."""
    places, inverse = torch.unique(
        torch.tensor([position for _, position, _ in edits], device="cpu"), return_inverse=True
    )
    errors = clean.errors(layer, places, zero_positions)
    changes = []
    for (_, _, edit), place in zip(edits, inverse.tolist(), strict=True):
        change = (edit.scale - 1.0) * errors[place]
        changes.append(change if edit.vector is None else change + edit.vector.to(change))
    return changes


def _direction_change(edit: DirectionEdit, clean: CleanRun) -> tuple[Tensor, float, float]:
    """Vector, constant and factor of `VectorEdits`."""
    vector = edit.direction.to(clean.model.device, clean.model.compute_dtype)
    if edit.how == "add":
        return vector, edit.amount, 0.0
    unit = vector / vector.norm()
    return (unit, edit.amount, -1.0) if edit.how == "set" else (unit, 0.0, edit.amount - 1.0)


def _layer_edits(layer: int, edits: list[tuple[int, FeatureNode, _Change]], clean: CleanRun) -> LayerEdits:
    device, wide = clean.model.device, clean.model.compute_dtype
    features = torch.tensor([node.feature for _, node, _ in edits], device="cpu")
    unique, slot = torch.unique(features, return_inverse=True)
    return LayerEdits(
        row=torch.tensor([row for row, _, _ in edits], device=device),
        position=torch.tensor([node.position for _, node, _ in edits], device=device),
        feature=features.to(device),
        slot=slot.to(device),
        target=torch.tensor([change.target or 0.0 for _, _, change in edits], device=device, dtype=wide),
        is_set=torch.tensor([change.target is not None for _, _, change in edits], device=device),
        shift=torch.tensor([change.shift for _, _, change in edits], device=device, dtype=wide),
        decoders=clean.transcoders.decoder_rows(layer, unique).to(device, wide),
    )


def _vector_edits(edits: list[tuple[int, int, Tensor, float, float]], clean: CleanRun) -> VectorEdits:
    device, wide = clean.model.device, clean.model.compute_dtype
    return VectorEdits(
        row=torch.tensor([edit[0] for edit in edits], device=device),
        position=torch.tensor([edit[1] for edit in edits], device=device),
        vector=torch.stack([edit[2] for edit in edits]),
        constant=torch.tensor([edit[3] for edit in edits], device=device, dtype=wide),
        factor=torch.tensor([edit[4] for edit in edits], device=device, dtype=wide),
    )


def _part(edits: _Edits, rows: tuple[int, int] | None, positions: tuple[int, int]) -> _Edits:
    """The edits of some rows (None for all) and positions; rows are counted from the first of them."""
    row, position = edits.row, edits.position
    kept = (position >= positions[0]) & (position < positions[1])
    if rows is not None:
        kept &= (row >= rows[0]) & (row < rows[1])
    names = [f.name for f in fields(edits) if f.name in _PER_EDIT]
    part = replace(edits, **{name: getattr(edits, name)[kept] for name in names})
    return part if rows is None else replace(part, row=part.row - rows[0])
