"""A second implementation of interventions: one row at a time, whole prompts, hooks on Hugging Face's own modules.

It shares nothing with the tracer: no adapter, no cache, no batch, no compiled edits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from tests.tracer.oracle_passes import (
    CleanPass,
    Parts,
    _attend,
    _exact_norm,
    _frozen_patterns,
    _removed,
    _replaced_attention,
    _replaced_forward,
    read,
    record,
)
from tests.tracer.oracle_transcoders import OracleTranscoders

Places = Mapping[tuple[int, int, int], float]
"""Numbers by layer, position and feature."""


@dataclass(frozen=True)
class OracleEdits:
    """What is done at once.

    Attributes:
        values: activations to set.
        errors: factor of the error of a layer and position.
        streams: vectors added to the stream that enters a layer, by layer and position.
    """

    values: Places = field(default_factory=dict)
    errors: Mapping[tuple[int, int], float] = field(default_factory=dict)
    streams: Mapping[tuple[int, int], Tensor] = field(default_factory=dict)


@torch.no_grad()
def edited_logits(
    hf: nn.Module,
    transcoders: OracleTranscoders,
    tokens: Tensor,
    edits: OracleEdits,
    *,
    frozen_attention: bool = False,
    clamped: Collection[int] = (),
    zero_positions: int = 1,
) -> Tensor:
    """Logits of an edited run, `[n_pos, vocab_size]`.

    Args:
        hf: opened by `transformers` alone, in float64.
        transcoders: read from files by the oracle.
        tokens: `[n_pos]`.
        edits: what is done.
        frozen_attention: keep the clean patterns.
        clamped: layers whose write point keeps its clean value; edits then land only there, from clean activations.
        zero_positions: leading positions at which no feature counts as active.
    """
    parts = Parts(hf, transcoders.writes)
    clean = record(hf, parts, tokens)
    readings = [read(norm, clean.norm_inputs[norm], transcoders.reads) for norm in parts.mlp_norms]
    activations = [_activations(transcoders, layer, x, zero_positions) for layer, x in enumerate(readings)]
    errors = _errors(transcoders, clean, readings, activations, zero_positions)
    waiting = [torch.zeros_like(written) for written in clean.written]
    mids: dict[int, Tensor] = {}

    def enter(layer: int) -> Any:
        def act(module: nn.Module, args: tuple[Tensor, ...]) -> Any:
            changed = args[0].clone()
            for (at, position), vector in edits.streams.items():
                if at == layer:
                    changed[0, position] += vector
            return (changed, *args[1:])

        return act

    def keep(layer: int) -> Any:
        def act(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            mids[layer] = args[0][0]

        return act

    def write(layer: int) -> Any:
        def act(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            reading = read(parts.mlp_norms[layer], mids[layer], transcoders.reads)
            found = activations[layer] if clamped else _activations(transcoders, layer, reading, zero_positions)
            for (at, position, feature), value in edits.values.items():
                if at == layer:
                    change = value - found[position, feature]
                    for offset, vector in enumerate(transcoders.layers[layer].decoder[feature]):
                        waiting[layer + offset][position] += change * vector
            for (at, position), scale in edits.errors.items():
                if at == layer:
                    waiting[layer][position] += (scale - 1.0) * errors[layer][position]
            result = output[0]
            if layer in clamped:
                result, skip = clean.written[layer], transcoders.layers[layer].skip
                if skip is not None:
                    result = result + (reading - readings[layer]) @ skip.T
            return (result + waiting[layer] if not clamped or layer in clamped else result)[None]

        return act

    with ExitStack() as stack:
        for norm in (*parts.norms, *parts.head_norms):
            stack.enter_context(_replaced_forward(norm, _exact_norm(norm)))
        frozen = frozen_attention or bool(clamped)
        stack.enter_context(_replaced_attention(parts, _frozen_patterns(parts, clean.patterns) if frozen else _attend))
        for layer, block in enumerate(parts.layers):
            stack.enter_context(_removed(block.register_forward_pre_hook(enter(layer))))
            stack.enter_context(_removed(cast(Any, parts.mlp_norms[layer]).register_forward_hook(keep(layer))))
            stack.enter_context(_removed(cast(Any, parts.writers[layer]).register_forward_hook(write(layer))))
        return cast(Tensor, cast(Any, hf)(input_ids=tokens[None], use_cache=False).logits[0])


def _activations(transcoders: OracleTranscoders, layer: int, x: Tensor, zero_positions: int) -> Tensor:
    found = transcoders.layers[layer].encode(x)[1].clone()
    found[:zero_positions] = 0.0
    return found


def _errors(
    transcoders: OracleTranscoders,
    clean: CleanPass,
    readings: list[Tensor],
    activations: list[Tensor],
    zero_positions: int,
) -> list[Tensor]:
    """What each layer wrote beyond its reconstruction, `[n_pos, d_model]` each."""
    errors = []
    for layer, written in enumerate(clean.written):
        own = transcoders.layers[layer]
        explained = own.decoder_bias + (0.0 if own.skip is None else readings[layer] @ own.skip.T)
        for source, found in enumerate(activations[: layer + 1]):
            decoder = transcoders.layers[source].decoder
            if layer - source < decoder.shape[1]:
                explained = explained + found @ decoder[:, layer - source]
        error = written - explained
        error[:zero_positions] = 0.0
        errors.append(error)
    return errors
