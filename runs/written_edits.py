"""From what was written on the command line to edits, and how each edit is told afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracescribe.runs.edit_grammar import (
    Place,
    Position,
    Site,
    parse_layer_site,
    parse_place,
    parse_setting,
    parse_sites,
    parse_stream_site,
    split_number,
)
from tracescribe.runs.loading import Pair
from tracescribe.tracer.errors import InputError, InterventionError, UnknownIdError
from tracescribe.tracer.graph import FeatureNode

if TYPE_CHECKING:
    from torch import Tensor

    from tracescribe.tracer.clean_run import CleanRun
    from tracescribe.tracer.edits import AnyEdit, How


@dataclass(frozen=True)
class WrittenEdits:
    """The edits of one call of `tracescribe intervene`, as they were written.

    Attributes:
        ablate: features to set to 0.
        scale: features to multiply, `NODE=MULTIPLIER`.
        set_to: features to set, `NODE=ACTIVATION`.
        add: features to add to, `NODE=AMOUNT`.
        error: errors to multiply, `LAYER@POSITION=FACTOR`.
        direction: changes of the residual stream along a token's unembedding, `LAYER/POINT@POSITION=TOKEN=NUMBER`.
        how: what the number of a direction means.
        swap_from: donor prompt, or None.
        swap: where the donor's activations are put; empty means every position at which the prompts differ.
    """

    ablate: tuple[str, ...] = ()
    scale: tuple[str, ...] = ()
    set_to: tuple[str, ...] = ()
    add: tuple[str, ...] = ()
    error: tuple[str, ...] = ()
    direction: tuple[str, ...] = ()
    how: How = "add"
    swap_from: str | None = None
    swap: tuple[str, ...] = ()

    def refuse_nothing(self) -> None:
        """Refuse a call without edits, or a swap without a donor.

        Raises:
            InputError: there is nothing to edit.
        """
        if self.swap and self.swap_from is None:
            raise InputError("--swap says where, but not with what; give the donor prompt with --swap-from")
        edits = (*self.ablate, *self.scale, *self.set_to, *self.add, *self.error, *self.direction)
        if not edits and self.swap_from is None:
            raise InputError(
                "nothing to edit; give --ablate, --scale, --set, --add, --error, --direction or --swap-from"
            )


@dataclass(frozen=True)
class EditShown:
    """One edit: what is edited, where, and its number before and after (never a negative zero, which means nothing to
    people). The number is a feature's activation, an error's factor, or the stream's component along a direction."""

    feature: str
    position: int
    token: str
    before: float
    after: float


def read_edits(written: WrittenEdits, pair: Pair, clean: CleanRun) -> tuple[AnyEdit, ...]:
    """The edits that were written.

    Raises:
        InputError: an edit that is not of its form, names nothing in the model or prompt, or a swap that changes nothing.
    """
    from tracescribe.tracer.edits import ErrorEdit, FeatureEdit, FeatureShift, scaling, swap

    tokens = token_texts(pair, clean.tokens)
    edits: list[AnyEdit] = []
    for text in written.ablate:
        edits += [FeatureEdit(s.layer, s.position, s.feature, 0.0) for s in _known(clean, parse_sites(text, tokens))]
    for text in written.scale:
        sites, multiplier = parse_setting(text, tokens)
        edits += scaling(_nodes(_known(clean, sites), clean.n_pos), multiplier, clean)
    for text in written.set_to:
        sites, value = parse_setting(text, tokens)
        edits += [FeatureEdit(s.layer, s.position, s.feature, value) for s in _known(clean, sites)]
    for text in written.add:
        sites, value = parse_setting(text, tokens)
        edits += [FeatureShift(s.layer, s.position, s.feature, value) for s in _known(clean, sites)]
    for text in written.error:
        place, factor = split_number(text, "LAYER@POSITION", "1@Dallas=0")
        layer, position = parse_layer_site(place, tokens)
        edits.append(ErrorEdit(_checked_layer(layer, pair), position, factor))
    edits += [_direction(text, written.how, pair, tokens) for text in written.direction]
    if written.swap_from is not None:
        members, donors = _swapped(written.swap_from, written.swap, pair, clean, tokens)
        edits += swap(members, donors)
    if not edits:
        raise InputError("the swap changes nothing: no feature is active at that place in either prompt")
    return tuple(edits)


