"""Rows of edits in batches: which rows share a forward pass, and what each pass may leave to the clean run.

Attention is causal and blocks come one after another, so a row changes nothing before its first edited position and
nothing below its first edited layer. A pass computes neither: it resumes from the clean run's cache and residual stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tracescribe.tracer.clean_run import CleanRun
from tracescribe.tracer.edit_plan import EditPlan
from tracescribe.tracer.edited_run import EditedPass
from tracescribe.tracer.edits import InterventionSettings
from tracescribe.tracer.graph import FeatureNode
from tracescribe.tracer.held_parts import Held

PASS_COST = 100
"""What a forward pass costs besides its tokens, in tokens through one block: measured on the embedded model."""
WEIGHT_COST = 16
"""What reading a block's weights costs, in tokens through it: below about so many, a pass waits for memory."""


def spans(plan: EditPlan, size: int, n_pos: int, n_layers: int) -> list[tuple[int, int]]:
    """Batches of the sorted rows: cut in two, and those again, wherever two passes cost less than one.

    Args:
        plan: compiled rows.
        size: most rows in a batch.
        n_pos: prompt tokens.
        n_layers: blocks of the model.
    """
    blocks, positions = plan.first_block.numpy(), plan.first_position.numpy()

    def costs(start: int, stop: int, earliest: NDArray[np.int64], n_rows: NDArray[np.int64]) -> NDArray[np.int64]:
        layers = n_layers - blocks[start:stop]
        return np.asarray(PASS_COST + layers * (n_rows * (n_pos - earliest) + WEIGHT_COST), dtype=np.int64)

    def cut(start: int, stop: int) -> list[tuple[int, int]]:
        here, counts = positions[start:stop], np.arange(1, stop - start + 1)
        # entry i: the rows up to i, all at the first one's block; and the rows from i on, at the block of row i
        below = costs(start, start + 1, np.minimum.accumulate(here), counts)
        above = costs(start, stop, np.minimum.accumulate(here[::-1])[::-1], counts[::-1])
        together = below[:-1] + above[1:]
        if not len(together) or together.min() >= below[-1]:
            return [(at, min(at + size, stop)) for at in range(start, stop, size)]
        middle = start + 1 + int(together.argmin())
        return cut(start, middle) + cut(middle, stop)

    return cut(0, plan.n_rows)


def run_rows(
    clean: CleanRun,
    plan: EditPlan,
    settings: InterventionSettings,
    read: Sequence[FeatureNode],
    span: tuple[int, int],
    last_only: bool,
) -> tuple[Tensor, Tensor]:
    """Rows `span[0]` to `span[1] - 1` of a plan, as one forward pass over what they can change.

    Returns:
        Logits `[n_rows, 1 or n_pos, vocab_size]` and the activations read, `[n_rows, n_read]`.
    """
    n_rows = span[1] - span[0]
    first = first_computed(clean, plan, span)
    run = EditedPass(
        clean,
        plan.edits.part(span, (0, clean.n_pos)),
        Held.of(settings, clean.model.n_layers),
        first=first,
        n_rows=n_rows,
        zero_positions=clean.masked(settings.zero_positions),
        first_block=int(plan.first_block[slice(*span)].min()),
        read=read,
    )
    tokens = clean.tokens[first:].expand(n_rows, -1)
    logits = run.run(tokens, prefix_cache(clean, first, n_rows) if first else None, last_only)
    if first and not last_only:
        logits = torch.cat([clean.logits[:first].expand(n_rows, -1, -1), logits], dim=1)
    return logits, run.activations


def first_computed(clean: CleanRun, plan: EditPlan, span: tuple[int, int]) -> int:
    """The first position that a pass over some rows must compute."""
    first = int(plan.first_position[slice(*span)].min())
    return min(first, clean.n_pos - 1) if clean.keys else 0


def prefix_cache(clean: CleanRun, n_positions: int, n_rows: int) -> Any:
    """The clean run's keys and values of the first positions, for every row."""
    from transformers import DynamicCache

    cache = DynamicCache()
    for layer in range(clean.model.n_layers if n_positions else 0):
        keys, values = (part[layer][:, :n_positions].expand(n_rows, -1, -1, -1) for part in (clean.keys, clean.values))
        cache.update(keys, values, layer)
    return cache
