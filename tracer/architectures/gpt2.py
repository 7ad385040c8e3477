"""GPT-2: LayerNorm, one fused matrix for queries, keys and values, learned positions, biases everywhere.

LayerNorm's centring is linear and stays in the maps; its bias, the biases of all projections and the learned positions
are constants without a node. The token vectors are the token embedding alone.
"""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from tracescribe.tracer.architectures._rms import bias, tensor
from tracescribe.tracer.architectures.base import MLP_OUT, MLP_OUT_RESID, Architecture, Block, Norm


def bind(hf: nn.Module) -> Architecture:
    """The parts of a `GPT2LMHeadModel`."""
    module = cast(Any, hf)
    config, decoder, head = module.config, module.transformer, module.get_output_embeddings()
    return Architecture(
        family=str(config.model_type),
        blocks=tuple(_block(layer) for layer in decoder.h),
        final_norm=_layer_norm(decoder.ln_f),
        unembedding=tensor(head.weight),
        unembedding_bias=bias(head),
        n_heads=int(config.n_head),
        n_kv_heads=int(config.n_head),
        embedding=decoder.wte,
    )


def _block(layer: Any) -> Block:
    attention = layer.attn
    width = int(attention.embed_dim)
    # `Conv1D` keeps its weights as [in, out], and queries, keys and values side by side
    fused_weight, fused_bias = tensor(attention.c_attn.weight), tensor(attention.c_attn.bias)
    return Block(
        module=layer,
        attention=attention,
        attention_norm=_layer_norm(layer.ln_1),
        mlp_norm=_layer_norm(layer.ln_2),
        mlp=layer.mlp,
        v_weight=fused_weight[:, 2 * width :].T,
        v_bias=fused_bias[2 * width :],
        o_weight=tensor(attention.c_proj.weight).T,
        o_bias=tensor(attention.c_proj.bias),
        write_modules={MLP_OUT: layer.mlp, MLP_OUT_RESID: layer.mlp},
    )


def _layer_norm(module: Any) -> Norm:
    return Norm(
        module=module,
        gain=tensor(module.weight),
        epsilon=float(module.eps),
        bias=tensor(module.bias),
        centred=True,
    )
