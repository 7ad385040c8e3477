"""A model with its transcoders, loaded and checked against each other: what most commands begin with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracescribe.tracer.models import LanguageModel
    from tracescribe.tracer.transcoders import TranscoderSet


@dataclass(frozen=True, eq=False)
class Pair:
    """A model and a transcoder set that fits it."""

    model: LanguageModel
    transcoders: TranscoderSet


def load_pair(model: str, transcoders: str) -> Pair:
    """Load a model and its transcoders.

    Args:
        model: `embedded`, a folder, or a hub id.
        transcoders: `embedded` or a folder.

    Raises:
        InputError: one of them cannot be loaded, or they do not fit each other.
    """
    from tracescribe.tracer.models import load_model
    from tracescribe.tracer.transcoders import check_fit, load_transcoders

    language_model = load_model(named_or_path(model))
    transcoder_set = load_transcoders(named_or_path(transcoders))
    check_fit(language_model, transcoder_set)
    return Pair(language_model, transcoder_set)


def named_or_path(text: str) -> str | Path:
    """A path for what a shell leaves unexpanded (`~`) or what is a folder here; the text itself for everything else."""
    path = Path(text).expanduser()
    return path if text.startswith("~") or path.is_dir() else text
