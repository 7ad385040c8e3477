"""What an intervention does: typed edits, settings, and the usual sets of edits.

Kinds of edit may be mixed in one row. A `FeatureEdit` *sets* an activation (ablate: to 0; swap: to the donor's value);
what it adds to the model depends on the activation it finds. A `FeatureShift` *adds* a stated amount of the feature's
decoder vectors whatever the feature does, so that a control of the same size can be given to any feature. An `ErrorEdit`
changes what an MLP wrote beyond the features, a `DirectionEdit` the residual stream itself. A supernode is edited through
its members: the builders below take any number of feature nodes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from tracescribe.tracer.errors import InterventionError, SettingError
from tracescribe.tracer.graph import FeatureNode, FeatureRef

if TYPE_CHECKING:
    from torch import Tensor

Mode = Literal["open", "constrained", "direct"]
StreamPoint = Literal["resid_pre", "resid_mid", "resid_post"]
"""Places in the residual stream of a layer: before attention, between attention and MLP, behind the MLP."""
How = Literal["add", "set", "scale"]


@dataclass(frozen=True)
class FeatureEdit:
    """Set a feature's activation.

    Attributes:
        layer: layer that the feature reads.
        position: token position, or a slice of positions such as `slice(1, None)`.
        feature: index within the layer.
        value: the activation to set. Of two edits of one feature and position in a row, the later one counts.
    """

    layer: int
    position: int | slice
    feature: int
    value: float

    @property
    def ref(self) -> FeatureRef:
        """The feature without its position."""
        return FeatureRef(self.layer, self.feature)


@dataclass(frozen=True)
class FeatureShift:
    """Add `amount` times a feature's decoder vectors, whatever the feature's activation. Shifts in a row add up.

    Attributes:
        layer: layer that the feature reads; a cross-layer feature writes to this layer and those above.
        position: token position, or a slice of positions.
        feature: index within the layer.
        amount: in units of activation; negative takes away.
    """

    layer: int
    position: int | slice
    feature: int
    amount: float

    @property
    def ref(self) -> FeatureRef:
        """The feature without its position."""
        return FeatureRef(self.layer, self.feature)


@dataclass(frozen=True, eq=False)
class ErrorEdit:
    """Put `scale * error + vector` in the place of an error: what the MLP wrote beyond features, bias and skip path.

    The error is that of the clean run, in every mode: it is the vector that stands in the graph.

    Attributes:
        layer: layer whose MLP is meant.
        position: token position, or a slice of positions of the prompt.
        scale: factor of the error; 0 ablates it, 1 keeps it.
        vector: `[d_model]`, added besides (with `scale` 0: what the error is set to, such as a donor's); None for none.
    """

    layer: int
    position: int | slice
    scale: float = 0.0
    vector: Tensor | None = None


@dataclass(frozen=True, eq=False)
class DirectionEdit:
    """Change the residual stream along one direction. Edits of one place add up, each counted from the stream as it
    arrives there.

    Attributes:
        layer: layer.
        position: token position, or a slice of positions.
        direction: `[d_model]`, not zero; its length counts for `add` alone.
        amount: `add`: how many times the direction is added. `set`: the component along the direction, in units of the
            stream; 0 ablates it. `scale`: the factor of that component.
        how: which of these.
        point: where in the layer.
    """

    layer: int
    position: int | slice
    direction: Tensor
    amount: float
    how: How = "add"
    point: StreamPoint = "resid_post"

    def __post_init__(self) -> None:
        if self.how not in ("add", "set", "scale"):
            raise SettingError(f"a direction edit can add, set or scale, found how={self.how!r}")
        if self.point not in ("resid_pre", "resid_mid", "resid_post"):
            raise SettingError(
                f"a direction edit acts at resid_pre, resid_mid or resid_post, found point={self.point!r}"
            )


Edit = FeatureEdit | FeatureShift
"""An edit of a feature."""
AnyEdit = FeatureEdit | FeatureShift | ErrorEdit | DirectionEdit
Row = Sequence[Edit]
"""Edits of features that are made together in one run of the model."""
AnyRow = Sequence[AnyEdit]
"""Edits of every kind that are made together in one run of the model."""


@dataclass(frozen=True)
class InterventionSettings:
    """How the model reacts to the edits.

    Attributes:
        mode: `open`: everything above reacts, and a set activation counts from its value in the running pass; the
            honest causal test. `constrained`: attention patterns and the write points of `constrained_layers` keep
            their clean values (a transcoder's skip path stays live), edits of features and errors land only there, and
            what is set counts from its clean value. `direct`: all layers are so constrained and every norm denominator
            too: linear, equal to the graph's edges.
        constrained_layers: for `constrained` only, at least one; naming all layers gives `direct`.
        freeze_attention: keep the clean attention patterns in `open` mode (the other modes always do).
        zero_positions: positions at the start (`<bos>`) at which no feature counts as active; None takes the model's rule.
        allow_masked: accept edits at those positions; they then start from an activation of 0. Refused by default,
            since nothing in a graph stands there.
    """

    mode: Mode = "open"
    constrained_layers: tuple[int, ...] = ()
    freeze_attention: bool = False
    zero_positions: int | None = None
    allow_masked: bool = False

    def __post_init__(self) -> None:
        if self.mode not in ("open", "constrained", "direct"):
            raise SettingError(f"intervention mode must be open, constrained or direct, found {self.mode!r}")
        if (self.mode == "constrained") != bool(self.constrained_layers):
            raise SettingError(
                f"constrained_layers goes with mode 'constrained', and only with it; found mode {self.mode!r} with "
                f"{len(self.constrained_layers)} layers"
            )
        if self.zero_positions is not None and self.zero_positions < 0:
            raise SettingError(f"zero_positions must be 0 or more, found {self.zero_positions}")


class Activations(Protocol):
    """Where clean activations are looked up: a clean run, or anything that knows them."""

    def activation(self, node: FeatureNode) -> float:
        """Activation of a feature at a position."""
        ...


def ablation(nodes: Iterable[FeatureNode]) -> tuple[FeatureEdit, ...]:
    """Edits that set features to 0."""
    return tuple(FeatureEdit(node.layer, node.position, node.feature, 0.0) for node in nodes)


def scaling(nodes: Iterable[FeatureNode], multiplier: float, clean: Activations) -> tuple[FeatureEdit, ...]:
    """Edits that multiply features' clean activations: 0 ablates, 1 changes nothing, 2 doubles, -1 inverts."""
    return tuple(FeatureEdit(n.layer, n.position, n.feature, multiplier * clean.activation(n)) for n in nodes)


def addition(nodes: Iterable[FeatureNode], amount: float) -> tuple[FeatureShift, ...]:
    """Edits that add the same amount to features' activations, whatever these are."""
    return tuple(FeatureShift(node.layer, node.position, node.feature, amount) for node in nodes)


def clamping(nodes: Iterable[FeatureNode], value: float) -> tuple[FeatureEdit, ...]:
    """Edits that set features to one activation."""
    return tuple(FeatureEdit(node.layer, node.position, node.feature, value) for node in nodes)


def supernode_to(members: Iterable[FeatureNode], total: float, clean: Activations) -> tuple[FeatureEdit, ...]:
    """Edits that bring a supernode's activation (the sum over its members) to a total, members in their proportions.

    Raises:
        InterventionError: no member is active, so that there are no proportions to keep.
    """
    nodes = tuple(members)
    found = sum(clean.activation(node) for node in nodes)
    if not found:
        raise InterventionError(
            f"none of the supernode's {len(nodes)} members is active, so its activation cannot be scaled to {total:g}; "
            "set its members one by one"
        )
    return scaling(nodes, total / found, clean)


def swap(members: Iterable[FeatureNode], donors: Mapping[FeatureNode, float]) -> tuple[FeatureEdit, ...]:
    """Edits that replace features by a donor's: members are cleared, then the donor's features are set.

    Args:
        members: features of this prompt.
        donors: activation in the donor's run of each donor feature, at positions *of this prompt* (the caller aligns
            them). A feature that is both member and donor takes the donor's value.
    """
    cleared = ablation(node for node in members if node not in donors)
    return cleared + tuple(FeatureEdit(n.layer, n.position, n.feature, value) for n, value in donors.items())


def as_shifts(row: Row, clean: Activations, n_pos: int) -> tuple[FeatureShift, ...]:
    """The same row as shifts from the clean activations, one position each: what controls are matched to.

    Of two edits of one feature and position the later one counts; edits that change nothing are left out.

    Args:
        row: edits of one run.
        clean: the clean run they start from.
        n_pos: length of the prompt, for open-ended slices.
    """
    amounts: dict[FeatureNode, float] = {}
    for edit in row:
        for position in positions_of(edit.position, n_pos):
            node = FeatureNode(edit.layer, position, edit.feature)
            if isinstance(edit, FeatureShift):
                amounts[node] = amounts.get(node, 0.0) + edit.amount
            else:
                amounts[node] = edit.value - clean.activation(node)
    return tuple(
        FeatureShift(node.layer, node.position, node.feature, amount)
        for node, amount in amounts.items()
        if amount != 0.0
    )


def positions_of(position: int | slice, n_pos: int) -> range:
    """Positions that an edit touches in a prompt of `n_pos` tokens.

    Raises:
        InterventionError: outside the prompt, or a slice that is empty there or has a step.
    """
    if isinstance(position, slice):
        if position.step not in (None, 1) or (position.start or 0) < 0 or (position.stop or 0) < 0:
            raise InterventionError(
                f"an edit's slice must count forward from the start of the prompt, found {position}"
            )
        found = range(*position.indices(n_pos))
        if not found:
            raise InterventionError(f"an edit's slice {position} is empty in a prompt of {n_pos} tokens")
        return found
    if not 0 <= position < n_pos:
        raise InterventionError(f"an edit's position {position} is outside the prompt: 0 to {n_pos - 1} exist")
    return range(position, position + 1)


def check_finite(edit: AnyEdit) -> None:
    """Refuse an edit that would put NaN or infinity into the model.

    Raises:
        InterventionError: the value, amount, scale or vector is not finite.
    """
    vector = edit.vector if isinstance(edit, ErrorEdit) else edit.direction if isinstance(edit, DirectionEdit) else None
    match edit:
        case FeatureEdit():
            value = edit.value
        case FeatureShift() | DirectionEdit():
            value = edit.amount
        case ErrorEdit():
            value = edit.scale
    if math.isfinite(value) and (vector is None or bool(vector.isfinite().all())):
        return  # the words below are for the rare edit that is refused: experiments have thousands
    match edit:
        case FeatureEdit() | FeatureShift():
            told = f"the edit of feature {edit.ref} has the value {value}; an activation must be a finite number"
        case ErrorEdit():
            told = f"the edit of layer {edit.layer}'s error has scale {value} or a vector that is not finite"
        case DirectionEdit():
            told = f"the edit of layer {edit.layer}'s {edit.point} has amount {value} or a direction that is not finite"
    raise InterventionError(told)
