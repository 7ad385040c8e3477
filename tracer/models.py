"""Language models: a Hugging Face causal LM with its tokenizer, opened by the adapter of its family.

Folders are read offline and from safetensors alone; nothing is ever unpickled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from tracescribe.tracer import embedded, float64_modules
from tracescribe.tracer.architectures import bind_architecture, supported_families
from tracescribe.tracer.architectures.base import Architecture
from tracescribe.tracer.errors import SettingError, UnknownModelError
from tracescribe.tracer.fingerprints import sha256_folder
from tracescribe.tracer.position_rule import PositionRule, position_rule
from tracescribe.tracer.vocabulary import Vocabulary

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HUB_FILES = ["*.safetensors", "*.json", "*.model"]
_WEIGHT_FILES = ("*.safetensors", "config.json")
_PICKLED_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")

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
    model_id, path = _locate(name_or_path)
    family = _checked_family(path)
    rule = position_rule(family, _names(model_id, path), path, zero_positions)
    with _quiet_transformers():
        hf = _load_weights(path, family, chosen_dtype)
        tokenizer = _load_tokenizer(path)
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


def _names(model_id: str, path: Path) -> tuple[str, ...]:
    """What a model is called: its id, and the repository whose snapshot in the hub's cache the folder is."""
    folder = path.resolve()
    return (model_id, folder.parents[1].name) if folder.parent.name == "snapshots" else (model_id,)


def _locate(name_or_path: str | Path) -> tuple[str, Path]:
    """Model id and local folder."""
    if str(name_or_path) == embedded.MODEL_ID:
        return embedded.MODEL_ID, embedded.model_dir()
    path = Path(name_or_path)
    if path.is_dir():
        return path.resolve().name, path
    if isinstance(name_or_path, str) and _HUB_ID.fullmatch(name_or_path):
        return name_or_path, _hub_snapshot(name_or_path)
    raise UnknownModelError(
        f"no model {str(name_or_path)!r}: neither {embedded.MODEL_ID!r} nor a folder nor a hub id (org/name); "
        "check the spelling"
    )


def _hub_snapshot(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, allow_patterns=_HUB_FILES, local_files_only=True))
    except (OSError, ValueError):  # not in the cache: ask the hub
        try:
            return Path(snapshot_download(hub_id, allow_patterns=_HUB_FILES))
        except (OSError, ValueError) as error:
            raise UnknownModelError(
                f"no model {hub_id!r}: no such folder, not in the local cache, and the hub gave {_first_line(error)}; "
                "check the spelling and the network"
            ) from error


def _checked_family(path: Path) -> str:
    """`model_type` of the folder's configuration, known to have an adapter before any weight is read."""
    from transformers import AutoConfig

    if not (path / "config.json").is_file():
        raise UnknownModelError(f"model folder {path} has no config.json; give a folder in Hugging Face format")
    try:
        config = AutoConfig.from_pretrained(path, local_files_only=True)
    except Exception as error:  # transformers raises many kinds for a bad configuration
        raise UnknownModelError(
            f"cannot read {path / 'config.json'}: {_first_line(error)}; supported architectures: "
            f"{', '.join(supported_families())}"
        ) from error
    family = str(config.model_type)
    if family not in supported_families():
        raise UnknownModelError(
            f"model folder {path} has architecture {family!r}, for which there is no adapter; "
            f"supported: {', '.join(supported_families())}"
        )
    return family


def _load_weights(path: Path, family: str, dtype: torch.dtype) -> nn.Module:
    from transformers import AutoModelForCausalLM

    _refuse_pickled(path)
    try:
        loaded: Any = cast(Any, AutoModelForCausalLM).from_pretrained(
            path,
            # other implementations show no patterns, and ignore Gemma 2's soft-cap of the scores
            attn_implementation=float64_modules.register_attention() if dtype == torch.float64 else "eager",
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:  # missing or truncated files and wrong shapes each raise their own kind
        raise UnknownModelError(
            f"cannot read the {family} weights in {path}: {_first_line(error)}; copy or download the folder again"
        ) from error
    hf, info = loaded
    faults = [f"no {key}" for key in sorted(info["missing_keys"])]
    faults += [f"unexpected {key}" for key in sorted(info["unexpected_keys"])]
    faults += [f"{name} is not finite" for name, p in hf.named_parameters() if not torch.isfinite(p).all()]
    if faults:
        shown = ", ".join(faults[:3]) + (f" and {len(faults) - 3} more" if len(faults) > 3 else "")
        raise UnknownModelError(f"the {family} weights in {path} are damaged: {shown}; copy the folder again")
    return cast(nn.Module, hf.eval().requires_grad_(False))


def _refuse_pickled(path: Path) -> None:
    """A clear word where a folder has weights, but only in files that would have to be unpickled."""
    if any(path.glob("*.safetensors")):
        return
    pickled = sorted(file.name for file in path.iterdir() if file.suffix in _PICKLED_SUFFIXES)
    if pickled:
        raise UnknownModelError(
            f"model folder {path} has its weights only as {pickled[0]}, a pickle, which is never opened; "
            "convert it to safetensors, or take a revision that has them"
        )


def _load_tokenizer(path: Path) -> Any:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    # tokenizer.json says all; AutoTokenizer would keep its vocabulary, and put the usual rules of the family round it
    loader: Any = PreTrainedTokenizerFast if (path / "tokenizer.json").is_file() else AutoTokenizer
    try:
        return loader.from_pretrained(path, local_files_only=True)
    except Exception as error:  # a missing or malformed tokenizer raises many kinds
        raise UnknownModelError(
            f"cannot read the tokenizer in {path}: {_first_line(error)}; the folder needs tokenizer.json"
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bars and no warnings from loading; whatever matters is raised."""
    from transformers.utils import logging

    transformers_logging: Any = logging  # its setters are untyped
    bars, level = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
