"""Interventions by hand: from one call of `tracescribe intervene` to a table of tokens, readings and continuations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tracescribe.runs import terminal
from tracescribe.runs.edit_grammar import parse_node
from tracescribe.runs.loading import Pair, load_pair
from tracescribe.runs.written_edits import EditShown, WrittenEdits, known_node, read_edits, show_edits, token_texts
from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from tracescribe.tracer.clean_run import CleanRun
    from tracescribe.tracer.edits import AnyEdit, InterventionSettings
    from tracescribe.tracer.generation import Continuation
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


@dataclass(frozen=True)
class TokenShown:
    """One output token: its probability and its place among all (1 is the most probable), before and after."""

    token: str
    before: float
    after: float
    rank_before: int
    rank_after: int


@dataclass(frozen=True)
class TextShown:
    """What was written after the prompt: the text, its tokens, and the mean log-probability of a token, in nats."""

    text: str
    tokens: tuple[str, ...]
    mean_log_probability: float
    stopped: bool


@dataclass(frozen=True)
class InterventionOutcome:
    """What the intervention did.

    Attributes:
        answer_before, answer_after: the most probable token.
        tokens: the most probable tokens before or after, by the larger of their two probabilities.
        readings: the features that were asked for, before and after.
        text_before, text_after: continuations, where they were asked for.
    """

    prompt: str
    mode: str
    edits: tuple[EditShown, ...]
    answer_before: str
    answer_after: str
    tokens: tuple[TokenShown, ...]
    readings: tuple[EditShown, ...] = field(default=())
    text_before: TextShown | None = None
    text_after: TextShown | None = None

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
        pair = load_pair(request.model, request.transcoders, dtype=request.dtype, device=request.device)
    from tracescribe.tracer.clean_run import clean_run
    from tracescribe.tracer.interventions import intervene

    with log.step("intervene") as details:
        ids = pair.model.encode(request.prompt)
        clean = clean_run(pair.model, pair.transcoders, ids)
        edits = read_edits(request.edits, pair, clean)
        details.append(f"{len(edits)} edits, {request.mode}")
        settings = _settings(request, edits, pair.model.n_layers)
        read = [known_node(clean, parse_node(text, token_texts(pair, ids))) for text in request.read]
        acting = [edit for edit in edits if not _behind(edit, clean.n_pos)]
        result = intervene(
            pair.model, pair.transcoders, ids, [acting or _nothing(pair)], settings, read=read, clean=clean
        )
    texts: list[TextShown] = []
    if request.generate:
        with log.step("generate") as details:
            texts = _continued(request, edits, settings, pair, clean)
            details.append(f"{len(texts[0].tokens)} and {len(texts[1].tokens)} tokens")
    tokens = _top_tokens(pair, result, request.top)
    before, after = result.clean_logits[-1].argmax(), result.logits[0, -1].argmax()
    return InterventionOutcome(
        prompt=request.prompt,
        mode=request.mode,
        edits=show_edits(edits, pair, clean),
        answer_before=pair.model.token_text(int(before)),
        answer_after=pair.model.token_text(int(after)),
        tokens=tokens,
        readings=_readings(result, pair, clean),
        text_before=texts[0] if texts else None,
        text_after=texts[1] if texts else None,
    )


def _refuse_contradictions(request: InterventionRequest) -> None:
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


def _readings(result: InterventionResult, pair: Pair, clean: CleanRun) -> tuple[EditShown, ...]:
    return tuple(
        EditShown(
            feature=str(node.ref),
            position=node.position,
            token=pair.model.token_text(int(clean.tokens[node.position])),
            before=float(result.clean_activations[index]) + 0.0,
            after=float(result.activations[0, index]) + 0.0,
        )
        for index, node in enumerate(result.read)
    )


def _top_tokens(pair: Pair, result: InterventionResult, top: int) -> tuple[TokenShown, ...]:
    """The most probable tokens before and after, by their larger probability."""
    before, after = result.clean_probabilities, result.probabilities[0]
    n = min(top, len(before))
    chosen = set(before.topk(n).indices.tolist()) | set(after.topk(n).indices.tolist())
    ranked = sorted(chosen, key=lambda i: (-max(float(before[i]), float(after[i])), i))[:n]
    ranks = zip(result.clean_ranks(ranked).tolist(), result.ranks(ranked)[0].tolist(), strict=True)
    return tuple(
        TokenShown(pair.model.token_text(i), float(before[i]), float(after[i]), old + 1, new + 1)
        for i, (old, new) in zip(ranked, ranks, strict=True)
    )
