"""Where sources stand while edges accumulate, and the vectors that they write.

Columns are laid out by position, and within one position so that what it writes into one layer is a slice of
neighbouring columns: all its edges take one matrix product into a view, without gathering.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tracescribe.tracer.local_replacement import LocalReplacement, by_layer


@dataclass(frozen=True, eq=False)
class SourceColumns:
    """The columns of every source but the tokens, which follow behind them.

    Attributes:
        n_columns: columns without the tokens.
        source: column of each source: active features, errors (layer-major), `[n_active + n_layers * n_pos]`.
        constant: columns of what belongs to no node, `[n_constant]`.
        written: per layer written to and position, the first of the neighbouring columns and their vectors as they
            enter the residual stream, `[d_model, n_neighbours]`.
    """

    n_columns: int
    source: Tensor
    constant: Tensor
    written: tuple[tuple[tuple[int, Tensor], ...], ...]


def lay_out(replacement: LocalReplacement) -> SourceColumns:
    """Columns for one prompt.

    Where features write to all layers above their own (CLT), each position holds a constant and then, layer by layer,
    its features and its error: a layer is written to by the leading columns. Where they write to one layer, each
    layer's columns end in a constant of their own, and a layer is written to by its own columns alone.
    """
    r = replacement
    crossing = max((rows.shape[1] for rows in r.decoders), default=1) > 1
    layer, position = r.active[:, 0], r.active[:, 1]
    n_features = torch.bincount(position * r.n_layers + layer, minlength=r.n_pos * r.n_layers)
    n_features = n_features.view(r.n_pos, r.n_layers)
    per_layer = n_features + (1 if crossing else 2)
    size = per_layer.sum(1) + (1 if crossing else 0)
    first = torch.cat([torch.zeros(1, dtype=torch.int64, device=size.device), size.cumsum(0)])
    stop = first[:-1, None] + per_layer.cumsum(1) + (1 if crossing else 0)  # of each layer's columns, [n_pos, n_layers]
    start = stop - per_layer
    error = start + n_features
    constant = first[:-1, None].expand(-1, r.n_layers) if crossing else error + 1
    # active features are sorted by layer, then position: number them within their group
    group = (layer * r.n_pos + position).contiguous()
    place = torch.arange(len(group), device=group.device) - torch.searchsorted(group, group)
    feature = start[position, layer] + place
    at = by_layer(r.active, r.n_layers)
    written = []
    for n in range(r.n_layers):
        vectors = r.embeddings.new_zeros(int(first[-1]), r.embeddings.shape[1])
        vectors[constant[:, n]] = _constants(r, n)
        vectors[error[:, n]] = r.errors[n]
        for read in range(n + 1):
            if n - read < r.decoders[read].shape[1]:
                vectors[feature[at[read]]] = r.decoders[read][:, n - read]
        begin = (first[:-1] if crossing else start[:, n]).tolist()
        end = stop[:, n].tolist()
        written.append(tuple((a, vectors[a:b].T.contiguous()) for a, b in zip(begin, end, strict=True)))
    return SourceColumns(
        n_columns=int(first[-1]),
        source=torch.cat([feature, error.T.flatten()]),
        constant=torch.unique(constant),
        written=tuple(written),
    )


def _constants(replacement: LocalReplacement, layer: int) -> Tensor:
    """What enters the residual stream between the read points of a layer and of the next, from no node.

    Without a skip path nothing changes a covector between the write point and the attention below it, so that what the
    attention's biases add can be counted with what the MLP's place adds.
    """
    frozen = replacement.layers[layer]
    written = replacement.constants[layer]
    if frozen.attention_constant is None or frozen.skip is not None:
        return written
    return written + frozen.attention_constant
