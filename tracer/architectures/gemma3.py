"""Gemma 3, text: as Gemma 2 without soft-caps, with norms on queries and keys and two rotary bases (both in the pattern).

Checkpoints of 4B and more wrap the text layers in a model that also reads images: `gemma3` beside `gemma3_text`. Its
image parts are dropped, since only text is traced.
"""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from tracescribe.tracer.architectures._rms import describe, post_norm_block, shifted_rms_norm
from tracescribe.tracer.architectures.base import Architecture
from tracescribe.tracer.errors import UnknownModelError

_IMAGE_PARTS = ("vision_tower", "multi_modal_projector")


def bind(hf: nn.Module) -> Architecture:
    """The parts of a `Gemma3ForCausalLM`, or of the text layers of a `Gemma3ForConditionalGeneration`.

    Raises:
        UnknownModelError: attention is not causal.
    """
    model = cast(Any, hf).model
    for part in _IMAGE_PARTS:
        if hasattr(model, part):
            setattr(model, part, nn.Identity())  # never called without an image; hundreds of millions of weights
    if getattr(cast(Any, hf).config.get_text_config(), "use_bidirectional_attention", False):
        raise UnknownModelError(
            "this Gemma 3 attends in both directions (use_bidirectional_attention), as embedding models do; "
            "only causal language models can be traced"
        )
    return describe(hf, getattr(model, "language_model", model), post_norm_block, shifted_rms_norm)
