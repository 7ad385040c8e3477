"""Edge rows by one sweep over the layers from top to bottom: plain matrix products, no autograd.

A target is a covector on the residual stream at one layer and position. The sweep carries many targets at once
downwards, `G_pre = G_mid + (pattern^T (G_mid W_O)) W_V`; targets join at their own layer, and at every write point the
dot products with what was written there are the edges.
"""

from __future__ import annotations

import itertools
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
class Sweep:
    """Pulls covectors down through one local replacement model.

    Within, feature columns are ordered by position first: what the features of one position write into one layer is
    then a contiguous slice, and its edges accumulate by one matrix product without gathering.
    """

    replacement: LocalReplacement

    @property
    def n_sources(self) -> int:
        """Active features, errors and tokens."""
        r = self.replacement
        return len(r.active) + (r.n_layers + 1) * r.n_pos

    def rows(self, targets: Targets, batch_size: int) -> Iterator[EdgeRows]:
        """Edge rows of all targets, in blocks of at most `batch_size`, in no particular order."""
        r = self.replacement
        fitting = SWEEP_BYTES // (4 * r.n_pos * r.embeddings.shape[1])
        # by position, so that a block's positions can be cut off early; then top layer first
        order = torch.argsort(targets.position * (r.n_layers + 1) + r.n_layers - targets.layer, stable=True)
        for index in torch.split(order, max(1, min(batch_size, fitting))):
            weight, constant = self._block(targets.take(index))
            yield EdgeRows(index, weight, constant)

    @cached_property
    def _order(self) -> Tensor:
        """Active features by position, then layer: indices into `active`."""
        r = self.replacement
        return torch.argsort(r.active[:, 1] * r.n_layers + r.active[:, 0], stable=True)

    @cached_property
    def _place(self) -> Tensor:
        """Where each active feature stands in `_order`."""
        return torch.argsort(self._order)

    @cached_property
    def _written(self) -> list[list[tuple[int, Tensor]]]:
        """Per layer written to and position: first column, and the vectors `[n_column, d_model]` written there."""
        r = self.replacement
        layer_of, position_of = r.active[self._order, 0], r.active[self._order, 1]
        start_of_layer = torch.searchsorted(r.active[:, 0].contiguous(), torch.arange(r.n_layers))
        local = self._order - start_of_layer[layer_of] if len(self._order) else self._order
        bounds = torch.searchsorted(position_of.contiguous(), torch.arange(r.n_pos + 1)).tolist()
        buckets: list[list[tuple[int, Tensor]]] = [[] for _ in range(r.n_layers)]
        for start, stop in itertools.pairwise(bounds):
            by_layer = torch.bincount(layer_of[start:stop], minlength=r.n_layers).tolist()
            parts = [r.decoders[n][rows] for n, rows in enumerate(torch.split(local[start:stop], by_layer))]
            for n, bucket in enumerate(buckets):
                bucket.append((start, torch.cat([parts[read][:, n - read] for read in range(n + 1)])))
        return buckets

    def _block(self, targets: Targets) -> tuple[Tensor, Tensor]:
        """Edge weights `[n, n_sources]` and constants `[n]` of one block."""
        r, n, n_active = self.replacement, len(targets), len(self.replacement.active)
        n_pos = int(targets.position.max()) + 1  # nothing reads later positions
        sums = torch.zeros(self.n_sources, n)
        constant = torch.zeros(n)
        joined = (targets.layer == r.n_layers).nonzero()[:, 0]
        pulled = _spread(targets.take(joined), n_pos)
        for layer in reversed(range(r.n_layers)):
            m = len(joined)
            if m:
                self._collect(layer, pulled, sums[:, :m])
                constant[:m] += torch.einsum("pd,mpd->m", r.constants[layer, :n_pos], pulled)
            fresh = (targets.layer == layer).nonzero()[:, 0]
            values = _values(r.layers[layer], pulled, targets.take(fresh))
            pulled = torch.cat([pulled, _spread(targets.take(fresh), n_pos)])
            joined = torch.cat([joined, fresh])
            constant[: len(joined)] += pulled.sum(1) @ r.layers[layer].attention_constant
            if layer:
                pulled += values @ r.layers[layer].v_weight
            else:  # cheaper to bring the tokens up than the covectors down
                tokens = r.embeddings[:n_pos]
                first = n_active + r.n_layers * r.n_pos
                sums[first : first + n_pos] = torch.einsum("mpd,pd->pm", pulled, tokens)
                sums[first : first + n_pos] += torch.einsum("mpe,pe->pm", values, tokens @ r.layers[0].v_weight.T)
        sums[:n_active] = sums[self._place]
        # columns joined top layer first; give the block's own order back
        weight, ordered = torch.empty(n, self.n_sources), torch.empty(n)
        weight[joined], ordered[joined] = sums.T, constant
        return weight, ordered

    def _collect(self, layer: int, pulled: Tensor, sums: Tensor) -> None:
        """Add the edges from everything written into one layer to `sums` `[n_sources, m]`."""
        r, n_pos = self.replacement, pulled.shape[1]
        for position, (start, vectors) in enumerate(self._written[layer][:n_pos]):
            if len(vectors):
                sums[start : start + len(vectors)].addmm_(vectors, pulled[:, position].T)
        first = len(r.active) + layer * r.n_pos
        sums[first : first + n_pos] = torch.einsum("pd,mpd->pm", r.errors[layer, :n_pos], pulled)


def _spread(targets: Targets, n_pos: int) -> Tensor:
    """Covectors at their own position of an otherwise empty `[n, n_pos, d_model]`."""
    spread = torch.zeros(len(targets), n_pos, targets.covector.shape[1])
    spread[torch.arange(len(targets)), targets.position] = targets.covector
    return spread


def _values(layer: FrozenLayer, pulled: Tensor, fresh: Targets) -> Tensor:
    """Covectors on the value vectors of every position, `[n_pulled + n_fresh, n_pos, n_kv * d_head]`."""
    n_pos = pulled.shape[1]
    pattern = layer.pattern[:, :, :n_pos, :n_pos]
    heads = torch.unflatten(pulled @ layer.o_weight, -1, (*pattern.shape[:2], -1))
    old = torch.einsum("gjqk,rqgje->rkge", pattern, heads)
    # a fresh target is non-zero at one position alone: its crossing needs that position only
    heads = torch.unflatten(fresh.covector @ layer.o_weight, -1, (*pattern.shape[:2], -1))
    new = torch.einsum("gjrk,rgje->rkge", pattern[:, :, fresh.position], heads)
    return torch.cat([old, new]).flatten(2)
