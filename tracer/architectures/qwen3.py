"""Qwen 3: as Llama, with RMS norms on the queries and keys of each head, which are inside the pattern.

The head width is explicit: heads times width may differ from the width of the residual stream.
"""

from __future__ import annotations

from torch import nn

from tracescribe.tracer.architectures._rms import bind_pre_norm
from tracescribe.tracer.architectures.base import Architecture


def bind(hf: nn.Module) -> Architecture:
    """The parts of a `Qwen3ForCausalLM`."""
    return bind_pre_norm(hf)
