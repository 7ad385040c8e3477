"""What the tracer needs to know of a model family: where its parts lie, and which linear maps they hold.

An *adapter* (one file per family beside this one) finds the parts of a Hugging Face module and returns them as an
`Architecture`. Everything else in the tracer reads an `Architecture` and never a family's attribute names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor, nn

RESID_MID = "hook_resid_mid"
"""Read point: the input of the norm before the MLP."""
LN2_NORMALIZED = "ln2.hook_normalized"
"""Read point: that norm's value after division by the denominator, before its gain."""
MLP_IN = "mlp.hook_in"
"""Read point: that norm's output, gain included."""
MLP_OUT = "mlp.hook_out"
"""Write point: the output of the MLP module."""
MLP_OUT_RESID = "hook_mlp_out"
"""Write point: what is added to the residual stream for the MLP."""

READ_POINTS = (RESID_MID, LN2_NORMALIZED, MLP_IN)
"""Read points by TransformerLens hook name, as transcoder folders name them."""
WRITE_POINTS = (MLP_OUT, MLP_OUT_RESID)
"""Write points by TransformerLens hook name."""


@dataclass(frozen=True, eq=False)
class Norm:
    """An RMS norm: `gain * x / denominator(x)`.

    Attributes:
        module: the module to hook.
        gain: `[d_model]`.
        epsilon: added to the mean square.
    """

    module: nn.Module
    gain: Tensor
    epsilon: float

    def denominator(self, x: Tensor) -> Tensor:
        """Root mean square of `x` over its last axis: `[..., d_model]` to `[..., 1]`."""
        return (x.pow(2).mean(-1, keepdim=True) + self.epsilon).sqrt()


@dataclass(frozen=True, eq=False)
class Block:
    """One transformer block.

    Attributes:
        module: the whole block; its input is the residual stream before attention.
        attention: the attention module, as the attention function receives it (it carries `layer_idx`).
        attention_norm: norm before attention.
        mlp_norm: norm before the MLP; its input is the residual stream between attention and MLP.
        mlp: the MLP module.
        v_weight: `[n_kv_heads * d_head, d_model]`.
        v_bias: `[n_kv_heads * d_head]` or None.
        o_weight: `[d_model, n_heads * d_head]`.
        o_bias: `[d_model]` or None.
        write_modules: by write-point name, the module whose output is the value there.
    """

    module: nn.Module
    attention: nn.Module
    attention_norm: Norm
    mlp_norm: Norm
    mlp: nn.Module
    v_weight: Tensor
    v_bias: Tensor | None
    o_weight: Tensor
    o_bias: Tensor | None
    write_modules: Mapping[str, nn.Module]

    def read(self, point: str, resid_mid: Tensor) -> Tensor:
        """Value at a read point for a residual stream `[..., d_model]` between attention and MLP."""
        if point == RESID_MID:
            return resid_mid
        normalized = resid_mid / self.mlp_norm.denominator(resid_mid)
        return normalized if point == LN2_NORMALIZED else normalized * self.mlp_norm.gain

    def read_gain(self, point: str, denominator: Tensor) -> Tensor:
        """Derivative of the read point by the residual stream, the denominator held fixed.

        Args:
            point: one of `READ_POINTS`.
            denominator: of the norm before the MLP, `[n_pos, 1]`.

        Returns:
            A diagonal, `[n_pos, 1]` or `[n_pos, d_model]`.
        """
        if point == RESID_MID:
            return torch.ones_like(denominator)
        return 1 / denominator if point == LN2_NORMALIZED else self.mlp_norm.gain / denominator


@dataclass(frozen=True, eq=False)
class Architecture:
    """The parts of one loaded model.

    Attributes:
        family: the name that the model's configuration gives as `model_type`.
        blocks: `[n_layers]`.
        final_norm: norm before the unembedding.
        unembedding: `[vocab_size, d_model]`.
        unembedding_bias: `[vocab_size]` or None.
        n_heads: query heads.
        n_kv_heads: key/value heads; query head `h` reads key/value head `h // (n_heads / n_kv_heads)`.
    """

    family: str
    blocks: tuple[Block, ...]
    final_norm: Norm
    unembedding: Tensor
    unembedding_bias: Tensor | None
    n_heads: int
    n_kv_heads: int

    @cached_property
    def mean_unembedding(self) -> Tensor:
        """Mean over the vocabulary, `[d_model]`: logits are traced relative to their mean."""
        return self.unembedding.mean(0)


class Adapter(Protocol):
    """Finds the parts of one family's modules."""

    def __call__(self, hf: nn.Module) -> Architecture:
        """The parts of a loaded `...ForCausalLM` module."""
        ...
