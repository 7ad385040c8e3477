"""Edge rows by one sweep over the layers from top to bottom: plain matrix products, no autograd.

A target is a covector on the residual stream at one layer and position. The sweep carries many targets at once
downwards, `G_pre = G_mid + (pattern^T (G_mid W_O)) W_V`; targets join at their own layer, and at every write point the
dot products with what was written there are the edges. Three things keep it near the machine's matrix-product speed:

- covectors lie position by position, so that no product needs a copy in another order;
- a target that has just joined stands at one position, so that its first crossing of an attention is the product of a
  pattern row and one vector per head, of rank `n_heads`;
- tokens are the only sources below the first layer's MLP: they are brought up through its attention once per prompt
  (unless the prompt is so long that this takes much memory), and no covector is brought down through it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import torch
from torch import Tensor

from tracescribe.tracer.local_replacement import FrozenLayer, LocalReplacement
from tracescribe.tracer.source_columns import SourceColumns, lay_out

SWEEP_BYTES = 256 << 20
"""Bound on one block of covectors `[n_pos, n_target, d_model]` and what is computed from it."""

PATTERN_TILE = 64
"""Positions per tile of an attention pattern; tiles that hold only zeros (later positions, beyond a sliding window) are
left out."""

TOKEN_MAP_BYTES = 64 << 20
"""Bound on the tokens' images behind the first attention; where they take more, covectors are brought down to the values
of that attention instead."""


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
    """Edges into a block of targets, top layer first, then by position.

    Attributes:
        index: which targets of the call these are, `[n_block]`.
        layer, position: of those targets, `[n_block]`.
        sums: edges by column, `[n_block, n_columns + n_pos]`; only valid until the next block is asked for.
        column: column of each source: active features, errors (layer-major), tokens, `[n_source]`.
        constant: what reaches each target from no source, `[n_block]`.
    """

    index: Tensor
    layer: Tensor
    position: Tensor
    sums: Tensor
    column: Tensor
    constant: Tensor


@dataclass(frozen=True, eq=False)
class Sweep:
    """Pulls covectors down through one local replacement model."""

    replacement: LocalReplacement

    @property
    def n_sources(self) -> int:
        """Active features, errors and tokens."""
        r = self.replacement
        return len(r.active) + (r.n_layers + 1) * r.n_pos

    @cached_property
    def columns(self) -> SourceColumns:
        """Where sources stand, and what they write."""
        return lay_out(self.replacement)

    def fitting_batch(self, n_bytes: int = SWEEP_BYTES) -> int:
        """Targets per block whose covectors and products stay within so many bytes; at least 1."""
        return max(1, n_bytes // self.bytes_per_target())

    def bytes_per_target(self) -> int:
        """Memory that one target of a block takes."""
        r = self.replacement
        layer = r.layers[0]
        per_position = r.embeddings.shape[1] * (2 if layer.skip else 1) + layer.o_weight.shape[1] + len(layer.v_weight)
        return int(r.embeddings.element_size()) * (r.n_pos * per_position + 2 * self.n_sources)

    def rows(self, targets: Targets, batch_size: int) -> Iterator[EdgeRows]:
        """Edge rows of all targets, in blocks of at most `batch_size`, in no particular order."""
        r = self.replacement
        if not len(targets):
            return
        size = max(1, min(batch_size, self.fitting_batch(), len(targets)))
        workspace = _Workspace.of(self, size)
        # by position, so that a block's positions can be cut off early; then by layer
        order = torch.argsort(targets.position * (r.n_layers + 1) + r.n_layers - targets.layer, stable=True)
        for index in torch.split(order, size):
            index = index[torch.argsort(targets.layer[index], descending=True, stable=True)]
            yield _Block(self, targets.take(index), workspace).run(index)

    @cached_property
    def column(self) -> Tensor:
        """Column of each source: active features, errors (layer-major), tokens, `[n_source]`."""
        columns, n_pos = self.columns, self.replacement.n_pos
        tokens = torch.arange(n_pos, device=columns.source.device) + columns.n_columns
        return torch.cat([columns.source, tokens])

    @cached_property
    def weights(self) -> tuple[_LayerWeights, ...]:
        """Each layer's maps in the order in which blocks use them."""
        return tuple(_LayerWeights.of(layer) for layer in self.replacement.layers)

    @cached_property
    def token_map(self) -> _TokenMap:
        """Tokens behind the first attention."""
        return _TokenMap(self.replacement)


