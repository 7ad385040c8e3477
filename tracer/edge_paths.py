"""The strongest single paths of one edge, best first, with a bound on every path that is not listed.

A path is where its signal enters the stream and the steps it takes upwards: through one attention head from a key
position to a query position, or through a transcoder's skip path. Its weight is exact. There are exponentially many, so
the search grows paths from the target downwards, always the one whose unseen continuations could be largest: the norm of
its covector times the largest norm that any continuation can deliver there (head norms are spectral). When no bound is
above the weakest path found, the list is proved; when the work limit comes first, the largest bound left is told.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from tracescribe.tracer.architectures.base import MLP_IN, RESID_MID
from tracescribe.tracer.edge_flow import Span, pull_skip, push_skip

BOUND_SLACK = 1e-5
"""Relative slack of every bound, above the rounding of float32 norms."""

MAX_CHILDREN = 2000
"""Continuations of one stub through one layer that are queued, the largest bounds first: keeps the queue of a long prompt
in memory. What is left aside enters the bound that is told."""


@dataclass(frozen=True)
class PathStep:
    """One step of a path.

    Attributes:
        layer: of the attention or of the skip path.
        head: the query head; None for a skip path.
        key: position that the step starts from.
        query: position that it leads to.
    """

    layer: int
    head: int | None
    key: int
    query: int


@dataclass(frozen=True)
class EdgePath:
    """One path from source to target.

    Attributes:
        weight: its part of the edge.
        write_layer: where its signal enters the stream; -1 for the bottom.
        steps: in the direction of the signal; between them it stays in the residual stream.
    """

    weight: float
    write_layer: int
    steps: tuple[PathStep, ...]

    @property
    def n_hops(self) -> int:
        """Attention heads on the path."""
        return sum(step.head is not None for step in self.steps)


@dataclass(frozen=True)
class PathSearch:
    """The strongest paths of an edge.

    Attributes:
        paths: by size of their weight, largest first.
        largest_unlisted: no path that is not listed has a larger weight; 0 where every path is listed.
        proved: whether no path that is not listed is larger than one that is.
    """

    paths: tuple[EdgePath, ...]
    largest_unlisted: float
    proved: bool


@dataclass(frozen=True, eq=False)
class _Stub:
    """The upper part of a path: a covector on the stream, and how it got there.

    Attributes:
        covector: `[d_model]`.
        level: what lies below it: attention of layer l is place 2 l, the MLP's write and skip path 2 l + 1.
        place: position within the span.
        steps: taken so far, the topmost first.
    """

    covector: Tensor
    level: int
    place: int
    steps: tuple[PathStep, ...]


@dataclass(frozen=True, eq=False)
class _Head:
    """What the search needs of one layer's attention.

    Attributes:
        pattern: `[n_heads, n_query, n_key]`.
        norms: spectral norm of each head's map, `[n_heads]`.
        sent: what heads read of every write below, `[n_below, n_heads, d_head]`, in the order of `Span.writes`.
    """

    pattern: Tensor
    norms: Tensor
    sent: Tensor


@dataclass(frozen=True, eq=False)
class _Skip:
    """What the search needs of one layer's skip path.

    Attributes:
        norms: largest stretch of the path at each place, `[n_positions]`.
        sent: what it makes of every write below, `[n_below, d_model]`.
    """

    norms: Tensor
    sent: Tensor


@torch.no_grad()
def strongest_paths(span: Span, n_paths: int, max_expansions: int) -> PathSearch:
    """The paths of one edge that carry most, by absolute weight.

    Args:
        span: the edge.
        n_paths: paths to list.
        max_expansions: work limit: partial paths whose continuations are looked at.
    """
    return _Search(span, n_paths).run(max_expansions)


class _Search:
    """One best-first search under way."""

    def __init__(self, span: Span, n_paths: int) -> None:
        self.span, self.n_paths = span, n_paths
        self.heads = {layer: self._head(layer) for layer in span.attention_layers}
        self.skips = {
            layer: found
            for layer in range(span.bottom, min(span.target.layer, span.replacement.n_layers))
            if (found := self._skip(layer)) is not None
        }
        self.delivered = self._delivered()
        self.order = itertools.count()  # ties break by age, so that the search is deterministic
        self.best: list[tuple[float, int, EdgePath]] = []  # a heap, weakest on top
        self.dropped = 0.0  # largest weight of a path that was seen and is not kept
        self.unqueued = 0.0  # largest bound of a stub that was left aside
        self.queue: list[tuple[float, int, _Stub, int, int, int]] = []

    def run(self, max_expansions: int) -> PathSearch:
        """Search until the list is proved or the work limit is reached."""
        covector = self.span.target.covector
        layer = self.span.target.layer
        level = 2 * layer + 1 if layer < self.span.replacement.n_layers else 2 * layer
        self._expand(_Stub(covector, level, self.span.n_pos - 1, ()))
        for _ in range(max_expansions):
            if not self.queue or -self.queue[0][0] <= self._weakest():
                break
            _, _, stub, child_layer, head, key = heapq.heappop(self.queue)
            self._expand(self._child(stub, child_layer, head, key))
        unseen = max(self.unqueued, -self.queue[0][0] if self.queue else 0.0)
        found = sorted(self.best, key=lambda entry: (-entry[0], -entry[1]))
        return PathSearch(
            tuple(path for _, _, path in found), max(unseen, self.dropped), proved=unseen <= self._weakest()
        )

    def _weakest(self) -> float:
        """Weight that a path must exceed to enter the list."""
        return self.best[0][0] if len(self.best) == self.n_paths else 0.0

    def _found(self, weight: float, write_layer: int, stub: _Stub, step: PathStep | None) -> None:
        size = abs(weight)
        if weight == 0 or (len(self.best) == self.n_paths and size <= self.best[0][0]):
            self.dropped = max(self.dropped, size)
            return
        steps = tuple(reversed((*stub.steps, step) if step is not None else stub.steps))
        entry = (size, -next(self.order), EdgePath(weight, write_layer, steps))
        if len(self.best) < self.n_paths:
            heapq.heappush(self.best, entry)
        else:
            self.dropped = max(self.dropped, heapq.heapreplace(self.best, entry)[0])

    def _expand(self, stub: _Stub) -> None:
        """Weigh every completion of a stub with one more step, and queue the longer ones."""
        span, first = self.span, self.span.first
        if stub.place == 0 and not stub.steps:  # a longer stub that ends here was weighed as its parent's last step
            for layer, vector in span.writes:
                if 2 * layer + 1 < stub.level:
                    self._found(float(stub.covector @ vector), layer, stub, None)
        norm = float(stub.covector.norm())
        for layer, skip in self.skips.items():
            if 2 * layer + 1 >= stub.level:
                continue
            if stub.place == 0:
                for weight, (below, _) in zip((skip.sent @ stub.covector).tolist(), span.writes, strict=False):
                    self._found(weight, below, stub, PathStep(layer, None, first, first))
            # the stretch of the step bounds it here; its covector is worked out when its turn comes
            reach = float(skip.norms[stub.place] * self.delivered[2 * layer + 1][stub.place])
            self._queue(norm * reach, stub, layer, -1, stub.place)
        for layer, head in self.heads.items():
            if 2 * layer >= stub.level:
                continue
            asked = span.heads_of(layer, stub.covector)
            pattern = head.pattern[:, stub.place]  # [n_heads, n_key]
            weights = torch.einsum("h,whe,he->wh", pattern[:, 0], head.sent, asked)
            self._weigh(weights, layer, stub)
            if not self.delivered[2 * layer].any():
                continue
            sizes = span.through_heads(layer, asked).norm(dim=-1)
            bounds = pattern.abs() * sizes[:, None] * self.delivered[2 * layer]
            largest = bounds.flatten().sort(descending=True, stable=True)
            for i, (bound, index) in enumerate(zip(largest.values.tolist(), largest.indices.tolist(), strict=True)):
                if bound <= self._weakest() or i == MAX_CHILDREN:
                    self.unqueued = max(self.unqueued, bound * (1 + BOUND_SLACK))
                    break
                self._queue(bound, stub, layer, *divmod(index, bounds.shape[1]))

    def _weigh(self, weights: Tensor, layer: int, stub: _Stub) -> None:
        """Keep the completions through one head straight to a write, `[n_below, n_heads]`."""
        first = self.span.first
        sizes = weights.abs().flatten()
        strong = sizes.topk(min(self.n_paths + 1, len(sizes))).indices.tolist()
        for index in strong:  # one more than fits, so that the largest that is left out is seen too
            below, head = divmod(index, weights.shape[1])
            step = PathStep(layer, head, first, first + stub.place)
            self._found(float(weights[below, head]), self.span.writes[below][0], stub, step)

    def _queue(self, bound: float, stub: _Stub, layer: int, head: int, key: int) -> None:
        bound *= 1 + BOUND_SLACK
        if bound > self._weakest():
            heapq.heappush(self.queue, (-bound, next(self.order), stub, layer, head, key))
        else:
            self.unqueued = max(self.unqueued, bound)

    def _child(self, stub: _Stub, layer: int, head: int, key: int) -> _Stub:
        """A stub with one more step; head -1 is the skip path."""
        span, first = self.span, self.span.first
        if head < 0:
            skip = span.skip(layer)
            assert skip is not None, "only layers with a skip path are queued as one"
            pulled = pull_skip(skip, stub.covector[None], span.positions[stub.place, None])[0]
            step = PathStep(layer, None, first + stub.place, first + stub.place)
            return _Stub(pulled, 2 * layer + 1, stub.place, (*stub.steps, step))
        asked = span.heads_of(layer, stub.covector)[head]
        pulled = self.heads[layer].pattern[head, stub.place, key] * (asked @ span.value_weights(layer)[head])
        step = PathStep(layer, head, first + key, first + stub.place)
        return _Stub(pulled, 2 * layer, key, (*stub.steps, step))

    def _below(self, layer: int) -> Tensor:
        """Vectors that the source writes below a layer, `[n_below, d_model]`; a leading part of `Span.writes`."""
        vectors = [vector for below, vector in self.span.writes if below < layer]
        return torch.stack(vectors)

    def _head(self, layer: int) -> _Head:
        span = self.span
        frozen = span.replacement.layers[layer]
        out = torch.unflatten(frozen.o_weight, 1, (len(span.pattern(layer)), -1)).transpose(0, 1)
        return _Head(
            pattern=span.pattern(layer),
            norms=_product_norms(out, span.value_weights(layer)),
            sent=span.values_of(layer, self._below(layer)),
        )

    def _skip(self, layer: int) -> _Skip | None:
        span, skip = self.span, self.span.skip(layer)
        if skip is None:
            return None
        like = span.target.covector
        # one dense map for each position would be large: weight and gains are bounded apart
        weight = torch.linalg.matrix_norm(skip.weight.to(like.dtype), 2)
        gain = skip.block.mlp_norm.gain.to(like.dtype).abs().max() if skip.reads == MLP_IN else 1.0
        norms = weight * gain * like.new_ones(span.n_pos)
        if skip.reads != RESID_MID:
            norms = norms / skip.denominator[span.positions].flatten()
        if skip.write_gain is not None:
            norms = norms * skip.write_gain[span.positions].abs().amax(-1)
        below = self._below(layer)
        return _Skip(norms, push_skip(skip, below, span.positions[:1].expand(len(below))))

    def _delivered(self) -> dict[int, Tensor]:
        """Largest norm that paths with at least one step deliver to each place, by level, `[n_positions]` each."""
        span = self.span
        here = span.target.covector.new_zeros(span.n_pos)
        delivered: dict[int, Tensor] = {}
        for layer in range(span.bottom, span.target.layer + 1):
            delivered[2 * layer] = here
            if layer in self.heads:
                head = self.heads[layer]
                direct = span.out_of_heads(layer, head.sent).norm(dim=-1).amax(0)  # [n_heads]
                fresh = (head.pattern[:, :, 0].abs() * direct[:, None]).amax(0)
                onward = (head.pattern.abs() * head.norms[:, None, None] * here).amax((0, 2))
                here = torch.maximum(here, torch.maximum(fresh, onward))
            delivered[2 * layer + 1] = here
            if layer in self.skips:
                skip = self.skips[layer]
                stretched = skip.norms * here
                stretched[0] = torch.maximum(stretched[0], skip.sent.norm(dim=-1).max())
                here = torch.maximum(here, stretched)
        return delivered


def _product_norms(left: Tensor, right: Tensor) -> Tensor:
    """Spectral norms of `left @ right` for `[n, d_model, d_head]` and `[n, d_head, d_model]`, through the narrow side."""
    triangle = torch.linalg.qr(left, mode="r").R
    norms: Tensor = torch.linalg.matrix_norm(triangle @ torch.linalg.qr(right.mT, mode="r").R.mT, 2)
    return norms
