"""What the families with RMS norms, rotary positions and separate q, k, v, o projections share.

Rotary positions, their scaling, sliding windows, norms on queries and keys, score scales and score soft-caps only touch
attention patterns, which the tracer takes as they are: no adapter needs to know of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from tracescribe.tracer.architectures.base import MLP_OUT, MLP_OUT_RESID, Architecture, Block, Norm


def bind_pre_norm(hf: nn.Module) -> Architecture:
    """The parts of a `...ForCausalLM` with one norm before attention, one before the MLP, and none behind them."""
    return describe(hf, cast(Any, hf).model, pre_norm_block)


def describe(
    hf: nn.Module, decoder: Any, block: Callable[[Any], Block], norm: Callable[[Any], Norm] | None = None
) -> Architecture:
    """The parts of a model whose text layers lie in `decoder.layers` with `decoder.norm` behind them.

    Args:
        hf: the whole model, for its unembedding and configuration.
        decoder: the stack of text layers.
        block: describes one layer.
        norm: describes the final norm; `rms_norm` where not given.
    """
    module = cast(Any, hf)
    config = module.config.get_text_config()
    head = module.get_output_embeddings()
    softcap = getattr(config, "final_logit_softcapping", None)
    return Architecture(
        family=str(module.config.model_type),
        blocks=tuple(block(layer) for layer in decoder.layers),
        final_norm=(norm or rms_norm)(decoder.norm),
        unembedding=tensor(head.weight),
        unembedding_bias=bias(head),
        n_heads=int(config.num_attention_heads),
        n_kv_heads=int(config.num_key_value_heads),
        logit_softcap=None if softcap is None else float(softcap),
    )


def pre_norm_block(layer: Any) -> Block:
    """A layer whose attention and MLP write straight to the residual stream."""
    attention = layer.self_attn
    head_norms = [getattr(attention, name) for name in ("q_norm", "k_norm") if hasattr(attention, name)]
    return Block(
        module=layer,
        attention=attention,
        attention_norm=rms_norm(layer.input_layernorm),
        mlp_norm=rms_norm(layer.post_attention_layernorm),
        mlp=layer.mlp,
        v_weight=tensor(attention.v_proj.weight),
        v_bias=bias(attention.v_proj),
        o_weight=tensor(attention.o_proj.weight),
        o_bias=bias(attention.o_proj),
        # nothing stands between the MLP's output and the residual stream, so both names mean one place
        write_modules={MLP_OUT: layer.mlp, MLP_OUT_RESID: layer.mlp},
        head_norms=tuple(rms_norm(norm) for norm in head_norms),
    )


def post_norm_block(layer: Any) -> Block:
    """A Gemma layer: the outputs of attention and MLP pass through norms of their own before the residual stream."""
    attention = layer.self_attn
    head_norms = [getattr(attention, name) for name in ("q_norm", "k_norm") if hasattr(attention, name)]
    return Block(
        module=layer,
        attention=attention,
        attention_norm=shifted_rms_norm(layer.input_layernorm),
        mlp_norm=shifted_rms_norm(layer.pre_feedforward_layernorm),
        mlp=layer.mlp,
        v_weight=tensor(attention.v_proj.weight),
        v_bias=bias(attention.v_proj),
        o_weight=tensor(attention.o_proj.weight),
        o_bias=bias(attention.o_proj),
        write_modules={MLP_OUT: layer.mlp, MLP_OUT_RESID: layer.post_feedforward_layernorm},
        attention_post_norm=shifted_rms_norm(layer.post_attention_layernorm),
        mlp_post_norm=shifted_rms_norm(layer.post_feedforward_layernorm),
        head_norms=tuple(shifted_rms_norm(norm) for norm in head_norms),
    )


def rms_norm(module: Any) -> Norm:
    """An RMS norm whose weight is its gain."""
    return Norm(module=module, gain=tensor(module.weight), epsilon=float(module.variance_epsilon))


def shifted_rms_norm(module: Any) -> Norm:
    """An RMS norm of the Gemma kind, whose gain is one more than its weight.

    The sum is kept in float32 or wider, as the model computes it: in bfloat16 `1 + weight` would lose most of a small
    weight.
    """
    weight = tensor(module.weight)
    gain = 1.0 + weight.to(torch.promote_types(weight.dtype, torch.float32))
    return Norm(module=module, gain=gain, epsilon=float(module.eps))


def tensor(parameter: Tensor) -> Tensor:
    """A weight without its gradient."""
    return parameter.detach()


def bias(linear: Any) -> Tensor | None:
    """The bias of a linear module, or None."""
    return None if linear.bias is None else tensor(linear.bias)
