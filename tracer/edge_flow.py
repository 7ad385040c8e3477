"""One edge as a flow through the frozen model: what passes each layer, head and position, exactly.

With attention patterns and norm denominators frozen an edge is a sum over paths: at every layer between its ends the
signal stays in the residual stream, takes the transcoder's skip path, or goes through one attention head to a later
position. The signal is carried upwards from the source and the covector downwards from the target; their product at a
place is the part of the edge that passes there. Signals are kept apart by the number of heads behind them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tracescribe.tracer.architectures.base import MLP_IN, RESID_MID
from tracescribe.tracer.edge_ends import EdgeSource, EdgeTarget
from tracescribe.tracer.local_replacement import FrozenLayer, LocalReplacement, SkipPath

HOP_BINS = 8
"""Numbers of heads on a path that are told apart: 0 to 6, and 7 or more."""


@dataclass(frozen=True, eq=False)
class Span:
    """The part of the frozen model between the ends of one edge: positions `first` to `last`, layers up to `top`.

    Attributes:
        replacement: the frozen prompt.
        source, target: the ends.
    """

    replacement: LocalReplacement
    source: EdgeSource
    target: EdgeTarget

    @property
    def first(self) -> int:
        """Position of the source."""
        return self.source.position

    @property
    def n_pos(self) -> int:
        """Positions from the source to the target."""
        return self.target.position - self.source.position + 1

    @property
    def bottom(self) -> int:
        """Lowest layer whose attention a path may cross."""
        return min(layer for layer, _ in self.source.writes) + 1

    @property
    def attention_layers(self) -> range:
        """Layers whose attention a path may cross, ascending."""
        return range(self.bottom, min(self.target.layer + 1, self.replacement.n_layers))

    @property
    def writes(self) -> list[tuple[int, Tensor]]:
        """Writes of the source that lie below the target."""
        return [(layer, vector) for layer, vector in self.source.writes if layer < self.target.layer]

    def pattern(self, layer: int) -> Tensor:
        """Frozen pattern of one layer within the span, `[n_heads, n_query, n_key]`."""
        pattern = self.replacement.layers[layer].pattern.flatten(0, 1)
        stop = self.target.position + 1
        return pattern[:, self.first : stop, self.first : stop]

    def heads_of(self, layer: int, covectors: Tensor) -> Tensor:
        """Covectors behind an attention as its heads see them: `[..., d_model]` to `[..., n_heads, d_head]`."""
        frozen = self.replacement.layers[layer]
        return torch.unflatten(covectors @ frozen.o_weight, -1, (n_heads(frozen), -1))

    def values_of(self, layer: int, signals: Tensor) -> Tensor:
        """What heads read of signals: `[..., d_model]` to `[..., n_heads, d_head]`."""
        frozen = self.replacement.layers[layer]
        n_kv, n_group = frozen.pattern.shape[:2]
        values = torch.unflatten(signals @ frozen.v_weight.T, -1, (n_kv, -1))
        return values.repeat_interleave(n_group, -2)

    def through_heads(self, layer: int, heads: Tensor) -> Tensor:
        """Covectors on head outputs, each pulled to the stream before the attention by its own head alone:
        `[..., n_heads, d_head]` to `[..., n_heads, d_model]`, without the pattern."""
        return torch.einsum("...he,hed->...hd", heads, self.value_weights(layer))

    def out_of_heads(self, layer: int, values: Tensor) -> Tensor:
        """What each head alone writes: `[..., n_heads, d_head]` to `[..., n_heads, d_model]`, without the pattern."""
        frozen = self.replacement.layers[layer]
        weight = torch.unflatten(frozen.o_weight, 1, (n_heads(frozen), -1))
        return torch.einsum("...he,dhe->...hd", values, weight)

    def value_weights(self, layer: int) -> Tensor:
        """Value weights by query head, `[n_heads, d_head, d_model]`."""
        frozen = self.replacement.layers[layer]
        n_kv, n_group = frozen.pattern.shape[:2]
        return torch.unflatten(frozen.v_weight, 0, (n_kv, -1)).repeat_interleave(n_group, 0)

    def skip(self, layer: int) -> SkipPath | None:
        """The transcoder's skip path of one layer."""
        return self.replacement.layers[layer].skip

    @property
    def positions(self) -> Tensor:
        """Positions of the prompt within the span, `[n_positions]`."""
        return torch.arange(self.first, self.target.position + 1, device=self.target.covector.device)


@dataclass(frozen=True, eq=False)
class EdgeFlow:
    """How one edge flows. Positions count from the source's; numbers are parts of the edge, signed.

    Attributes:
        total: the edge.
        by_write: layer written to (`EMBEDDING_LAYER` for the bottom of the stream) and its part.
        by_hops: part of the paths with so many heads, the last bin with at least so many, `[HOP_BINS]`.
        heads: by layer whose attention lies between the ends: part of the paths through each head, by the number of
            heads before it, `[n_heads, HOP_BINS]`.
        skips: by layer with a skip path between the ends: part of the paths through it.
        moves: by layer: part that its heads carry between positions, `[n_query, n_key]`.
        boundaries: by layer: what passes at each position below its attention, `[n_positions]`.
    """

    total: float
    by_write: tuple[tuple[int, float], ...]
    by_hops: Tensor
    heads: dict[int, Tensor]
    skips: dict[int, float]
    moves: dict[int, Tensor]
    boundaries: dict[int, Tensor]


