"""The embedded default model: where its files lie.

A small Llama-configured transformer, *trained to implement* a known causal model of six tasks, its cross-layer
transcoder, a plain public corpus and what a scan of that corpus found. All of it ships inside the package and loads
offline. The functions return paths of real files (the package is always installed unpacked).

Comes in: nothing. Goes out: paths and the model card. May not happen here: no heavy import, and nothing that tells the
latent variables of the corpus; those live in `training/`, which agents may never import.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any, cast

from tracescribe.tracer.errors import OutputError

__all__ = ["MODEL_ID", "card", "card_path", "corpus_path", "evidence_dir", "model_dir", "transcoder_dir"]

MODEL_ID = "embedded"
"""The name under which every command knows this model."""


def _root() -> Path:
    return Path(str(resources.files("tracescribe.tracer.embedded")))


def model_dir() -> Path:
    """Folder of the model and its tokenizer, as `transformers` saves and loads them."""
    return _root() / "model"


def transcoder_dir() -> Path:
    """Folder of the cross-layer transcoder, in circuit-tracer's format."""
    return _root() / "clt"


def evidence_dir() -> Path:
    """Folder of the evidence that a scan of the public corpus gave."""
    return _root() / "evidence"


def corpus_path() -> Path:
    """The public corpus: one sentence a line, words separated by spaces, no `<bos>`."""
    return _root() / "corpus.txt"


def card_path() -> Path:
    """The model card's figures as JSON; `MODEL_CARD.md` beside it says the same in words."""
    return _root() / "card.json"


def card() -> dict[str, Any]:
    """The model card's figures.

    Raises:
        OutputError: the card is missing or damaged, that is, the installation is.
    """
    path = card_path()
    try:
        return cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot read the model card {path}: {error}; install the package again") from error
