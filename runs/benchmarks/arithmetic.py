"""How many multiply-adds an edge sweep needs: counted from the graph, whatever the code really executes.

Let a target (layer t, position q) read the residual stream between attention and MLP of layer t; a logit has t = n_layers
and q the last position. With `h = n_heads * d_head`, `k = n_kv_heads * d_head` and `n = q + 1` positions that the target
can see, its row needs

    for t > 0, crossing layer t's attention from one position:   d h + min(h n + k n d, h d + n_heads n d)
    for every layer l < t, the edges from what is written there: d * (vectors written to layer l at positions 0..q)
    and for a skip path of layer l:                              n d d
    for every layer l with 0 < l < t, crossing its attention:    n d h + h n (n + 1) / 2 + k n d
    for t > 0, the edges from tokens:    min(d n (n + 1) / 2, n d h + h n (n + 1) / 2 + n (d + k))
    for t = 0, the edges from tokens:    d n

A vector written is a feature's decoder (for a cross-layer transcoder one for each layer from its own upwards) or an error;
masked positions hold none. Only causal pairs of positions are counted. Of two ways to the same numbers the cheaper one
is: a target that stands at one position crosses an attention by key/value heads or by one vector per head; and tokens
either wait below the first attention, or are brought up through it once per prompt, which is not counted. One
multiply-add is two floating-point operations. Not counted either: the forward pass, encoders, constants, norms, sorting
and scores. A method that needs fewer multiplications still is credited with this count.

The *plain* count is that of the same sweep without these two savings, as it is usually described: every attention is
crossed by key/value heads, and the first one is crossed too. A speed told in plain operations says how fast a plain sweep
would have to run to be as quick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from tracescribe.tracer.graph import AttributionGraph
    from tracescribe.tracer.models import LanguageModel
    from tracescribe.tracer.transcoders import TranscoderSet


T = TypeVar("T")


@dataclass(frozen=True)
class SweepShape:
    """The numbers that the count depends on.

    Attributes:
        d_model: width of the residual stream.
        n_heads: query heads.
        d_heads: `n_heads * d_head`.
        d_kv: `n_kv_heads * d_head`.
        n_layers: layers.
        n_pos: positions of the prompt.
        zero_positions: masked positions.
        writes_above: whether features write to every layer from their own upwards (cross-layer transcoders).
        skips: per layer, whether there is a skip path.
    """

    d_model: int
    n_heads: int
    d_heads: int
    d_kv: int
    n_layers: int
    n_pos: int
    zero_positions: int
    writes_above: bool
    skips: tuple[bool, ...]


def shape_of(model: LanguageModel, transcoders: TranscoderSet, graph: AttributionGraph) -> SweepShape:
    """The numbers of one trace."""
    block = model.architecture.blocks[0]
    settings = graph.provenance.get("settings", {})
    return SweepShape(
        d_model=model.d_model,
        n_heads=model.architecture.n_heads,
        d_heads=int(block.o_weight.shape[1]),
        d_kv=int(block.v_weight.shape[0]),
        n_layers=model.n_layers,
        n_pos=len(graph.tokens),
        zero_positions=int(settings.get("zero_positions") or 1),
        writes_above=transcoders.kind == "cross_layer_transcoder",
        skips=tuple(transcoders.skip_weight(layer) is not None for layer in range(model.n_layers)),
    )


def sweep_flops(shape: SweepShape, features: np.ndarray, n_logits: int, *, plain: bool = False) -> int:
    """Floating-point operations of all edges of an unpruned graph without a node budget.

    Args:
        shape: of the trace.
        features: layer and position of every active feature, `[n, 2]`.
        n_logits: logit nodes.
        plain: count the plain sweep.
    """
    s = shape
    # vectors[l, q]: what is written to layer l at positions 0..q
    fired = np.zeros((s.n_layers, s.n_pos), dtype=np.int64)
    np.add.at(fired, (features[:, 0], features[:, 1]), 1)
    written = fired.cumsum(0) if s.writes_above else fired.copy()
    written[:, s.zero_positions :] += 1  # the error
    vectors = written.cumsum(1)
    d, h, k = s.d_model, s.d_heads, s.d_kv
    seen = np.arange(1, s.n_pos + 1, dtype=np.int64)
    pairs = seen * (seen + 1) // 2
    joining = d * h + h * seen + k * d * seen
    crossing = seen * d * h + h * pairs + k * d * seen
    tokens = seen * d * h + h * pairs + seen * (d + k)
    tokens_first = d * h + h * seen + seen * (d + k)
    if not plain:
        joining = np.minimum(joining, d * h + h * d + s.n_heads * d * seen)
        tokens = np.minimum(tokens, d * pairs)
        tokens_first = d * seen
    below = np.zeros(s.n_pos, dtype=np.int64)  # of a target at each position: edges and crossings in the layers done
    total = 0
    for layer in range(s.n_layers + 1):
        if layer < s.n_layers:
            targets = fired[layer]
        else:
            targets = np.zeros_like(seen)
            targets[-1] = n_logits
        total += int((targets * (below + joining + tokens if layer else tokens_first)).sum())
        if layer < s.n_layers:
            below = below + d * vectors[layer]
            if layer:
                below = below + crossing
            if s.skips[layer]:
                below = below + seen * d * d
    return 2 * total


def graph_flops(
    model: LanguageModel, transcoders: TranscoderSet, graph: AttributionGraph, *, plain: bool = False
) -> int:
    """`sweep_flops` of an unpruned graph."""
    from tracescribe.tracer.graph import NodeKind

    index = graph.of_kind(NodeKind.FEATURE)
    features = np.stack([graph.nodes.layer[index], graph.nodes.position[index]], axis=1).astype(np.int64)
    return sweep_flops(shape_of(model, transcoders, graph), features, len(graph.of_kind(NodeKind.LOGIT)), plain=plain)


def executed_flops(call: Callable[[], T]) -> tuple[int, T]:
    """Floating-point operations of every matrix product that a call makes through torch, and what the call returns.

    Products in place are counted too, which torch's counter does not know by itself.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    aten: Any = torch.ops.aten

    def addmm(_out: Any, a: Any, b: Any, **_: Any) -> int:
        return 2 * int(a[0]) * int(a[1]) * int(b[1])

    def baddbmm(_out: Any, a: Any, b: Any, **_: Any) -> int:
        return 2 * int(a[0]) * int(a[1]) * int(a[2]) * int(b[2])

    def mv(a: Any, _x: Any, **_: Any) -> int:
        return 2 * int(a[0]) * int(a[1])

    in_place: dict[Any, Any] = {aten.addmm_: addmm, aten.baddbmm_: baddbmm, aten.mv: mv}
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        result = call()
    return int(counter.get_total_flops()), result
