"""Llama 2 and 3: RMS norms before attention and MLP, grouped-query attention, rotary positions, no biases by default.

`attention_bias: true` gives biases to the four attention projections; those of values and output are constants without
a node, as is the bias that `mlp_bias: true` gives to the MLP.
"""

from __future__ import annotations

from torch import nn

from tracescribe.tracer.architectures._rms import bind_pre_norm
from tracescribe.tracer.architectures.base import Architecture


def bind(hf: nn.Module) -> Architecture:
    """The parts of a `LlamaForCausalLM`."""
    return bind_pre_norm(hf)
