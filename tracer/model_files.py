"""The files of a language model: where they lie, which family they hold, weights and tokenizer read from them.

Folders are read offline and from safetensors alone; nothing is ever unpickled, and no code from a folder is run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from tracescribe.tracer import embedded
from tracescribe.tracer.architectures import supported_families
from tracescribe.tracer.errors import UnknownModelError

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HUB_FILES = ["*.safetensors", "*.json", "*.model", "merges.txt"]
_HUB_LEFT_OUT = ["*/*", "consolidated*"]  # other formats, and the same weights once more
_PICKLED_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")


def names_of(model_id: str, path: Path) -> tuple[str, ...]:
    """What a model is called: its id, and the repository whose snapshot in the hub's cache the folder is."""
    folder = path.resolve()
    return (model_id, folder.parents[1].name) if folder.parent.name == "snapshots" else (model_id,)


def locate(name_or_path: str | Path) -> tuple[str, Path]:
    """Model id and local folder.

    Raises:
        UnknownModelError: neither `embedded` nor a folder nor a hub id that can be had.
    """
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
        return Path(
            snapshot_download(hub_id, allow_patterns=_HUB_FILES, ignore_patterns=_HUB_LEFT_OUT, local_files_only=True)
        )
    except (OSError, ValueError):  # not in the cache: ask the hub
        try:
            return Path(snapshot_download(hub_id, allow_patterns=_HUB_FILES, ignore_patterns=_HUB_LEFT_OUT))
        except (OSError, ValueError) as error:
            raise UnknownModelError(
                f"no model {hub_id!r}: no such folder, not in the local cache, and the hub gave {_first_line(error)}; "
                "check the spelling and the network"
            ) from error


def checked_family(path: Path) -> str:
    """`model_type` of the folder's configuration, known to have an adapter before any weight is read.

    Raises:
        UnknownModelError: no configuration or a malformed one, a family without an adapter, or weights of a kind that
            has no plain matrices.
    """
    from transformers import AutoConfig

    file, supported = path / "config.json", ", ".join(supported_families())
    if not file.is_file():
        raise UnknownModelError(f"model folder {path} has no config.json; give a folder in Hugging Face format")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        family = config["model_type"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise UnknownModelError(
            f"cannot read {file}: {_first_line(error)}; expected a JSON object with a model_type among {supported}"
        ) from error
    if family not in supported_families():
        raise UnknownModelError(
            f"model folder {path} has architecture {str(family)[:80]!r}, for which there is no adapter; "
            f"supported: {supported}"
        )
    if "quantization_config" in config:
        raise UnknownModelError(
            f"model folder {path} holds quantized weights, which are no plain matrices; take the unquantized model"
        )
    try:
        AutoConfig.from_pretrained(path, local_files_only=True)
    except Exception as error:  # transformers raises many kinds for a bad configuration
        raise UnknownModelError(
            f"cannot read {file}: {_first_line(error)}; copy or download the folder again"
        ) from error
    return str(family)


def load_weights(path: Path, family: str, dtype: torch.dtype, attention: str) -> nn.Module:
    """The module, on the CPU, in evaluation mode and without gradients.

    Args:
        path: the folder.
        family: its `model_type`, for messages.
        dtype: of the weights; norms and rotary tables stay as `transformers` keeps them.
        attention: implementation that shows patterns: `eager`, or one that is registered.

    Raises:
        UnknownModelError: weights that are missing, pickled, malformed, incomplete or not finite.
    """
    from transformers import AutoModelForCausalLM

    _refuse_pickled(path)
    try:
        loaded: Any = cast(Any, AutoModelForCausalLM).from_pretrained(
            path,
            attn_implementation=attention,  # sdpa and flash show no patterns, and ignore Gemma 2's soft-cap
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


def load_tokenizer(path: Path) -> Any:
    """The folder's tokenizer.

    Raises:
        UnknownModelError: missing or malformed.
    """
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
def quiet_transformers() -> Iterator[None]:
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
