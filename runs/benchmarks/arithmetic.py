"""How many multiply-adds an edge sweep needs: counted from the graph, whatever the code really executes.

Let a target (layer t, position q) read the residual stream between attention and MLP of layer t; a logit has t = n_layers
and q the last position. With `h = n_heads * d_head` and `k = n_kv_heads * d_head`, and `n = q + 1` positions that it can
see, its row needs

    crossing layer t's attention, from one position:      d h + h n + [t > 0] k n d
    and for every layer l < t:
      the edges themselves:                               d * (vectors written to layer l at positions 0..q)
      crossing layer l's attention from all positions:    n d h + h n (n + 1) / 2 + [l > 0] k n d
      a skip path of layer l:                             n d d
    at the bottom, the edges from tokens:                 n (d + k)

A vector written is a feature's decoder (for a cross-layer transcoder one for each layer from its own upwards) or an error;
masked positions hold none. Only causal pairs of positions are counted. One multiply-add is two floating-point operations.
Not counted: the forward pass, encoders, constants, norms, sorting, scores. A method that finds the same edges with
fewer multiplications than this is credited with the count above, so that its share of the peak may pass 1.
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
        d_heads: `n_heads * d_head`.
        d_kv: `n_kv_heads * d_head`.
        n_layers: layers.
        n_pos: positions of the prompt.
        zero_positions: masked positions.
        writes_above: whether features write to every layer from their own upwards (cross-layer transcoders).
        skips: per layer, whether there is a skip path.
    """

    d_model: int
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
        d_heads=int(block.o_weight.shape[1]),
        d_kv=int(block.v_weight.shape[0]),
        n_layers=model.n_layers,
        n_pos=len(graph.tokens),
        zero_positions=int(settings.get("zero_positions") or 1),
        writes_above=transcoders.kind == "cross_layer_transcoder",
        skips=tuple(transcoders.skip_weight(layer) is not None for layer in range(model.n_layers)),
    )


def sweep_flops(shape: SweepShape, features: np.ndarray, n_logits: int) -> int:
    """Floating-point operations of all edges of an unpruned graph without a node budget.

    Args:
        shape: of the trace.
        features: layer and position of every active feature, `[n, 2]`.
        n_logits: logit nodes.
    """
    s = shape
    # vectors[l, q]: what is written to layer l at positions 0..q
    fired = np.zeros((s.n_layers, s.n_pos), dtype=np.int64)
    np.add.at(fired, (features[:, 0], features[:, 1]), 1)
    written = fired.cumsum(0) if s.writes_above else fired
    written[:, s.zero_positions :] += 1  # the error
    vectors = written.cumsum(1)
    seen = np.arange(1, s.n_pos + 1, dtype=np.int64)
    back = np.zeros(s.n_pos, dtype=np.int64)  # per position: from layer t's read point through everything below
    total = 0
    for layer in range(s.n_layers + 1):
        if layer < s.n_layers:
            own = s.d_model * s.d_heads + s.d_heads * seen + (s.d_kv * s.d_model * seen if layer else 0)
            targets = fired[layer]
        else:
            own = np.zeros_like(seen)
            targets = np.zeros_like(seen)
            targets[-1] = n_logits
        bottom = seen * (s.d_model + s.d_kv)
        total += int((targets * (own + back + bottom)).sum())
        if layer < s.n_layers:
            crossing = seen * s.d_model * s.d_heads + s.d_heads * (seen * (seen + 1) // 2)
            crossing = crossing + (s.d_kv * s.d_model * seen if layer else 0)
            skip = seen * s.d_model * s.d_model if s.skips[layer] else 0
            back = back + s.d_model * vectors[layer] + crossing + skip
    return 2 * total


def graph_flops(model: LanguageModel, transcoders: TranscoderSet, graph: AttributionGraph) -> int:
    """`sweep_flops` of an unpruned graph."""
    from tracescribe.tracer.graph import NodeKind

    index = graph.of_kind(NodeKind.FEATURE)
    features = np.stack([graph.nodes.layer[index], graph.nodes.position[index]], axis=1).astype(np.int64)
    return sweep_flops(shape_of(model, transcoders, graph), features, len(graph.of_kind(NodeKind.LOGIT)))


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
