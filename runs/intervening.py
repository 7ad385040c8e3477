"""Interventions by hand: from what was written on the command line to edits, and from logits to a table of tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from tracescribe.runs import terminal
from tracescribe.runs.edit_grammar import Place, parse_node, parse_place, parse_setting
from tracescribe.runs.loading import Pair, load_pair
from tracescribe.tracer.errors import InputError, InterventionError, UnknownIdError
from tracescribe.tracer.graph import FeatureNode

if TYPE_CHECKING:
    from torch import Tensor

    from tracescribe.tracer.clean_run import CleanRun
    from tracescribe.tracer.edits import FeatureEdit, InterventionSettings

Mode = Literal["open", "constrained", "direct"]


@dataclass(frozen=True)
class InterventionRequest:
    """One call of `tracescribe intervene`, as it was written.

    Attributes:
        prompt: the text that is run.
        model, transcoders: names or folders.
        ablate: nodes to set to 0.
        scale: nodes to multiply, `NODE=MULTIPLIER`.
        set_to: nodes to set, `NODE=ACTIVATION`.
        swap_from: donor prompt, or None.
        swap: where the donor's activations are put; empty means every position at which the prompts differ.
        mode: how the rest of the model reacts.
        constrained_layers: for the constrained mode; empty means all layers from the lowest edit up.
        freeze_attention: keep the clean attention patterns in the open mode.
        top: how many tokens to show.
    """

    prompt: str
    model: str
    transcoders: str
    ablate: tuple[str, ...]
    scale: tuple[str, ...]
    set_to: tuple[str, ...]
    swap_from: str | None
    swap: tuple[str, ...]
    mode: Mode
    constrained_layers: tuple[int, ...]
    freeze_attention: bool
    top: int


@dataclass(frozen=True)
class EditShown:
    """One edit: the activation before and after (never a negative zero, which means nothing to people)."""

    feature: str
    position: int
    token: str
    before: float
    after: float


@dataclass(frozen=True)
class TokenShown:
    """One output token: its probability before and after."""

    token: str
    before: float
    after: float


@dataclass(frozen=True)
class InterventionOutcome:
    """What the intervention did to the next token.

    Attributes:
        answer_before, answer_after: the most probable token.
        tokens: the most probable tokens before or after, by the larger of their two probabilities.
    """

    prompt: str
    mode: str
    edits: tuple[EditShown, ...]
    answer_before: str
    answer_after: str
    tokens: tuple[TokenShown, ...]

    def to_json(self) -> dict[str, Any]:
        """The outcome as plain JSON values."""
        return asdict(self)


def run_intervention(request: InterventionRequest) -> InterventionOutcome:
    """Carry the intervention out.

    Raises:
        InputError: the model, a prompt or an edit cannot be used, or there is nothing to edit.
        InterventionError: an edit lies outside the model.
    """
    _refuse_contradictions(request)
    log = terminal.StepLog()
    with log.step("load"):
        pair = load_pair(request.model, request.transcoders)
    from tracescribe.tracer.clean_run import clean_run
    from tracescribe.tracer.interventions import intervene

    with log.step("intervene") as details:
        ids = pair.model.encode(request.prompt)
        clean = clean_run(pair.model, pair.transcoders, ids)
        edits = _edits(request, pair, clean)
        details.append(f"{len(edits)} edits, {request.mode}")
        settings = _settings(request, edits, pair.model.n_layers)
        result = intervene(pair.model, pair.transcoders, ids, [edits], settings, clean=clean)
    before, after = result.clean_log_probabilities.exp(), result.log_probabilities[0].exp()
    return InterventionOutcome(
        prompt=request.prompt,
        mode=request.mode,
        edits=tuple(_shown(edit, pair, clean) for edit in edits),
        answer_before=pair.model.token_text(int(before.argmax())),
        answer_after=pair.model.token_text(int(after.argmax())),
        tokens=_top_tokens(pair, before, after, request.top),
    )


def _refuse_contradictions(request: InterventionRequest) -> None:
    edits = (*request.ablate, *request.scale, *request.set_to)
    if request.swap and request.swap_from is None:
        raise InputError("--swap says where, but not with what; give the donor prompt with --swap-from")
    if not edits and request.swap_from is None:
        raise InputError("nothing to edit; give --ablate, --scale, --set or --swap-from")
    if request.constrained_layers and request.mode != "constrained":
        raise InputError(f"--constrain belongs to --mode constrained, found --mode {request.mode}")
    if request.freeze_attention and request.mode != "open":
        raise InputError(f"--freeze-attention belongs to --mode open; mode {request.mode} always freezes attention")


def _settings(request: InterventionRequest, edits: Sequence[FeatureEdit], n_layers: int) -> InterventionSettings:
    from tracescribe.tracer.edits import InterventionSettings

    layers = request.constrained_layers
    if request.mode == "constrained" and not layers:
        layers = tuple(range(min(edit.layer for edit in edits), n_layers))
    return InterventionSettings(mode=request.mode, constrained_layers=layers, freeze_attention=request.freeze_attention)


def _edits(request: InterventionRequest, pair: Pair, clean: CleanRun) -> tuple[FeatureEdit, ...]:
    from tracescribe.tracer.edits import FeatureEdit, ablation, scaling, swap

    tokens = _texts(pair, clean.tokens)
    edits = list(ablation(_known(clean, parse_node(text, tokens)) for text in request.ablate))
    for text in request.scale:
        node, multiplier = parse_setting(text, tokens)
        edits += scaling([_known(clean, node)], multiplier, clean)
    for text in request.set_to:
        node, value = parse_setting(text, tokens)
        edits.append(FeatureEdit(*_known(clean, node), value))
    if request.swap_from is not None:
        members, donors = _swapped(request, pair, clean, tokens)
        edits += swap(members, donors)
    if not edits:
        raise InputError("the swap changes nothing: no feature is active at that place in either prompt")
    return tuple(edits)


def _known(clean: CleanRun, node: FeatureNode) -> FeatureNode:
    """A node that was written on the command line, if it exists: a wrong one is a wrong call, not failed work."""
    from tracescribe.tracer.clean_run import check_node

    try:
        check_node(clean, node)
    except InterventionError as error:
        raise UnknownIdError(str(error)) from error
    return node


def _swapped(
    request: InterventionRequest, pair: Pair, clean: CleanRun, tokens: Sequence[str]
) -> tuple[list[FeatureNode], Mapping[FeatureNode, float]]:
    """Features of this prompt to clear, and the donor's to set, at the places asked for."""
    from tracescribe.tracer.clean_run import clean_run

    assert request.swap_from is not None
    donor = clean_run(pair.model, pair.transcoders, pair.model.encode(request.swap_from))
    if donor.n_pos != clean.n_pos:
        raise InputError(
            f"the donor prompt has {donor.n_pos} tokens, the prompt {clean.n_pos}; give a donor of the same length"
        )
    places = [parse_place(text, tokens) for text in request.swap]
    if not places:
        differing = (clean.tokens != donor.tokens).nonzero().flatten().tolist()
        places = [Place(None, None, int(position)) for position in differing]
    if not places:
        raise InputError("the donor prompt is the prompt itself; give one that differs")
    members: list[FeatureNode] = []
    donors: dict[FeatureNode, float] = {}
    for place in places:
        members += _active(clean, place)
        donors |= {node: donor.activation(node) for node in _active(donor, place)}
    return members, donors


