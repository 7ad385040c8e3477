"""The embedded model from nothing: training with progress that people can watch, then the evidence scan."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracescribe.runs import terminal
from tracescribe.runs.workspace import prepare_folder


@dataclass(frozen=True)
class BuildSummary:
    """What a build left behind.

    Attributes:
        paths: what lies where, by name.
        figures: headline figures of the card.
        seconds: of the whole build; a resumed build counts only its own time.
    """

    paths: dict[str, str]
    figures: dict[str, float]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The summary as plain JSON values."""
        return {"paths": self.paths, "figures": self.figures, "seconds": round(self.seconds, 1)}


def train(out: Path, *, seed: int, threads: int) -> BuildSummary:
    """Train model and transcoder, compute the card, scan the corpus for evidence.

    Args:
        out: folder; what it already holds of the same seed and settings is not computed again.
        seed: of every random draw.
        threads: CPU threads of torch.

    Raises:
        OutputError: the folder cannot be written to; found out before any work.
    """
    folder = prepare_folder(out)
    from tracescribe.tracer.embedded.training.build import build_embedded

    started = time.perf_counter()
    with terminal.progress_bars() as bars:
        progress = terminal.StageBars(bars)
        result = build_embedded(folder, seed=seed, threads=threads, progress=progress)
        evidence = _scan(result.model_dir, result.transcoder_dir, result.corpus_path, folder / "evidence", progress)
    return BuildSummary(
        paths={
            "model": str(result.model_dir),
            "transcoders": str(result.transcoder_dir),
            "corpus": str(result.corpus_path),
            "card": str(result.card_path),
            "oracle": str(result.feature_latents_path),
            "evidence": str(evidence),
        },
        figures=headline_figures(result.card),
        seconds=time.perf_counter() - started,
    )
