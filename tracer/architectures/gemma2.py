"""Gemma 2: four norms per layer, two of them behind attention and MLP; norm gains of `1 + weight`; soft-caps.

The token vectors are scaled by the root of `d_model` before the first layer, whose input they are. The soft-cap of the
attention scores is inside the pattern; that of the final logits shapes probabilities, and logit targets are traced
before it.
"""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from tracescribe.tracer.architectures._rms import describe, post_norm_block, shifted_rms_norm
from tracescribe.tracer.architectures.base import Architecture


def bind(hf: nn.Module) -> Architecture:
    """The parts of a `Gemma2ForCausalLM`."""
    return describe(hf, cast(Any, hf).model, post_norm_block, shifted_rms_norm)
