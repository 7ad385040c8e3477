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
    """An RMS norm or LayerNorm: `gain * centred(x) / denominator(x) + bias`.

    Attributes:
        module: the module to hook.
        gain: as it multiplies, `[d_model]`: the model's own weight in its dtype, or Gemma's `1 + weight` in float32 or
            wider.
        epsilon: added to the mean square.
        bias: LayerNorm's, `[d_model]`; None for RMS norms.
        centred: whether the mean over the last axis is taken away first (LayerNorm).
    """

    module: nn.Module
    gain: Tensor
    epsilon: float
    bias: Tensor | None = None
    centred: bool = False

    def centre(self, x: Tensor) -> Tensor:
        """`x` without its mean over the last axis where the norm centres; linear, and its own transpose."""
        return x - x.mean(-1, keepdim=True) if self.centred else x

    def denominator(self, x: Tensor) -> Tensor:
        """Root mean square of what is divided: `[..., d_model]` to `[..., 1]`."""
        return (self.centre(x).pow(2).mean(-1, keepdim=True) + self.epsilon).sqrt()

    def apply(self, x: Tensor, denominator: Tensor | None = None) -> Tensor:
        """The norm's output, `[..., d_model]`, in the dtype of `x`; a denominator that is given is held fixed."""
        scaled = self.centre(x) / (self.denominator(x) if denominator is None else denominator)
        scaled = scaled * self.gain.to(x.dtype)
        return scaled if self.bias is None else scaled + self.bias.to(x.dtype)


@dataclass(frozen=True, eq=False)
class Block:
    """One transformer block. Weights are the model's own, in its dtype.

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
        attention_post_norm: norm between the attention's output and the residual stream (Gemma 2, 3), or None.
        mlp_post_norm: norm between the MLP's output and the residual stream (Gemma 2, 3), or None.
        head_norms: norms on each head's queries and keys (Qwen 3, Gemma 3), `[d_head]`; inside the attention pattern.
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
    attention_post_norm: Norm | None = None
    mlp_post_norm: Norm | None = None
    head_norms: tuple[Norm, ...] = ()

    def read(self, point: str, resid_mid: Tensor, denominator: Tensor | None = None) -> Tensor:
        """Value at a read point for a residual stream `[..., d_model]` between attention and MLP.

        Args:
            point: one of `READ_POINTS`.
            resid_mid: `[..., d_model]`.
            denominator: of the norm before the MLP, `[..., 1]`, to hold it fixed; None computes it.
        """
        if point == RESID_MID:
            return resid_mid
        if point == LN2_NORMALIZED:
            divided_by = self.mlp_norm.denominator(resid_mid) if denominator is None else denominator
            return self.mlp_norm.centre(resid_mid) / divided_by
        return self.mlp_norm.apply(resid_mid, denominator)

    def read_covector(self, point: str, covector: Tensor, denominator: Tensor) -> Tensor:
        """A covector at a read point, pulled back to the residual stream; the denominator is held fixed.

        Args:
            point: one of `READ_POINTS`.
            covector: `[..., d_model]`.
            denominator: of the norm before the MLP, `[..., 1]`.
        """
        if point == RESID_MID:
            return covector
        scaled = covector / denominator
        if point == MLP_IN:
            scaled = scaled * self.mlp_norm.gain.to(covector.dtype)
        return self.mlp_norm.centre(scaled)

    def write_norm(self, point: str) -> Norm | None:
        """The norm that stands between a write point and the residual stream, or None."""
        return self.mlp_post_norm if point == MLP_OUT else None


@dataclass(frozen=True, eq=False)
class Architecture:
    """The parts of one loaded model. Weights are the model's own, in its dtype.

    Attributes:
        family: the name that the model's configuration gives as `model_type`.
        blocks: `[n_layers]`.
        final_norm: norm before the unembedding.
        unembedding: `[vocab_size, d_model]`.
        unembedding_bias: `[vocab_size]` or None.
        n_heads: query heads.
        n_kv_heads: key/value heads; query head `h` reads key/value head `h // (n_heads / n_kv_heads)`.
        embedding: the module whose output is the token vectors, where something else is added to them before the
            first block (GPT-2's learned positions, a constant without a node); None where the first block's input is
            the token vectors.
        logit_softcap: the cap of the final logits (`cap * tanh(x / cap)`), or None.
    """

    family: str
    blocks: tuple[Block, ...]
    final_norm: Norm
    unembedding: Tensor
    unembedding_bias: Tensor | None
    n_heads: int
    n_kv_heads: int
    embedding: nn.Module | None = None
    logit_softcap: float | None = None

    @cached_property
    def mean_unembedding(self) -> Tensor:
        """Mean over the vocabulary, `[d_model]`, float32 or wider: logits are traced relative to their mean."""
        wide = torch.promote_types(self.unembedding.dtype, torch.float32)
        return self.unembedding.mean(0, dtype=wide)


class Adapter(Protocol):
    """Finds the parts of one family's modules."""

    def __call__(self, hf: nn.Module) -> Architecture:
        """The parts of a loaded `...ForCausalLM` module."""
        ...
