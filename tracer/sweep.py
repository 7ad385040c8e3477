"""Edge rows by one sweep over the layers from top to bottom: plain matrix products, no autograd.

A target is a covector on the residual stream at one layer and position. The sweep carries many targets at once
downwards, `G_pre = G_mid + (pattern^T (G_mid W_O)) W_V`; targets join at their own layer, and at every write point the
dot products with what was written there are the edges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tracescribe.tracer.local_replacement import FrozenLayer, LocalReplacement

SWEEP_BYTES = 256 << 20
"""Bound on one block of covectors `[n_target, n_pos, d_model]`; a handful of such blocks are alive at a time."""


@dataclass(frozen=True, eq=False)
class Targets:
    """Covectors to be pulled down.

    Attributes:
        layer: the covector sits on the residual stream between attention and MLP of this layer; `n_layers` for the
            final residual stream, `[n]`.
        position: `[n]`.
        covector: `[n, d_model]`.
    """

    layer: Tensor
    position: Tensor
    covector: Tensor

    def __len__(self) -> int:
        return len(self.layer)

    def take(self, index: Tensor) -> Targets:
        """The chosen targets, in the order given."""
        return Targets(self.layer[index], self.position[index], self.covector[index])


@dataclass(frozen=True, eq=False)
class EdgeRows:
    """Edges into a block of targets.

    Attributes:
        index: which targets of the call these are, `[n_block]`.
        weight: `[n_block, n_source]`; sources are the active features, errors (layer-major), and tokens.
        constant: what reaches each target from no source, `[n_block]`.
    """

    index: Tensor
    weight: Tensor
    constant: Tensor


@dataclass(frozen=True, eq=False)
class Columns:
    """Where sources stand while edges accumulate: by position, and at each position a constant, then layer by layer
    its features and its error.

    What one position writes into one layer then is a leading slice of that position's columns, and all its edges take
    one matrix product into a view, without gathering.

    Attributes:
        first: first column of each position, and one past the last, `[n_pos + 1]`.
        source: column of each source: active features, errors (layer-major), tokens, `[n_source]`.
        written: per layer written to and position, the vectors of the leading columns, `[n_leading, d_model]`.
    """

    first: Tensor
    source: Tensor
    written: list[list[Tensor]]


@dataclass(frozen=True, eq=False)
class Sweep:
    """Pulls covectors down through one local replacement model."""

    replacement: LocalReplacement

    @property
    def n_sources(self) -> int:
        """Active features, errors and tokens."""
        r = self.replacement
        return len(r.active) + (r.n_layers + 1) * r.n_pos

    def rows(self, targets: Targets, batch_size: int) -> Iterator[EdgeRows]:
        """Edge rows of all targets, in blocks of at most `batch_size`, in no particular order."""
        r = self.replacement
        if not len(targets):
            return
        fitting = SWEEP_BYTES // (4 * r.n_pos * r.embeddings.shape[1])
        # by position, so that a block's positions can be cut off early; then by layer
        order = torch.argsort(targets.position * (r.n_layers + 1) + r.n_layers - targets.layer, stable=True)
        for index in torch.split(order, max(1, min(batch_size, fitting))):
            index = index[torch.argsort(targets.layer[index], descending=True, stable=True)]
            yield self._block(index, targets.take(index))

    @cached_property
    def columns(self) -> Columns:
        """The layout of sources, and what they write."""
        r = self.replacement
        layer, position = r.active[:, 0], r.active[:, 1]
        n_features = torch.bincount(position * r.n_layers + layer, minlength=r.n_pos * r.n_layers)
        n_features = n_features.view(r.n_pos, r.n_layers)
        size = 1 + (n_features + 1).sum(1)  # a constant, and for each layer its features and an error
        first = torch.cat([torch.zeros(1, dtype=torch.int64), size.cumsum(0)])
        error = first[:-1, None] + (n_features + 1).cumsum(1)  # [n_pos, n_layers]
        start = error - n_features  # of each layer's features
        # active features are sorted by layer, then position: number them within their group
        group = (layer * r.n_pos + position).contiguous()
        place = torch.arange(len(group)) - torch.searchsorted(group, group)
        tokens = first[-1] + torch.arange(r.n_pos)
        source = torch.cat([start[position, layer] + place, error.T.flatten(), tokens])
        written = [self._write_into(n, first, error, start[position, layer] + place) for n in range(r.n_layers)]
        return Columns(first, source, written)

    def _write_into(self, layer: int, first: Tensor, error: Tensor, feature: Tensor) -> list[Tensor]:
        """Vectors that each position's leading columns write into one layer."""
        r = self.replacement
        vectors = torch.zeros(int(first[-1]), r.embeddings.shape[1])
        vectors[first[:-1]] = r.constants[layer]
        vectors[error[:, layer]] = r.errors[layer]
        stop = 0
        for read, decoders in enumerate(r.decoders[: layer + 1]):
            begin, stop = stop, stop + len(decoders)
            vectors[feature[begin:stop]] = decoders[:, layer - read]
        lead = error[:, layer] + 1
        return [vectors[a:b].clone() for a, b in zip(first[:-1].tolist(), lead.tolist(), strict=True)]

    def _block(self, index: Tensor, targets: Targets) -> EdgeRows:
        """Edges into a block of targets, which come top layer first."""
        r, columns, n = self.replacement, self.columns, len(targets)
        n_pos = int(targets.position.max()) + 1  # nothing reads later positions
        n_columns = int(columns.first[-1])
        sums = torch.zeros(n, n_columns + r.n_pos)
        # rows join the sweep at their own layer; until then they wait with their covector in place
        pulled = torch.zeros(n, n_pos, targets.covector.shape[1])
        pulled[torch.arange(n), targets.position] = targets.covector
        m = int((targets.layer == r.n_layers).sum())
        offset = torch.zeros(n)
        first = columns.first[: n_pos + 1].tolist()
        for layer in reversed(range(r.n_layers)):
            if m:
                for position, vectors in enumerate(columns.written[layer][:n_pos]):
                    start = first[position]
                    sums[:m, start : start + len(vectors)].addmm_(pulled[:m, position], vectors.T)
            joined = m + int((targets.layer == layer).sum())
            if (constant := r.layers[layer].attention_constant) is not None:
                offset[:joined] += pulled[:joined].sum(1) @ constant
            values = [
                _values(r.layers[layer], pulled[:m]),
                _fresh_values(r.layers[layer], targets.take(torch.arange(m, joined)), n_pos),
            ]
            m = joined
            if layer:
                flat = pulled.view(-1, pulled.shape[2])
                for part, begin in zip(values, (0, m - len(values[1])), strict=True):
                    rows = flat[begin * n_pos : (begin + len(part)) * n_pos]
                    rows.addmm_(part.flatten(0, 1), r.layers[layer].v_weight)
            else:  # cheaper to bring the tokens up than the covectors down
                tokens = r.embeddings[:n_pos]
                into = sums[:, n_columns : n_columns + n_pos]
                into += torch.einsum("mpd,pd->mp", pulled, tokens)
                into += torch.einsum("mpe,pe->mp", torch.cat(values), tokens @ r.layers[0].v_weight.T)
        constant = offset + sums[:, columns.first[:-1]].sum(1)
        return EdgeRows(index, sums.index_select(1, columns.source), constant)


def _values(layer: FrozenLayer, pulled: Tensor) -> Tensor:
    """Covectors on the value vectors, from `[n, n_pos, d_model]` to `[n, n_pos, n_kv * d_head]`."""
    n_pos = pulled.shape[1]
    pattern = layer.pattern[:, :, :n_pos, :n_pos]
    heads = torch.unflatten(pulled @ layer.o_weight, -1, (*pattern.shape[:2], -1))
    return torch.einsum("gjqk,rqgje->rkge", pattern, heads).flatten(2)


def _fresh_values(layer: FrozenLayer, fresh: Targets, n_pos: int) -> Tensor:
    """`_values` of covectors that are non-zero at one position alone: only that position has to be crossed."""
    pattern = layer.pattern[:, :, fresh.position, :n_pos]
    heads = torch.unflatten(fresh.covector @ layer.o_weight, -1, (*pattern.shape[:2], -1))
    return torch.einsum("gjrk,rgje->rkge", pattern, heads).flatten(2)