@dataclass(frozen=True, eq=False)
class _LayerWeights:
    """One layer's maps.

    Attributes:
        o: `[n_heads * d_head, d_model]`.
        v: `[n_kv * d_head, d_model]`.
        v_by_head: `[n_kv, d_head, d_model]`.
        pattern: `[n_heads, n_key, n_query]`.
        tiles: for each tile of key positions, the query positions from which on, and before which, it holds anything.
    """

    o: Tensor
    v: Tensor
    v_by_head: Tensor
    pattern: Tensor
    tiles: tuple[tuple[slice, int, int], ...]

    @staticmethod
    def of(layer: FrozenLayer) -> _LayerWeights:
        pattern = layer.pattern.flatten(0, 1).transpose(1, 2).contiguous()
        reached = (pattern != 0).any(0)  # [n_key, n_query]
        tiles = []
        for start in range(0, len(reached), PATTERN_TILE):
            keys = slice(start, start + PATTERN_TILE)
            queries = reached[keys].any(0).nonzero()[:, 0]
            low, high = (int(queries[0]), int(queries[-1]) + 1) if len(queries) else (start, start)
            tiles.append((keys, low, high))
        n_kv = len(layer.pattern)
        return _LayerWeights(
            o=layer.o_weight.T.contiguous(),
            v=layer.v_weight,
            v_by_head=torch.unflatten(layer.v_weight, 0, (n_kv, -1)),
            pattern=pattern,
            tiles=tuple(tiles),
        )


class _TokenMap:
    """What each token adds to the residual stream behind the first attention, by position there.

    Attributes:
        embeddings: `[n_pos, d_model]`.
        values: value vectors of the tokens in the first attention, `[n_kv, d_head, n_pos]`.
        bottom: what constants beside the tokens add behind the first attention, `[n_pos, d_model]`, or None.
        keep: whether the images of all tokens at all positions fit into `TOKEN_MAP_BYTES`.
    """

    def __init__(self, replacement: LocalReplacement) -> None:
        r, layer = replacement, replacement.layers[0]
        self.embeddings = r.embeddings
        self.values = torch.unflatten(layer.v_weight @ r.embeddings.T, 0, (len(layer.pattern), -1))
        self.bottom: Tensor | None = None
        if r.bottom_constants is not None:
            by_head = _through_values(layer, r.bottom_constants)
            through = torch.einsum("hqk,khd->qd", layer.pattern.flatten(0, 1), by_head)
            self.bottom = r.bottom_constants + through
        n_numbers = r.n_pos * (r.n_pos + 1) // 2 * r.embeddings.shape[1]
        self.keep = n_numbers * r.embeddings.element_size() <= TOKEN_MAP_BYTES
        self._replacement = r

    @cached_property
    def images(self) -> tuple[Tensor, ...]:
        """For each position, the images there of the tokens up to it: `[d_model, position + 1]`."""
        layer = self._replacement.layers[0]
        by_head, pattern = _through_values(layer, self.embeddings), layer.pattern.flatten(0, 1)
        images = []
        for position, embedding in enumerate(self.embeddings):
            weight = pattern[:, position, : position + 1].T[:, None]  # [n_key, 1, n_heads]
            image = torch.bmm(weight, by_head[: position + 1])[:, 0]
            image[position] += embedding
            images.append(image.T.contiguous())
        return tuple(images)


def _through_values(layer: FrozenLayer, stream: Tensor) -> Tensor:
    """`W_O W_V` of each head on a residual stream `[n_pos, d_model]`: `[n_pos, n_heads, d_model]`."""
    n_kv, group = layer.pattern.shape[:2]
    values = torch.unflatten(stream @ layer.v_weight.T, 1, (n_kv, -1))
    out = torch.unflatten(layer.o_weight, 1, (n_kv, group, -1))
    return torch.einsum("kge,dgje->kgjd", values, out).flatten(1, 2)


@dataclass(frozen=True, eq=False)
class _Workspace:
    """Memory that all blocks of one call use in turn: fresh pages for each would cost more than some products."""

    sums: Tensor
    covectors: Tensor
    heads: Tensor
    values: Tensor

    @staticmethod
    def of(sweep: Sweep, size: int) -> _Workspace:
        r, layer = sweep.replacement, sweep.replacement.layers[0]

        def room(width: int) -> Tensor:
            return r.embeddings.new_empty(size * width)

        return _Workspace(
            sums=room(sweep.columns.n_columns + r.n_pos),
            covectors=room(r.n_pos * r.embeddings.shape[1]),
            heads=room(r.n_pos * layer.o_weight.shape[1]),
            values=room(r.n_pos * len(layer.v_weight)),
        )


