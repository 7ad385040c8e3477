"""Mistral: as Llama, with a sliding window or none, and an explicit head width in Nemo; no biases.

A query of a sliding window sees the last `sliding_window` keys, itself included; the pattern shows it.
"""

from __future__ import annotations

from torch import nn

from tracescribe.tracer.architectures._rms import bind_pre_norm
from tracescribe.tracer.architectures.base import Architecture


def bind(hf: nn.Module) -> Architecture:
    """The parts of a `MistralForCausalLM`."""
    return bind_pre_norm(hf)
