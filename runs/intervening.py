"""Interventions by hand: from one call of `tracescribe intervene` to a table of tokens, readings and continuations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tracescribe.runs import terminal
from tracescribe.runs.edit_grammar import parse_node
from tracescribe.runs.intervention_outcome import InterventionOutcome, TextShown, outcome_of
from tracescribe.runs.loading import Pair, load_pair
from tracescribe.runs.written_edits import WrittenEdits, known_node, read_edits, token_texts
from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from tracescribe.tracer.clean_run import CleanRun
    from tracescribe.tracer.edits import AnyEdit, InterventionSettings
    from tracescribe.tracer.generation import Continuation
    from tracescribe.tracer.graph import FeatureNode
    from tracescribe.tracer.interventions import InterventionResult

Mode = Literal["open", "constrained", "direct"]


@dataclass(frozen=True)
class InterventionRequest:
    """One call of `tracescribe intervene`, as it was written.

    Attributes:
        prompt: the text that is run.
        model, transcoders: names or folders.
        edits: what is changed.
        mode: how the rest of the model reacts.
        constrained_layers: for the constrained mode; empty means all layers from the lowest edit up.
        freeze_attention: keep the clean attention patterns in the open mode.
        read: features whose activations are shown before and after.
        generate: tokens to write after the prompt, with the edits and without; 0 for none.
        temperature, seed: how they are drawn.
        top: how many tokens to show.
        dtype, device: of model and transcoders.
    """

    prompt: str
    model: str
    transcoders: str
    edits: WrittenEdits
    mode: Mode = "open"
    constrained_layers: tuple[int, ...] = ()
    freeze_attention: bool = False
    read: tuple[str, ...] = ()
    generate: int = 0
    temperature: float = 0.0
    seed: int = 0
    top: int = 8
    dtype: str = "float32"
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class PreparedIntervention:
    """An intervention that was read and checked, before the model runs with it.

    Attributes:
        clean: the run without edits.
        edits: what is changed, at least one.
        settings: how the model reacts.
        read: features whose activations are measured.
    """

    clean: CleanRun
    edits: tuple[AnyEdit, ...]
    settings: InterventionSettings
    read: tuple[FeatureNode, ...]


def run_intervention(request: InterventionRequest) -> InterventionOutcome:
    """Carry the intervention out.

    Raises:
        InputError: the model, a prompt or an edit cannot be used, or there is nothing to edit.
        InterventionError: an edit lies outside the model.
    """
    refuse_contradictions(request)
    log = terminal.StepLog()
    with log.step("load"):
        pair = load_pair(request.model, request.transcoders, dtype=request.dtype, device=request.device)
    with log.step("intervene") as details:
        prepared = prepare(request, pair)
        details.append(f"{len(prepared.edits)} edits, {request.mode}")
        result = run_prepared(prepared, pair)
    texts: list[TextShown] = []
    if request.generate:
        with log.step("generate") as details:
            texts = _continued(request, prepared.edits, prepared.settings, pair, prepared.clean)
            details.append(f"{len(texts[0].tokens)} and {len(texts[1].tokens)} tokens")
    return outcome_of(request.prompt, request.mode, prepared.edits, result, pair, prepared.clean, request.top, texts)


def prepare(request: InterventionRequest, pair: Pair) -> PreparedIntervention:
    """Read the edits and run the prompt without them.

    Raises:
        InputError: the prompt or an edit cannot be used, or there is nothing to edit.
        InterventionError: an edit lies outside the model.
    """
    from tracescribe.tracer.clean_run import clean_run

    refuse_contradictions(request)
    ids = pair.model.encode(request.prompt)
    clean = clean_run(pair.model, pair.transcoders, ids)
    edits = read_edits(request.edits, pair, clean)
    settings = _settings(request, edits, pair.model.n_layers)
    read = tuple(known_node(clean, parse_node(text, token_texts(pair, ids))) for text in request.read)
    return PreparedIntervention(clean, edits, settings, read)


def run_prepared(prepared: PreparedIntervention, pair: Pair) -> InterventionResult:
    """Run the model once with all edits together.

    Raises:
        InterventionError: an edit lies outside the model, or drives it out of the range of numbers.
    """
    from tracescribe.tracer.interventions import intervene

    clean = prepared.clean
    acting = [edit for edit in prepared.edits if not _behind(edit, clean.n_pos)]
    row = acting or _nothing(pair)
    return intervene(
        pair.model, pair.transcoders, clean.tokens, [row], prepared.settings, read=prepared.read, clean=clean
    )


def refuse_contradictions(request: InterventionRequest) -> None:
    """Refuse a request whose parts do not go together.

    Raises:
        InputError: they do not; the message says which.
    """
    request.edits.refuse_nothing()
    if request.constrained_layers and request.mode != "constrained":
        raise InputError(f"--constrain belongs to --mode constrained, found --mode {request.mode}")
    if request.freeze_attention and request.mode != "open":
        raise InputError(f"--freeze-attention belongs to --mode open; mode {request.mode} always freezes attention")
    if request.temperature and not request.generate:
        raise InputError("--temperature says how tokens are drawn, but none are written; give --generate too")


def _settings(request: InterventionRequest, edits: Sequence[AnyEdit], n_layers: int) -> InterventionSettings:
    from tracescribe.tracer.edits import InterventionSettings

    layers = request.constrained_layers
    if request.mode == "constrained" and not layers:
        layers = tuple(range(min(edit.layer for edit in edits), n_layers))
    return InterventionSettings(mode=request.mode, constrained_layers=layers, freeze_attention=request.freeze_attention)


def _behind(edit: AnyEdit, n_pos: int) -> bool:
    """Whether an edit acts on generated tokens alone."""
    return isinstance(edit.position, slice) and (edit.position.start or 0) >= n_pos


def _nothing(pair: Pair) -> list[AnyEdit]:
    """An edit that changes nothing: where all act behind the prompt, the next token is the clean one."""
    from tracescribe.tracer.edits import DirectionEdit

    direction = pair.model.architecture.unembedding[0]
    return [DirectionEdit(pair.model.n_layers - 1, 0, direction, 0.0)]


def _continued(
    request: InterventionRequest,
    edits: Sequence[AnyEdit],
    settings: InterventionSettings,
    pair: Pair,
    clean: CleanRun,
) -> list[TextShown]:
    """What the model writes without the edits and with them."""
    from tracescribe.tracer.generation import GenerationSettings, generate

    how = GenerationSettings(request.generate, request.temperature, request.seed)
    written = generate(pair.model, pair.transcoders, clean.tokens, [edits], settings, how, clean=clean)
    return [_text(pair, written.clean), _text(pair, written.rows[0])]


def _text(pair: Pair, written: Continuation) -> TextShown:
    return TextShown(
        text=str(pair.model.tokenizer.decode(list(written.tokens))),
        tokens=tuple(pair.model.token_text(token) for token in written.tokens),
        mean_log_probability=sum(written.log_probabilities) / len(written.log_probabilities),
        stopped=written.stopped,
    )