class _Block:
    """Targets on their way down together; they come top layer first, so that those that have joined lead."""

    def __init__(self, sweep: Sweep, targets: Targets, workspace: _Workspace) -> None:
        r = sweep.replacement
        self.sweep, self.targets, self.workspace = sweep, targets, workspace
        self.replacement = r
        self.n = len(targets)
        self.n_pos = int(targets.position.max()) + 1  # nothing reads later positions
        n_columns = sweep.columns.n_columns + r.n_pos
        self.sums = workspace.sums[: self.n * n_columns].view(self.n, n_columns).zero_()
        # [n_pos, n_target, d_model]; a target's share is filled when it joins
        self.covectors = workspace.covectors[: self.n_pos * targets.covector.numel()].view(self.n_pos, self.n, -1)
        self.offset = targets.covector.new_zeros(self.n)
        self.joined = 0
        counts = torch.bincount(targets.layer, minlength=r.n_layers + 1)
        self.counts: list[int] = counts.tolist()
        self.positions: list[int] = targets.position.tolist()

    def run(self, index: Tensor) -> EdgeRows:
        """Pull all targets down to the tokens."""
        r = self.replacement
        self._join_outputs()
        for layer in reversed(range(r.n_layers)):
            if self.joined:
                self._read_writes(layer)
                self._skip(layer)
            self._read_attention_constant(layer)
            fresh = slice(self.joined, self.joined + self.counts[layer])
            if layer:
                if self.joined:
                    self._cross_attention(layer)
                self._join(layer, fresh)
                self.joined = fresh.stop
            else:
                self._read_tokens(fresh)
        constant = self.offset + self.sums[:, self.sweep.columns.constant].sum(1)
        return EdgeRows(index, self.targets.layer, self.targets.position, self.sums, self.sweep.column, constant)

    def _join_outputs(self) -> None:
        """Targets on the final residual stream."""
        n = self.counts[self.replacement.n_layers]
        if n:
            self.covectors[:, :n] = 0
            self.covectors[self.targets.position[:n], torch.arange(n, device=self.offset.device)] = (
                self.targets.covector[:n]
            )
            self.joined = n

    def _read_writes(self, layer: int) -> None:
        """Edges from all that was written at the write point of a layer."""
        m = self.joined
        for position, (start, vectors) in enumerate(self.sweep.columns.written[layer][: self.n_pos]):
            into = self.sums[:m, start : start + vectors.shape[1]]
            into.addmm_(self.covectors[position, :m], vectors)

    def _skip(self, layer: int) -> None:
        """Pull what has joined through the transcoder's skip path, in addition."""
        skip = self.replacement.layers[layer].skip
        if skip is not None:
            here = self.covectors[:, : self.joined]
            here += skip.pull(here)

    def _read_attention_constant(self, layer: int) -> None:
        """What attention biases add: for what has joined only where `source_columns` has not counted it."""
        frozen = self.replacement.layers[layer]
        constant = frozen.attention_constant
        if constant is None:
            return
        if frozen.skip is not None and self.joined:
            here = self.covectors[:, : self.joined]
            self.offset[: self.joined] += torch.bmm(here, constant[: self.n_pos, :, None]).sum((0, 2))
        fresh = slice(self.joined, self.joined + self.counts[layer])
        here = self.targets.covector[fresh]
        self.offset[fresh] += (here * constant[self.targets.position[fresh]]).sum(1)

    def _cross_attention(self, layer: int) -> None:
        """Pull what has joined through an attention and the norm before it."""
        values = self._onto_values(layer)
        here = self.covectors[:, : self.joined]
        here.baddbmm_(values.mT, self.sweep.weights[layer].v.expand(self.n_pos, -1, -1))

    def _onto_values(self, layer: int) -> Tensor:
        """What has joined as covectors on the value vectors of an attention, `[n_pos, n_kv * d_head, n_joined]`."""
        weights, m, n_pos = self.sweep.weights[layer], self.joined, self.n_pos
        n_heads, (n_kv, d_head) = len(weights.pattern), weights.v_by_head.shape[:2]
        heads = self.workspace.heads[: n_pos * len(weights.o) * m].view(n_pos, -1, m)
        torch.bmm(weights.o.expand(n_pos, -1, -1), self.covectors[:, :m].mT, out=heads)
        values = self.workspace.values[: n_pos * len(weights.v) * m].view(n_pos, -1, m)
        by_head, by_kv = heads.view(n_pos, n_heads, -1), values.view(n_pos, n_kv, d_head * m)
        group = n_heads // n_kv
        for keys, low, high in weights.tiles:
            keys, high = slice(keys.start, min(keys.stop, n_pos)), min(high, n_pos)
            if keys.start >= n_pos:
                break
            if low >= high:
                values[keys] = 0
                continue
            for head in range(n_heads):
                into = by_kv[keys, head // group]
                into.addmm_(weights.pattern[head, keys, low:high], by_head[low:high, head], beta=min(1, head % group))
        return values

    def _join(self, layer: int, fresh: slice) -> None:
        """Targets that read a layer: crossing its attention, each is a pattern row times one vector per head."""
        if fresh.start == fresh.stop:
            return
        weights, n_pos, d_model = self.sweep.weights[layer], self.n_pos, self.targets.covector.shape[1]
        n_heads, (n_kv, d_head) = len(weights.pattern), weights.v_by_head.shape[:2]
        own = self.targets.covector[fresh]
        heads = (weights.o @ own.T).view(n_kv, n_heads // n_kv, d_head, -1)
        by_head = torch.einsum("gjen,ged->gjnd", heads, weights.v_by_head).flatten(0, 1)
        flat = self.covectors.view(n_pos, -1)
        for position, start, stop in self._stretches(fresh):
            rows = by_head[:, start - fresh.start : stop - fresh.start].reshape(n_heads, -1)
            row = weights.pattern[:, :n_pos, position].T
            torch.mm(row, rows, out=flat[:, start * d_model : stop * d_model])
            self.covectors[position, start:stop] += self.targets.covector[start:stop]

    def _read_tokens(self, fresh: slice) -> None:
        """Edges from the tokens, and what stands beside them."""
        tokens, m, n_pos = self.sweep.token_map, self.joined, self.n_pos
        first = self.sweep.columns.n_columns
        here, own = self.covectors[:, :m], self.targets.covector[fresh]
        if m and tokens.keep:  # brought up once per prompt
            for position in range(n_pos):
                into = self.sums[:m, first : first + position + 1]
                into.addmm_(self.covectors[position, :m], tokens.images[position])
        elif m:
            into = self.sums[:m, first : first + n_pos]
            into += torch.bmm(here, tokens.embeddings[:n_pos, :, None])[:, :, 0].T
            by_key = tokens.values.flatten(0, 1).T[:n_pos, :, None]
            into += torch.bmm(self._onto_values(0).mT, by_key)[:, :, 0].T
        if len(own):
            self.sums[fresh, first : first + n_pos] = self._fresh_tokens(own, self.targets.position[fresh])
        if tokens.bottom is not None:
            self.offset[:m] += torch.bmm(here, tokens.bottom[:n_pos, :, None]).sum((0, 2))
            self.offset[fresh] += (own * tokens.bottom[self.targets.position[fresh]]).sum(1)

    def _fresh_tokens(self, covector: Tensor, position: Tensor) -> Tensor:
        """Edges from the tokens into targets that read the first layer, `[n, n_pos]`."""
        weights, tokens, n_pos = self.sweep.weights[0], self.sweep.token_map, self.n_pos
        n_heads, (n_kv, d_head) = len(weights.pattern), weights.v_by_head.shape[:2]
        heads = (weights.o @ covector.T).view(n_kv, n_heads // n_kv, d_head, -1)
        on_values = torch.einsum("gjen,gek->gjnk", heads, tokens.values[..., :n_pos]).flatten(0, 1)
        edges = (on_values * weights.pattern[:, :n_pos, position].transpose(1, 2)).sum(0)
        edges[torch.arange(len(edges), device=edges.device), position] += (covector * tokens.embeddings[position]).sum(
            1
        )
        return edges

    def _stretches(self, rows: slice) -> Iterator[tuple[int, int, int]]:
        """Neighbouring rows at one position: the position, the first row, and one past the last."""
        start = rows.start
        for position, same in groupby(self.positions[rows]):
            stop = start + len(list(same))
            yield position, start, stop
            start = stop
