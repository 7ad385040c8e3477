"""A float64 model computes in float64 throughout.

`transformers` takes RMS norms and the softmax of attention in float32 whatever the weights are, which leaves errors of
1e-7 in a model that was opened in float64 to check laws to 1e-9. Rotary tables stay as they are: constants of the model.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from tracescribe.tracer.architectures.base import Architecture, Norm

ATTENTION = "tracescribe_float64"
"""Name under which the attention function is registered with `transformers`."""


def register_attention() -> str:
    """Make the float64 attention known to `transformers`, with masks like eager attention's; its name."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    cast(Any, ALL_ATTENTION_FUNCTIONS).register(ATTENTION, attention)
    # without this line no mask at all would be passed: neither causality nor sliding windows
    cast(Any, ALL_MASK_ATTENTION_FUNCTIONS).register(ATTENTION, eager_mask)
    return ATTENTION


def widen_norms(architecture: Architecture) -> None:
    """Let every norm of a float64 model compute in float64."""
    for block in architecture.blocks:
        norms = (block.attention_norm, block.mlp_norm, block.attention_post_norm, block.mlp_post_norm)
        for norm in (*norms, *block.head_norms):
            _widen(norm)
    _widen(architecture.final_norm)


def _widen(norm: Norm | None) -> None:
    if norm is not None and not isinstance(norm.module, nn.LayerNorm):  # LayerNorm already follows its input's dtype
        held = norm

        def forward(x: Tensor) -> Tensor:
            return held.apply(x)

        norm.module.forward = forward


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    **_: object,
) -> tuple[Tensor, Tensor]:
    """Eager attention whose softmax keeps the dtype of its scores.

    Args:
        module: the attention module; unused, part of the interface.
        query: `[batch, n_heads, n_query, d_head]`.
        key: `[batch, n_kv_heads, n_key, d_head]`.
        value: as `key`.
        attention_mask: added to the scores, `[batch, 1, n_query, n_key]`, or None.
        scaling: of the scores; the inverse root of `d_head` where None.
        dropout: of the pattern; models are traced in evaluation mode, so it is not applied.
        softcap: of the scores (Gemma 2), or None.

    Returns:
        The heads' values `[batch, n_query, n_heads, d_head]` and the pattern `[batch, n_heads, n_query, n_key]`.
    """
    group = query.shape[1] // key.shape[1]
    keys, values = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    scores = query @ keys.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if attention_mask is not None:
        scores = scores + attention_mask
    pattern = scores.softmax(-1)
    return (pattern @ values).transpose(1, 2).contiguous(), pattern
