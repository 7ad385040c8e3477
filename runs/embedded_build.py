"""The embedded model from nothing: training with progress that people can watch, then the evidence scan."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracescribe.runs import terminal
from tracescribe.runs.model_check import figures_of
from tracescribe.runs.scanning import scan_to_folder
from tracescribe.runs.workspace import prepare_folder


@dataclass(frozen=True)
class BuildSummary:
    """What a build left behind.

    Attributes:
        paths: what lies where, by name.
        figures: of the card, by name.
        seconds: of this call; a resumed build counts only its own time.
    """

    paths: dict[str, str]
    figures: dict[str, float]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The summary as plain JSON values."""
        return {"paths": self.paths, "figures": self.figures, "seconds": round(self.seconds, 1)}


def train(out: Path, *, seed: int, threads: int, scale: float = 1.0) -> BuildSummary:
    """Train model and transcoder, compute the card, scan the corpus for evidence.

    Args:
        out: folder; what it already holds of the same seed and settings is not computed again.
        seed: of every random draw.
        threads: CPU threads of torch.
        scale: multiplies step counts and sample sizes; below 1 only for trials.

    Raises:
        OutputError: the folder cannot be written to; found out before any work.
    """
    folder = prepare_folder(out)
    from tracescribe.tracer.embedded.training.build import build_embedded
    from tracescribe.tracer.evidence import read_corpus
    from tracescribe.tracer.models import load_model
    from tracescribe.tracer.transcoders import load_transcoders

    started = time.perf_counter()
    with terminal.progress_bars() as bars:
        progress = terminal.StageBars(bars)
        result = build_embedded(folder, seed=seed, threads=threads, progress=progress, scale=scale)
        model, transcoders = load_model(result.model_dir), load_transcoders(result.transcoder_dir)
        scan_to_folder(model, transcoders, read_corpus(result.corpus_path), folder / "evidence", progress)
    paths = {
        "model": result.model_dir,
        "transcoders": result.transcoder_dir,
        "corpus": result.corpus_path,
        "card": result.card_path,
        "model card": result.model_card_path,
        "oracle": result.feature_latents_path,
        "evidence": folder / "evidence",
    }
    return BuildSummary(
        paths={name: str(path) for name, path in paths.items()},
        figures={figure.name: figure.value for figure in figures_of(result.card)},
        seconds=time.perf_counter() - started,
    )
