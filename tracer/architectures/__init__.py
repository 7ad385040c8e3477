"""Model families that the tracer can open: one adapter file each, registered here.

To add a family: write `NAME.py` with a `bind(hf) -> Architecture`, add its `model_type` to `_ADAPTERS`, and add golden
cases. Comes in: a loaded Hugging Face module. Goes out: an `Architecture`. Nothing else may read module attributes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from tracescribe.tracer.errors import UnknownModelError

if TYPE_CHECKING:
    from torch import nn

    from tracescribe.tracer.architectures.base import Adapter, Architecture

__all__ = ["bind_architecture", "supported_families"]

_ADAPTERS = {
    "gemma2": "tracescribe.tracer.architectures.gemma2",
    "gemma3": "tracescribe.tracer.architectures.gemma3",  # the text layers of the model that also reads images
    "gemma3_text": "tracescribe.tracer.architectures.gemma3",
    "gpt2": "tracescribe.tracer.architectures.gpt2",
    "llama": "tracescribe.tracer.architectures.llama",
    "mistral": "tracescribe.tracer.architectures.mistral",
    "qwen2": "tracescribe.tracer.architectures.qwen2",
    "qwen3": "tracescribe.tracer.architectures.qwen3",
}


def supported_families() -> tuple[str, ...]:
    """The `model_type` names with an adapter, sorted."""
    return tuple(sorted(_ADAPTERS))


def bind_architecture(family: str, hf: nn.Module) -> Architecture:
    """The parts of a loaded model.

    Args:
        family: `model_type` of its configuration.
        hf: the `...ForCausalLM` module.

    Raises:
        UnknownModelError: no adapter for this family.
    """
    if family not in _ADAPTERS:
        raise UnknownModelError(
            f"architecture {family!r} has no adapter; supported: {', '.join(supported_families())}; "
            "choose such a model, or add an adapter in tracer/architectures"
        )
    adapter = cast("Adapter", import_module(_ADAPTERS[family]).bind)
    return adapter(hf)
