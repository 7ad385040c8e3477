"""Language models: a Hugging Face causal LM with its tokenizer, opened by the adapter of its family.

`model_files.py` reads the files; here is what they become.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from tracescribe.tracer import float64_modules
from tracescribe.tracer.architectures import bind_architecture
from tracescribe.tracer.architectures.base import Architecture
from tracescribe.tracer.errors import SettingError
from tracescribe.tracer.fingerprints import sha256_folder
from tracescribe.tracer.model_files import (
    checked_family,
    load_tokenizer,
    load_weights,
    locate,
    names_of,
    quiet_transformers,
)
from tracescribe.tracer.position_rule import PositionRule, position_rule
from tracescribe.tracer.vocabulary import Vocabulary

_WEIGHT_FILES = ("*.safetensors", "config.json")

DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
"""Dtypes that a model can be opened in."""

UNLIMITED_POSITIONS = 2**31 - 1
"""Stands for a model whose configuration names no limit (relative positions)."""


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A causal language model ready to be traced: attention that shows its patterns, no gradients, evaluation mode.

    Attributes:
        model_id: `embedded`, a hub id, or the name of the folder that the model came from.
        hf: the Hugging Face `...ForCausalLM` module.
        tokenizer: its `transformers` tokenizer.
        architecture: where the module's parts lie.
        weights_sha256: hash of configuration and weight files.
        path: the folder.
        position_rule: which leading positions have no features, and what a prompt must begin with.
    """

    model_id: str
    hf: nn.Module
    tokenizer: Any
    architecture: Architecture
    weights_sha256: str
    path: Path
    position_rule: PositionRule = field(default_factory=PositionRule)

    @property
    def n_layers(self) -> int:
        """Transformer blocks."""
        return len(self.architecture.blocks)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return int(self.architecture.unembedding.shape[1])

    @property
    def vocab_size(self) -> int:
        """Logits per position."""
        return int(self.architecture.unembedding.shape[0])

    @property
    def max_positions(self) -> int:
        """Most tokens that a prompt may have, BOS included."""
        config: Any = cast(Any, self.hf).config.get_text_config()
        return int(getattr(config, "max_position_embeddings", None) or UNLIMITED_POSITIONS)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.architecture.unembedding.dtype

    @property
    def compute_dtype(self) -> torch.dtype:
        """In which the tracer computes: float64 for a float64 model, else float32."""
        return torch.float64 if self.dtype == torch.float64 else torch.float32

    @property
    def device(self) -> torch.device:
        """Where the weights lie; token ids must be moved there before the module is called."""
        return self.architecture.unembedding.device

    @property
    def zero_positions(self) -> int:
        """Leading positions without features and errors, by the model's rule."""
        return self.position_rule.zero_positions

    def zero_positions_of(self, tokens: Tensor) -> int:
        """Leading positions without features in one prompt `[n_pos]`: more where it opens with a turn of a chat."""
        return self.position_rule.positions_of([int(i) for i in tokens[: len(self.position_rule.optional_prefix)]])

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The tokenizer's rules and error messages."""
        prefix = self.position_rule.required_prefix
        return Vocabulary(self.tokenizer, self.vocab_size, self.max_positions, self.model_id, prefix)

    def encode(self, prompt: str) -> Tensor:
        """Token ids of a prompt, `[n_pos]` int64 on the CPU, led by BOS exactly once.

        Raises:
            PromptError: the prompt is empty, too long, lacks the opening that an instruction-tuned model needs, or has
                words outside the vocabulary (all are listed, each with near words).
        """
        return self.vocabulary.encode(prompt)

    def token_text(self, token_id: int) -> str:
        """Text of one token.

        Raises:
            UnknownIdError: no such token.
        """
        return self.vocabulary.token_text(token_id)

    def token_id(self, text: str) -> int:
        """Id of the one token that a text encodes to.

        Raises:
            UnknownIdError: the text is no single token; the message lists near words.
        """
        return self.vocabulary.token_id(text)


def load_model(
    name_or_path: str | Path, *, dtype: str = "float32", device: str = "cpu", zero_positions: int | None = None
) -> LanguageModel:
    """Open a model.

    Args:
        name_or_path: `embedded`, a folder in Hugging Face format, or a hub id (`org/name`; taken from the local cache
            where it lies there).
        dtype: `float32`, `bfloat16` or `float64`.
        device: `cpu`, `cuda` or `cuda:N`.
        zero_positions: leading positions without features; None takes the model's own rule.

    Raises:
        UnknownModelError: no such model, a folder that lacks a part, an architecture without an adapter, or weights
            that are pickled, corrupt, incomplete or not finite.
        SettingError: an unknown dtype, a device that is not there or too small, or a bad number of positions.
    """
    chosen_dtype, chosen_device = _checked_dtype(dtype), checked_device(device)
    model_id, path = locate(name_or_path)
    family = checked_family(path)
    attention = float64_modules.register_attention() if chosen_dtype == torch.float64 else "eager"
    rule = position_rule(family, names_of(model_id, path), path, zero_positions)
    with quiet_transformers():
        hf = load_weights(path, family, chosen_dtype, attention)
        tokenizer = load_tokenizer(path)
    bind_architecture(family, hf)  # drops parts that are never run, so that they are not moved
    hf = _moved(hf, chosen_device, model_id)
    architecture = bind_architecture(family, hf)
    if chosen_dtype == torch.float64:
        float64_modules.widen_norms(architecture)
    return LanguageModel(
        model_id=model_id,
        hf=hf,
        tokenizer=tokenizer,
        architecture=architecture,
        weights_sha256=sha256_folder(path, _WEIGHT_FILES),
        path=path,
        position_rule=rule,
    )


def _checked_dtype(name: str) -> torch.dtype:
    if name not in DTYPES:
        raise SettingError(f"dtype must be one of {', '.join(DTYPES)}, found {name!r}")
    return DTYPES[name]


def checked_device(name: str) -> torch.device:
    """A device that is there.

    Args:
        name: `cpu`, `cuda` or `cuda:N`.

    Raises:
        SettingError: another name, or a device that PyTorch does not see.
    """
    found = re.fullmatch(r"cpu|cuda(?::(\d{1,4}))?", name)
    if not found:
        raise SettingError(f"device must be cpu, cuda or cuda:N, found {name!r}")
    if name != "cpu":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(found[1] or 0) >= count:
            seen = f"{count} CUDA device{'s' * (count > 1)}" if count else "no CUDA device"
            raise SettingError(
                f"device {name!r} is not there: PyTorch {torch.__version__} sees {seen}; use device 'cpu'"
            )
    return torch.device(name)


def _moved(hf: nn.Module, device: torch.device, model_id: str) -> nn.Module:
    try:
        return hf.to(device)
    except torch.OutOfMemoryError as error:
        size = sum(p.numel() * p.element_size() for p in hf.parameters()) / 2**30
        raise SettingError(
            f"model {model_id} takes {size:.1f} GiB, more than is free on {device}; use dtype 'bfloat16' or device 'cpu'"
        ) from error