def n_heads(layer: FrozenLayer) -> int:
    """Query heads."""
    return int(layer.pattern.shape[0] * layer.pattern.shape[1])


@torch.no_grad()
def edge_flow(span: Span) -> EdgeFlow:
    """Split one edge by write layer, heads, skip paths, hops and positions."""
    mid, post = _pull(span)
    position = 0  # the source's, within the span
    vectors = dict(span.writes)
    by_write, signal = list[tuple[int, float]](), _silence(span)
    heads, skips, moves, boundaries = dict[int, Tensor](), dict[int, float](), dict[int, Tensor](), dict[int, Tensor]()
    by_hops = signal.new_zeros(HOP_BINS)

    def write(layer: int) -> None:
        if layer in vectors:
            by_write.append((layer, float(post[layer][position] @ vectors[layer])))
            signal[0, position] += vectors[layer]

    write(span.bottom - 1)
    for layer in span.attention_layers:
        # the covector below this attention is what the layer beneath writes to
        boundaries[layer] = torch.einsum("npd,pd->p", signal, post[layer - 1])
        values, asked = span.values_of(layer, signal), span.heads_of(layer, mid[layer])
        pattern = span.pattern(layer)
        heads[layer] = torch.einsum("hqk,nkhe,qhe->hn", pattern, values, asked)
        moves[layer] = torch.einsum("hqk,khe,qhe->qk", pattern, values.sum(0), asked)
        mixed = torch.einsum("hqk,nkhe->nqhe", pattern, values).flatten(2)
        moved = mixed @ span.replacement.layers[layer].o_weight.T
        signal[1:] += moved[:-1]
        signal[-1] += moved[-1]
        if layer == span.target.layer:
            break
        if (skip := span.skip(layer)) is not None:
            skipped = push_skip(skip, signal, span.positions)
            skips[layer] = float(torch.einsum("npd,pd->", skipped, post[layer]))
            signal += skipped
        write(layer)
    by_hops += signal[:, -1] @ span.target.covector
    return EdgeFlow(float(by_hops.sum()), tuple(by_write), by_hops, heads, skips, moves, boundaries)


def push_skip(skip: SkipPath, signal: Tensor, positions: Tensor) -> Tensor:
    """What a skip path writes into the residual stream for a signal before the MLP.

    Args:
        skip: the path.
        signal: `[..., n, d_model]`.
        positions: of the prompt, `[n]`.
    """
    norm, seen = skip.block.mlp_norm, signal
    if skip.reads != RESID_MID:
        seen = norm.centre(signal) / skip.denominator[positions]
    if skip.reads == MLP_IN:
        seen = seen * norm.gain.to(signal.dtype)
    written = seen @ skip.weight.to(signal.dtype).T
    return written if skip.write_gain is None else written * skip.write_gain[positions]


def pull_skip(skip: SkipPath, covectors: Tensor, positions: Tensor) -> Tensor:
    """What a skip path adds to covectors on their way down, the transpose of `push_skip`.

    Args:
        skip: the path.
        covectors: on the residual stream behind the MLP, `[n, d_model]`.
        positions: of the prompt, `[n]`.
    """
    written = covectors if skip.write_gain is None else covectors * skip.write_gain[positions]
    return skip.block.read_covector(skip.reads, written @ skip.weight.to(written.dtype), skip.denominator[positions])


def _silence(span: Span) -> Tensor:
    """No signal: `[HOP_BINS, n_positions, d_model]`."""
    return span.target.covector.new_zeros(HOP_BINS, span.n_pos, len(span.target.covector))


def _pull(span: Span) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """The target's covector, pulled down.

    Returns:
        By layer, `[n_positions, d_model]` each: on the stream between attention and MLP; behind the MLP (the bottom of
        the stream is behind `EMBEDDING_LAYER`).
    """
    covector = span.target.covector.new_zeros(span.n_pos, len(span.target.covector))
    covector[-1] = span.target.covector
    mid, post = dict[int, Tensor](), dict[int, Tensor]()
    if span.target.layer == span.replacement.n_layers:
        post[span.target.layer - 1] = covector
    for layer in reversed(span.attention_layers):
        if layer < span.target.layer:
            skip = span.skip(layer)
            covector = covector if skip is None else covector + pull_skip(skip, covector, span.positions)
        mid[layer] = covector
        heads = torch.einsum("hqk,qhe->khe", span.pattern(layer), span.heads_of(layer, covector))
        covector = covector + heads.flatten(1) @ span.value_weights(layer).flatten(0, 1)
        post[layer - 1] = covector
    return mid, post
