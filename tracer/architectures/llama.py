"""Llama: RMS norms before attention and MLP, grouped-query attention, rotary positions, no biases by default.

RoPE and its scaling only touch attention patterns, which the tracer takes as they are. `attention_bias: true` gives
biases to the four attention projections; those of values and output are constants without a node.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from tracescribe.tracer.architectures.base import MLP_OUT, MLP_OUT_RESID, Architecture, Block, Norm


def bind(hf: nn.Module) -> Architecture:
    """The parts of a `LlamaForCausalLM`."""
    module = cast(Any, hf)
    config = module.config
    head = module.get_output_embeddings()
    return Architecture(
        family=str(config.model_type),
        blocks=tuple(_block(layer) for layer in module.model.layers),
        final_norm=_norm(module.model.norm),
        unembedding=_tensor(head.weight),
        unembedding_bias=_bias(head),
        n_heads=int(config.num_attention_heads),
        n_kv_heads=int(config.num_key_value_heads),
    )


def _block(layer: Any) -> Block:
    attention = layer.self_attn
    return Block(
        module=layer,
        attention=attention,
        attention_norm=_norm(layer.input_layernorm),
        mlp_norm=_norm(layer.post_attention_layernorm),
        mlp=layer.mlp,
        v_weight=_tensor(attention.v_proj.weight),
        v_bias=_bias(attention.v_proj),
        o_weight=_tensor(attention.o_proj.weight),
        o_bias=_bias(attention.o_proj),
        # nothing stands between the MLP's output and the residual stream, so both names mean one place
        write_modules={MLP_OUT: layer.mlp, MLP_OUT_RESID: layer.mlp},
    )


def _norm(module: Any) -> Norm:
    return Norm(module=module, gain=_tensor(module.weight), epsilon=float(module.variance_epsilon))


def _tensor(parameter: Tensor) -> Tensor:
    return parameter.detach()


def _bias(linear: Any) -> Tensor | None:
    return None if linear.bias is None else _tensor(linear.bias)