def _active(run: CleanRun, place: Place) -> list[FeatureNode]:
    """Features that are active at a place; a single named feature counts even where it is not."""
    if place.layer is not None and place.feature is not None:
        return [FeatureNode(place.layer, place.position, place.feature)]
    layers = range(run.model.n_layers) if place.layer is None else [_checked_layer(place.layer, run.model.n_layers)]
    found: list[FeatureNode] = []
    for layer in layers:
        active = run.activations(layer)[place.position].nonzero().flatten().tolist()
        found += [FeatureNode(layer, place.position, int(feature)) for feature in active]
    return found


def _checked_layer(layer: int, n_layers: int) -> int:
    if layer >= n_layers:
        raise InputError(f"layer {layer} does not exist; the model has layers 0 to {n_layers - 1}")
    return layer


def _texts(pair: Pair, ids: Tensor) -> tuple[str, ...]:
    return tuple(pair.model.token_text(int(i)) for i in ids)


def _shown(edit: FeatureEdit, pair: Pair, clean: CleanRun) -> EditShown:
    assert isinstance(edit.position, int)
    node = FeatureNode(edit.layer, edit.position, edit.feature)
    token = pair.model.token_text(int(clean.tokens[edit.position]))
    return EditShown(str(edit.ref), edit.position, token, clean.activation(node) + 0.0, edit.value + 0.0)


def _top_tokens(pair: Pair, before: Tensor, after: Tensor, top: int) -> tuple[TokenShown, ...]:
    """The most probable tokens before and after, by their larger probability."""
    n = min(top, len(before))
    chosen = set(before.topk(n).indices.tolist()) | set(after.topk(n).indices.tolist())
    ranked = sorted(chosen, key=lambda i: (-max(float(before[i]), float(after[i])), i))[:n]
    return tuple(TokenShown(pair.model.token_text(i), float(before[i]), float(after[i])) for i in ranked)
