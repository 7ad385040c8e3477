"""The embedded model, its transcoder, corpus and card, all from nothing.

Stages leave their result on disk, complete or not at all, and are not repeated by a later call with the same settings:
a build may be killed at any moment and started again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from tracescribe.tracer.embedded.training.card import Card, CardSettings, measure_card
from tracescribe.tracer.embedded.training.corpus import public_sentences
from tracescribe.tracer.embedded.training.model_card import render_card
from tracescribe.tracer.embedded.training.progress import ProgressCallback, silent
from tracescribe.tracer.embedded.training.tiny_llama import TinyLlama
from tracescribe.tracer.embedded.training.tokens import build_tokenizer
from tracescribe.tracer.embedded.training.train_clt import TranscoderSettings, train_transcoder
from tracescribe.tracer.embedded.training.train_model import ModelSettings, train_model
from tracescribe.tracer.errors import OutputError, SettingError
from tracescribe.tracer.provenance import sha256_json, write_bytes_atomic, write_json_atomic, write_text_atomic

PUBLIC_SENTENCES = 6000
PUBLIC_SEED = 20_001
_MARKS = "build.json"


@dataclass(frozen=True)
class BuildResult:
    """What a build left behind.

    Attributes:
        model_dir, transcoder_dir: folders that load offline.
        corpus_path: the public corpus, without latents.
        card_path, model_card_path: the card as JSON and in words.
        feature_latents_path: what each feature stands for; never to be put where an agent can read.
        card: the card.
    """

    model_dir: Path
    transcoder_dir: Path
    corpus_path: Path
    card_path: Path
    model_card_path: Path
    feature_latents_path: Path
    card: Card


@dataclass(frozen=True)
class _Recipe:
    """Everything that decides the weights; its hash tells whether a finished stage may be used again."""

    seed: int
    threads: int
    scale: float
    model: ModelSettings
    transcoder: TranscoderSettings

    def model_key(self) -> str:
        return sha256_json([self.seed, self.threads, asdict(self.model)])

    def transcoder_key(self) -> str:
        return sha256_json([self.model_key(), asdict(self.transcoder)])


class _Marks:
    """Which stages are finished, by the hash of what they were made from."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _MARKS
        try:
            self._keys: dict[str, str] = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none yet, or damaged: then nothing counts as finished
            self._keys = {}

    def done(self, stage: str, key: str) -> bool:
        return self._keys.get(stage) == key

    def set(self, stage: str, key: str) -> None:
        self._keys[stage] = key
        write_json_atomic(self._path, self._keys)


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def scaled(scale: float) -> tuple[ModelSettings, TranscoderSettings, CardSettings]:
    """Settings with step counts and sample sizes multiplied by `scale`, for trials."""
    model, transcoder, card = ModelSettings(), TranscoderSettings(), CardSettings()
    if scale == 1.0:
        return model, transcoder, card

    def some(count: int, least: int) -> int:
        return max(least, round(count * scale))

    return (
        replace(
            model, steps=some(model.steps, 2), corpus_size=some(model.corpus_size, 1000), batch=some(model.batch, 24)
        ),
        replace(
            transcoder,
            sentences=some(transcoder.sentences, 500),
            joint_steps=some(transcoder.joint_steps, 6),
            first=replace(transcoder.first, steps=some(transcoder.first.steps, 5)),
            remainder=replace(transcoder.remainder, steps=some(transcoder.remainder.steps, 5)),
            most_first=some(transcoder.most_first, 40),
            most_remainder=some(transcoder.most_remainder, 10),
        ),
        replace(
            card,
            accuracy_samples=some(card.accuracy_samples, 40),
            reconstruction_samples=some(card.reconstruction_samples, 100),
            label_samples=some(card.label_samples, 400),
            check_samples=some(card.check_samples, 400),
            pairs=some(card.pairs, 10),
        ),
    )


def _save_model(folder: Path, recipe: _Recipe, progress: ProgressCallback) -> None:
    model, _ = train_model(recipe.model, seed=recipe.seed, progress=progress)
    weights = {name: weight.detach().contiguous() for name, weight in model.state_dict().items()}
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".model.") as temporary:
            model.config.save_pretrained(temporary)
            if model.generation_config is not None:
                model.generation_config.save_pretrained(temporary)
            build_tokenizer().save_pretrained(temporary)
            for path in sorted(Path(temporary).iterdir()):
                write_bytes_atomic(folder / path.name, path.read_bytes())
        write_bytes_atomic(folder / "model.safetensors", save(weights, metadata={"format": "pt"}))
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error}; choose a folder that you can write to") from error


def _how(recipe: _Recipe) -> dict[str, Any]:
    """How the weights were made, for the card."""
    return {
        "seed": recipe.seed,
        "threads": recipe.threads,
        "torch": torch.__version__.split("+")[0],
        "public_corpus": {"sentences": PUBLIC_SENTENCES, "seed": PUBLIC_SEED},
        "model": asdict(recipe.model),
        "transcoder": asdict(recipe.transcoder),
    }


def build_embedded(
    out_dir: Path,
    *,
    seed: int = 0,
    threads: int = 1,
    progress: ProgressCallback | None = None,
    scale: float = 1.0,
) -> BuildResult:
    """Build model, transcoder, public corpus, card and the features' latents from nothing.

    The same seed, thread count and kind of processor give the same weights. Stages that a former call with the same
    settings finished are taken as they are.

    Args:
        out_dir: folder to write to; made if it is not there.
        seed: of every random draw of the training.
        threads: CPU threads of torch. They decide how sums are rounded, so the weights follow from seed and threads.
        progress: told how far each stage is.
        scale: multiplies step counts and sample sizes; below 1 only for trials.

    Raises:
        SettingError: a thread count or scale that cannot be.
        OutputError: the folder cannot be written to.
    """
    if threads < 1 or not 0 < scale <= 1:
        raise SettingError(f"threads is {threads} and scale {scale}; expected at least 1, and above 0 up to 1")
    progress = progress or silent
    model_settings, transcoder_settings, card_settings = scaled(scale)
    recipe = _Recipe(seed, threads, scale, model_settings, transcoder_settings)
    model_dir, transcoder_dir = out_dir / "model", out_dir / "clt"
    write_text_atomic(out_dir / "corpus.txt", "\n".join(public_sentences(PUBLIC_SENTENCES, PUBLIC_SEED)) + "\n")
    marks = _Marks(out_dir)
    with _torch_threads(threads):
        if not marks.done("model", recipe.model_key()):
            _save_model(model_dir, recipe, progress)
            marks.set("model", recipe.model_key())
        if not marks.done("transcoder", recipe.transcoder_key()):
            found = train_transcoder(TinyLlama.load(model_dir), transcoder_settings, seed=seed, progress=progress)
            found.save(transcoder_dir)
            marks.set("transcoder", recipe.transcoder_key())
        card, labels = measure_card(
            model_dir, transcoder_dir, settings=card_settings, build=_how(recipe), progress=progress
        )
    paths = (out_dir / "card.json", out_dir / "MODEL_CARD.md", out_dir / "oracle" / "feature_latents.json")
    write_json_atomic(paths[0], card.model_dump(mode="json"))
    write_text_atomic(paths[1], render_card(card))
    rounded = [
        {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(label).items()}
        for label in labels
    ]
    write_json_atomic(paths[2], {"format": "tracescribe-feature-latents/1", "features": rounded})
    return BuildResult(model_dir, transcoder_dir, out_dir / "corpus.txt", *paths, card)
