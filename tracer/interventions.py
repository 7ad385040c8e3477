"""Interventions on the underlying model: ablate, scale, add, clamp, swap; features, supernodes, errors, directions.

The model's own MLPs stay. An edit of a feature adds a multiple of its decoder vectors at the write points of its layer and
those above; how the rest reacts is the mode (see `InterventionSettings`). Every row of edits is one row of a batch, and
all rows share the clean run: what lies before the first edited position or below the first edited layer is never computed
again.

Source: Ameisen et al. 2025, "Circuit Tracing", transformer-circuits.pub; conventions of circuit-tracer 0.4.1
(github.com/decoderesearch/circuit-tracer).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tracescribe.tracer.clean_run import CleanRun, check_node, check_tokens, clean_run
from tracescribe.tracer.edit_plan import compile_rows
from tracescribe.tracer.edits import AnyRow, InterventionSettings
from tracescribe.tracer.errors import InterventionError, SettingError
from tracescribe.tracer.graph import FeatureNode
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.row_batches import run_rows, spans
from tracescribe.tracer.transcoders import TranscoderSet

DEFAULT_BATCH_SIZE = 256
"""Rows per forward pass: on one core larger batches are no faster."""
MAX_BATCH_NUMBERS = 1 << 27
"""Numbers that one forward pass may hold at its widest point: 512 MiB in float32."""


@dataclass(frozen=True, eq=False)
class InterventionResult:
    """What the model did. Tensors live on the model's device, in the dtype that it is computed with.

    Attributes:
        clean_logits: without edits, `[n_pos, vocab_size]`.
        logits: `[n_rows, n_pos, vocab_size]`; `[n_rows, 1, vocab_size]` where only the last position was asked for,
            so that `logits[:, -1]` is the answer either way.
        read: the feature nodes that were asked for.
        activations: of those nodes after the edits, `[n_rows, n_read]`. An edited feature shows what it computes
            from the edited stream below it, not the value that was set.
        clean_activations: of those nodes without edits, `[n_read]`.
    """

    clean_logits: Tensor
    logits: Tensor
    read: tuple[FeatureNode, ...]
    activations: Tensor
    clean_activations: Tensor

    @property
    def log_probabilities(self) -> Tensor:
        """Of every next token after the last position, `[n_rows, vocab_size]`."""
        return self.logits[:, -1].double().log_softmax(-1)

    @property
    def clean_log_probabilities(self) -> Tensor:
        """The same without edits, `[vocab_size]`."""
        return self.clean_logits[-1].double().log_softmax(-1)

    @property
    def probabilities(self) -> Tensor:
        """Of every next token after the last position, `[n_rows, vocab_size]`."""
        return self.log_probabilities.exp()

    @property
    def clean_probabilities(self) -> Tensor:
        """The same without edits, `[vocab_size]`."""
        return self.clean_log_probabilities.exp()

    def ranks(self, token_ids: Sequence[int]) -> Tensor:
        """Place of some next tokens among all, 0 for the most probable, `[n_rows, n_tokens]`; ties share the best."""
        return _ranks(self.logits[:, -1], token_ids)

    def clean_ranks(self, token_ids: Sequence[int]) -> Tensor:
        """The same without edits, `[n_tokens]`."""
        return _ranks(self.clean_logits[-1:], token_ids)[0]

    def rank_changes(self, token_ids: Sequence[int]) -> Tensor:
        """Places that some next tokens lose through the edits, `[n_rows, n_tokens]`; negative where they gain."""
        return self.ranks(token_ids) - self.clean_ranks(token_ids)


@torch.no_grad()
def intervene(
    model: LanguageModel,
    transcoders: TranscoderSet,
    tokens: Tensor,
    rows: Sequence[AnyRow],
    settings: InterventionSettings | None = None,
    *,
    read: Sequence[FeatureNode] = (),
    last_only: bool = True,
    batch_size: int = DEFAULT_BATCH_SIZE,
    clean: CleanRun | None = None,
) -> InterventionResult:
    """Run the model once per row of edits, all rows in few forward passes.

    Args:
        tokens: `[n_pos]` ids, BOS included.
        rows: one row for each separate intervention; the edits of a row are made together.
        settings: how the model reacts; None takes the open mode with attention recomputed.
        read: feature nodes whose activations to measure after the edits.
        last_only: keep the logits of the last position alone.
        batch_size: most rows per forward pass; fewer are taken where memory would not do.
        clean: a clean run of the same prompt, shared between calls; None runs one.

    Raises:
        InterventionError: tokens that cannot be run, no rows, an empty row, an edit or a read that is out of range,
            not finite or at a masked position, a clean run of another prompt, model or transcoder set, or edits so
            large that what the model computes overflows.
        SettingError: a batch size below 1, or a constrained layer that does not exist.
        TranscoderMismatchError: the transcoders do not fit the model.
    """
    settings = settings or InterventionSettings()
    ids = check_tokens(model, tokens)
    base = matching_run(clean, model, transcoders, ids)
    check_settings(settings, batch_size, model.n_layers)
    for node in read:
        check_node(base, node)
    plan = compile_rows(rows, base, settings)
    size = min(batch_size, rows_in_memory(base, last_only))
    outcomes = [
        run_rows(base, plan, settings, read, span, last_only) for span in spans(plan, size, base.n_pos, model.n_layers)
    ]
    back = plan.order.argsort().to(model.device)
    logits = torch.cat([logits for logits, _ in outcomes])[back]
    activations = torch.cat([activations for _, activations in outcomes])[back]
    _check_finite(logits, activations)
    return InterventionResult(
        clean_logits=base.logits,
        logits=logits,
        read=tuple(read),
        activations=activations,
        clean_activations=torch.tensor(
            [base.activation(node, settings.zero_positions) for node in read],
            dtype=model.compute_dtype,
            device=model.device,
        ),
    )


def matching_run(clean: CleanRun | None, model: LanguageModel, transcoders: TranscoderSet, ids: Tensor) -> CleanRun:
    """The clean run that was given, if it is of this prompt, model and transcoder set; a new one where none was given.

    Raises:
        InterventionError: it belongs to something else.
    """
    if clean is None:
        return clean_run(model, transcoders, ids)
    if clean.model is not model or clean.transcoders is not transcoders:
        raise InterventionError("the clean run belongs to another model or transcoder set; make one with clean_run")
    if not torch.equal(clean.tokens, ids):
        raise InterventionError(
            f"the clean run belongs to another prompt ({clean.n_pos} tokens, found {len(ids)} here); make one for this"
        )
    return clean


def _ranks(logits: Tensor, token_ids: Sequence[int]) -> Tensor:
    chosen = logits[:, torch.tensor(token_ids, dtype=torch.int64, device=logits.device)]
    return (logits[:, None, :] > chosen[:, :, None]).sum(-1)


def _check_finite(*computed: Tensor) -> None:
    """Refuse results, `[n_rows, ...]` each, that edits have driven out of the range of numbers.

    Raises:
        InterventionError: some are not finite; the rows are named.
    """
    rows = sorted(
        {row for values in computed for row in (~values.isfinite()).flatten(1).any(1).nonzero()[:, 0].tolist()}
    )
    if rows:
        raise InterventionError(
            f"with the edits of row {', '.join(map(str, rows[:5]))}{', ...' if len(rows) > 5 else ''} the model computes "
            "numbers that are not finite; choose smaller values"
        )


def check_settings(settings: InterventionSettings, batch_size: int, n_layers: int) -> None:
    """Refuse a batch size or constrained layers that cannot be.

    Raises:
        SettingError: a batch size below 1, or a layer that does not exist.
    """
    if batch_size < 1:
        raise SettingError(f"batch_size must be at least 1, found {batch_size}")
    outside = [layer for layer in settings.constrained_layers if not 0 <= layer < n_layers]
    if outside:
        raise SettingError(f"constrained_layers {outside} do not exist; the model has layers 0 to {n_layers - 1}")


def rows_in_memory(clean: CleanRun, last_only: bool) -> int:
    """Rows that fit under `MAX_BATCH_NUMBERS`: logits and attention are the widest things alive at once."""
    heads = clean.patterns[0].shape[0] if clean.patterns else 1
    vocabulary = clean.model.vocab_size * (1 if last_only else clean.n_pos)
    # 4 d_model stands for the MLP's hidden layer; each layer may also hold one buffer of pending decoder vectors
    stream = clean.n_pos * clean.model.d_model * (4 + clean.model.n_layers)
    per_row = vocabulary + stream + heads * clean.n_pos**2
    return max(1, MAX_BATCH_NUMBERS // per_row)