def show_edits(edits: Iterable[AnyEdit], pair: Pair, clean: CleanRun) -> tuple[EditShown, ...]:
    """Each edit at each position of the prompt that it touches."""
    from tracescribe.tracer.edits import ErrorEdit, FeatureEdit, FeatureShift

    shown: list[EditShown] = []
    for edit in edits:
        for position in _positions(edit.position, clean.n_pos):
            if isinstance(edit, ErrorEdit):
                what, before, after = f"error of layer {edit.layer}", 1.0, edit.scale
            elif isinstance(edit, (FeatureEdit, FeatureShift)):
                what = str(edit.ref)
                before = clean.activation(FeatureNode(edit.layer, position, edit.feature))
                after = edit.value if isinstance(edit, FeatureEdit) else before + edit.amount
            else:
                what = f"{edit.layer}/{edit.point}"
                before = float(clean.stream(edit.layer, edit.point)[position].to(edit.direction) @ edit.direction)
                after = {"add": before + edit.amount, "set": edit.amount, "scale": before * edit.amount}[edit.how]
            token = pair.model.token_text(int(clean.tokens[position]))
            shown.append(EditShown(what, position, token, before + 0.0, after + 0.0))
    return tuple(shown)


def token_texts(pair: Pair, ids: Tensor) -> tuple[str, ...]:
    """Text of each token."""
    return tuple(pair.model.token_text(int(i)) for i in ids)


def known_node(clean: CleanRun, node: FeatureNode) -> FeatureNode:
    """A node that was written on the command line, if it exists: a wrong one is a wrong call, not failed work.

    Raises:
        UnknownIdError: it does not exist.
    """
    from tracescribe.tracer.clean_run import check_node

    try:
        check_node(clean, node)
    except InterventionError as error:
        raise UnknownIdError(str(error)) from error
    return node


def _known(clean: CleanRun, sites: Sequence[Site]) -> Sequence[Site]:
    for site in sites:
        known_node(clean, FeatureNode(site.layer, 0, site.feature))
    return sites


def _positions(position: Position, n_pos: int) -> range:
    return range(*position.indices(n_pos)) if isinstance(position, slice) else range(position, position + 1)


def _nodes(sites: Iterable[Site], n_pos: int) -> list[FeatureNode]:
    """Each site at each of its positions in the prompt."""
    return [FeatureNode(s.layer, position, s.feature) for s in sites for position in _positions(s.position, n_pos)]


def _direction(text: str, how: How, pair: Pair, tokens: Sequence[str]) -> AnyEdit:
    """An edit along the direction in which one token's logit grows, relative to the mean, as a unit vector."""
    from tracescribe.tracer.edits import DirectionEdit

    form = "LAYER/POINT@POSITION=TOKEN"
    rest, amount = split_number(text, form, "1/resid_post@-1=Austin=3")
    place, equals, token = rest.partition("=")
    if not equals:
        raise InputError(f"{text!r} names no token; write {form}=NUMBER, for example 1/resid_post@-1=Austin=3")
    site = parse_stream_site(place, tokens)
    architecture = pair.model.architecture
    row = architecture.unembedding[pair.model.token_id(token)].to(pair.model.compute_dtype)
    vector = row - architecture.mean_unembedding.to(row)
    layer = _checked_layer(site.layer, pair)
    return DirectionEdit(layer, site.position, vector / vector.norm(), amount, how, site.point)


def _swapped(
    donor_prompt: str, where: Sequence[str], pair: Pair, clean: CleanRun, tokens: Sequence[str]
) -> tuple[list[FeatureNode], Mapping[FeatureNode, float]]:
    """Features of this prompt to clear, and the donor's to set, at the places asked for."""
    from tracescribe.tracer.clean_run import clean_run

    donor = clean_run(pair.model, pair.transcoders, pair.model.encode(donor_prompt))
    if donor.n_pos != clean.n_pos:
        raise InputError(
            f"the donor prompt has {donor.n_pos} tokens, the prompt {clean.n_pos}; give a donor of the same length"
        )
    places = [parse_place(text, tokens) for text in where]
    if not places:
        differing = (clean.tokens != donor.tokens).nonzero().flatten().tolist()
        places = [Place(None, None, int(position)) for position in differing]
    if not places:
        raise InputError("the donor prompt is the prompt itself; give one that differs")
    members: list[FeatureNode] = []
    donors: dict[FeatureNode, float] = {}
    for place in places:
        members += _active(clean, place, pair)
        donors |= {node: donor.activation(node) for node in _active(donor, place, pair)}
    return members, donors


def _active(run: CleanRun, place: Place, pair: Pair) -> list[FeatureNode]:
    """Features that are active at a place; a single named feature counts even where it is not."""
    if place.layer is not None and place.feature is not None:
        return [FeatureNode(place.layer, place.position, place.feature)]
    layers = range(run.model.n_layers) if place.layer is None else [_checked_layer(place.layer, pair)]
    found: list[FeatureNode] = []
    for layer in layers:
        active = run.activations(layer)[place.position].nonzero().flatten().tolist()
        found += [FeatureNode(layer, place.position, int(feature)) for feature in active]
    return found


def _checked_layer(layer: int, pair: Pair) -> int:
    if layer >= pair.model.n_layers:
        raise InputError(f"layer {layer} does not exist; the model has layers 0 to {pair.model.n_layers - 1}")
    return layer
