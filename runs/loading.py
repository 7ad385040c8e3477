"""A model with its transcoders, loaded and checked against each other: what most commands begin with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracescribe.tracer.models import LanguageModel
    from tracescribe.tracer.transcoders import TranscoderSet

SMALL_MODEL_PARAMETERS = 20_000_000
"""Models below this size are run on one thread: their matrices are so small that threads mostly wait for each other. The
embedded model (1.3 million) needs half the processor time on one thread that it needs on two, and on a busy machine a
sixth of the wall-clock time. One thread also gives the same rounding on every number of cores."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A model and a transcoder set that fits it."""

    model: LanguageModel
    transcoders: TranscoderSet


def load_pair(model: str, transcoders: str, *, dtype: str = "float32", device: str = "cpu") -> Pair:
    """Load a model and its transcoders.

    Args:
        model: `embedded`, a folder, or a hub id.
        transcoders: `embedded` or a folder.
        dtype: of the model's weights; the transcoders take the dtype in which this model is computed with.
        device: of both.

    Raises:
        InputError: one of them cannot be loaded, or they do not fit each other.
    """
    from tracescribe.tracer.models import load_model
    from tracescribe.tracer.transcoders import check_fit, load_transcoders

    language_model = load_model(named_or_path(model), dtype=dtype, device=device)
    compute_dtype = str(language_model.compute_dtype).removeprefix("torch.")
    transcoder_set = load_transcoders(named_or_path(transcoders), dtype=compute_dtype, device=device)
    check_fit(language_model, transcoder_set)
    choose_threads(language_model)
    return Pair(language_model, transcoder_set)


def named_or_path(text: str) -> str | Path:
    """A path for what a shell leaves unexpanded (`~`) or what is a folder here; the text itself for everything else."""
    path = Path(text).expanduser()
    return path if text.startswith("~") or path.is_dir() else text


def choose_threads(model: LanguageModel) -> None:
    """Run a small model on one thread, unless the environment says how many (`OMP_NUM_THREADS`)."""
    import torch

    n_parameters = sum(parameter.numel() for parameter in model.hf.parameters())
    if n_parameters < SMALL_MODEL_PARAMETERS and not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(1)
