"""Qwen 2 and 2.5: as Llama, with biases on queries, keys and values.

Those of queries and keys are inside the pattern; that of the values reaches the residual stream through the output
projection, the same at every position, and is a constant without a node.
"""

from __future__ import annotations

from torch import nn

from tracescribe.tracer.architectures._rms import bind_pre_norm
from tracescribe.tracer.architectures.base import Architecture


def bind(hf: nn.Module) -> Architecture:
    """The parts of a `Qwen2ForCausalLM`."""
    return bind_pre_norm(hf)
