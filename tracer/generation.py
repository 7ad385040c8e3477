"""Steering while the model writes: edited continuations beside the unedited one, in one batch, with a cache.

The prompt is run as any intervention is. On generated tokens nothing of the clean run is held any more, since there is
none; edits whose positions reach behind the prompt (`slice(1, None)`) act on each new token, and what they set counts from
the value in the running pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from tracescribe.tracer.clean_run import CleanRun, check_tokens
from tracescribe.tracer.edit_plan import EditPlan, PassEdits, compile_rows
from tracescribe.tracer.edited_run import EditedPass, check_behind_prompt
from tracescribe.tracer.edits import AnyRow, InterventionSettings
from tracescribe.tracer.errors import InterventionError, SettingError
from tracescribe.tracer.held_parts import Held
from tracescribe.tracer.interventions import DEFAULT_BATCH_SIZE, check_settings, matching_run, rows_in_memory
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.row_batches import first_computed, prefix_cache
from tracescribe.tracer.transcoders import TranscoderSet


@dataclass(frozen=True)
class GenerationSettings:
    """How text is continued.

    Attributes:
        max_new_tokens: most tokens to write.
        temperature: 0 takes the most probable token; above 0 tokens are drawn from the probabilities at that temperature.
        seed: of the draws. All rows share the random numbers, so that an edit without effect changes no token.
        stop_tokens: ids that end a continuation; None takes the model's own.
    """

    max_new_tokens: int = 20
    temperature: float = 0.0
    seed: int = 0
    stop_tokens: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise SettingError(f"max_new_tokens must be at least 1, found {self.max_new_tokens}")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise SettingError(f"temperature must be 0 or more, found {self.temperature}")


@dataclass(frozen=True)
class Continuation:
    """What was written after the prompt.

    Attributes:
        tokens: ids, the stop token included where there is one.
        log_probabilities: of each token when it was chosen, in nats, at temperature 1.
        stopped: whether a stop token ended it.
    """

    tokens: tuple[int, ...]
    log_probabilities: tuple[float, ...]
    stopped: bool


@dataclass(frozen=True)
class GenerationResult:
    """Continuations of one prompt.

    Attributes:
        clean: without edits.
        rows: one for each row of edits.
    """

    clean: Continuation
    rows: tuple[Continuation, ...]


@torch.no_grad()
def generate(
    model: LanguageModel,
    transcoders: TranscoderSet,
    tokens: Tensor,
    rows: Sequence[AnyRow],
    settings: InterventionSettings | None = None,
    generation: GenerationSettings | None = None,
    *,
    batch_size: int = DEFAULT_BATCH_SIZE,
    clean: CleanRun | None = None,
) -> GenerationResult:
    """Continue a prompt once per row of edits, and once without.

    Args:
        tokens: `[n_pos]` ids, BOS included.
        rows: one row for each separate continuation. Positions may lie behind the prompt.
        settings: how the model reacts to edits of the prompt; None takes the open mode with attention recomputed.
        generation: how text is continued.
        batch_size: most rows at once.
        clean: a clean run of the same prompt; None runs one.

    Raises:
        InterventionError: tokens that cannot be run, more positions than the model has, no rows, or an edit that
            `intervene` would refuse; a feature set behind the prompt where the set chooses over whole prompts, or edits so
            large that what the model computes overflows.
        SettingError: a batch size below 1, a constrained layer or a stop token that does not exist.
        TranscoderMismatchError: the transcoders do not fit the model.
    """
    settings, generation = settings or InterventionSettings(), generation or GenerationSettings()
    ids = check_tokens(model, tokens)
    # the last token written is not run itself
    n_positions = len(ids) + generation.max_new_tokens - 1
    if n_positions > model.max_positions:
        raise InterventionError(
            f"a prompt of {len(ids)} tokens with {generation.max_new_tokens} to follow needs {n_positions} positions, the "
            f"model has {model.max_positions}; ask for at most {model.max_positions - len(ids) + 1} tokens"
        )
    check_settings(settings, batch_size, model.n_layers)
    stops = _stop_tokens(model, generation)
    base = matching_run(clean, model, transcoders, ids)
    plan = compile_rows(rows, base, settings, n_positions)
    check_behind_prompt(base, plan.edits)
    size = min(batch_size, rows_in_memory(base, True))
    found: list[Continuation] = []
    unedited: Continuation | None = None
    for start in range(0, plan.n_rows, size):
        span = (start, min(start + size, plan.n_rows))
        written = _continued(base, plan, span, settings, generation, stops, unedited is None)
        found += written[: span[1] - span[0]]
        unedited = unedited or written[-1]
    assert unedited is not None, "there is at least one batch"
    return GenerationResult(unedited, tuple(found[int(place)] for place in plan.order.argsort()))


def _continued(
    clean: CleanRun,
    plan: EditPlan,
    span: tuple[int, int],
    settings: InterventionSettings,
    generation: GenerationSettings,
    stops: frozenset[int],
    with_unedited: bool,
) -> list[Continuation]:
    """Continuations of some rows of the plan, in its order; with the unedited one behind them, if it is wanted."""
    n_rows = span[1] - span[0] + with_unedited  # the unedited one is a row that no edit touches
    first = first_computed(clean, plan, span)
    edits = plan.edits.part(span, (0, clean.n_pos + generation.max_new_tokens))
    writer = _Writer(n_rows, generation, stops)
    held = Held.of(settings, clean.model.n_layers)
    tokens, cache = clean.tokens[first:].expand(n_rows, -1), prefix_cache(clean, first, n_rows)
    while True:
        part = edits.part((0, n_rows), (first, first + tokens.shape[1]))
        run = _pass(clean, part, held, first, n_rows, settings)
        logits = run.run(tokens, cache, last_only=True)[:, -1]
        first, held, cache = first + tokens.shape[1], Held(), run.cache
        tokens = writer.choose(logits)[:, None]
        if writer.done:
            return writer.continuations()


def _pass(
    clean: CleanRun, edits: PassEdits, held: Held, first: int, n_rows: int, settings: InterventionSettings
) -> EditedPass:
    masked = clean.masked(settings.zero_positions)
    return EditedPass(clean, edits, held, first=first, n_rows=n_rows, zero_positions=masked)


class _Writer:
    """Chooses tokens row by row until each row has ended."""

    def __init__(self, n_rows: int, generation: GenerationSettings, stops: frozenset[int]) -> None:
        self.generation = generation
        self.stops = stops
        self.random = torch.Generator().manual_seed(generation.seed)
        self.tokens: list[list[int]] = [[] for _ in range(n_rows)]
        self.log_probabilities: list[list[float]] = [[] for _ in range(n_rows)]
        self.stopped = [False] * n_rows
        self.steps = 0

    @property
    def done(self) -> bool:
        """Whether every row has ended, or all tokens are written."""
        return self.steps == self.generation.max_new_tokens or all(self.stopped)

    def choose(self, logits: Tensor) -> Tensor:
        """The next token of every row, `[n_rows]` on the CPU; rows that have ended go on unrecorded.

        Args:
            logits: `[n_rows, vocab_size]`.

        Raises:
            InterventionError: edits so large that they are not finite.
        """
        if not bool(logits.isfinite().all()):
            raise InterventionError(
                "with the edits the model computes numbers that are not finite; choose smaller values"
            )
        self.steps += 1
        log_probabilities = logits.double().log_softmax(-1)
        chosen = self._drawn(logits) if self.generation.temperature else logits.argmax(-1)
        told = log_probabilities.gather(1, chosen[:, None])[:, 0].tolist()
        for row, token in enumerate(chosen.tolist()):
            if not self.stopped[row]:
                self.tokens[row].append(token)
                self.log_probabilities[row].append(told[row])
                self.stopped[row] = token in self.stops
        return chosen.cpu()

    def _drawn(self, logits: Tensor) -> Tensor:
        """One draw a row, all with the same random number: where it falls among the summed probabilities."""
        drawn = float(torch.rand((), generator=self.random, dtype=torch.float64))
        summed = (logits.double() / self.generation.temperature).softmax(-1).cumsum(-1)
        reached = (summed <= drawn * summed[:, -1:]).sum(-1)
        return reached.clamp(max=logits.shape[-1] - 1)

    def continuations(self) -> list[Continuation]:
        """What was written, by row."""
        written = zip(self.tokens, self.log_probabilities, self.stopped, strict=True)
        return [Continuation(tuple(tokens), tuple(told), stopped) for tokens, told, stopped in written]


def _stop_tokens(model: LanguageModel, generation: GenerationSettings) -> frozenset[int]:
    """Ids that end a continuation.

    Raises:
        SettingError: one that the model does not have.
    """
    if generation.stop_tokens is not None:
        outside = [token for token in generation.stop_tokens if not 0 <= token < model.vocab_size]
        if outside:
            raise SettingError(f"stop tokens {outside} do not exist; the model has ids 0 to {model.vocab_size - 1}")
        return frozenset(generation.stop_tokens)
    hf = cast(Any, model.hf)
    named = [getattr(hf.config.get_text_config(), "eos_token_id", None), getattr(model.tokenizer, "eos_token_id", None)]
    named.append(getattr(getattr(hf, "generation_config", None), "eos_token_id", None))
    found = [token for entry in named for token in (entry if isinstance(entry, (list, tuple)) else [entry])]
    return frozenset(int(token) for token in found if token is not None)
