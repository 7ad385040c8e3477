"""The model card: every figure that is claimed of the embedded model, and how to compute it again from the weights.

The samples behind the figures chose nothing: they are drawn with seeds that neither training nor labelling uses. The
world is finite, so single sentences of the training split can coincide; held-out combinations never do.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import safe_open

from tracescribe.tracer.embedded.training.accuracy import measure_accuracy, measure_implementation
from tracescribe.tracer.embedded.training.corpus import TASKS
from tracescribe.tracer.embedded.training.cross_layer import CrossLayerTranscoder
from tracescribe.tracer.embedded.training.interchange import TESTS, Interchange, InterchangeRunner
from tracescribe.tracer.embedded.training.latents import FeatureLatent, check_labels, label_features, tabulate
from tracescribe.tracer.embedded.training.progress import ProgressCallback, silent
from tracescribe.tracer.embedded.training.reconstruction import Reconstruction, measure_reconstruction
from tracescribe.tracer.embedded.training.tiny_llama import TinyLlama
from tracescribe.tracer.embedded.training.train_model import Codes, ModelSettings

STAGE = "card"
CARD_FORMAT = "tracescribe-embedded-card/1"
STATEMENT = (
    "This model was trained to implement a known causal model by interchange interventions (Geiger et al. 2022; "
    "Gupta et al. 2024, InterpBench). It is not a naturally trained language model: its intermediate variables lie "
    "where they do because training put them there, which is what makes its gold circuits true by construction."
)


@dataclass(frozen=True)
class CardSettings:
    """Sample sizes and seeds behind the card's figures.

    Attributes:
        accuracy_samples: per task and split.
        reconstruction_samples: sentences per split.
        label_samples: training sentences on which features are matched with latents.
        check_samples: held-out sentences on which the match is scored.
        pairs: prompt pairs per interchange test.
        control_repetitions: matched random groups per pair.
        group_f1: a value's group holds the features that match it best, at or above this F1; both are reported.
        *_seed: one for each figure, used nowhere else.
    """

    accuracy_samples: int = 600
    reconstruction_samples: int = 1500
    label_samples: int = 8000
    check_samples: int = 8000
    pairs: int = 200
    control_repetitions: int = 5
    group_f1: tuple[float, ...] = (0.5, 0.8)
    accuracy_seed: int = 9_001
    reconstruction_seed: int = 9_002
    label_seed: int = 9_003
    check_seed: int = 9_004
    interchange_seed: int = 9_005
    implementation_seed: int = 9_006


# A third of the samples: enough to see that a figure is not what the card claims, not enough to quote.
QUICK = CardSettings(
    accuracy_samples=200,
    reconstruction_samples=500,
    label_samples=4000,
    check_samples=3000,
    pairs=60,
    control_repetitions=2,
    group_f1=(0.5,),
)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TaskAccuracy(_Frozen):
    """Shares of right answers; `strict_cities`: two-hop questions about cities never seen in one, where there are any."""

    samples: int
    train: float
    held_out: float
    strict_cities: float | None = None
    strict_samples: int = 0


class ReplacementFigures(_Frozen):
    """The replacement model against the model; `answer_*`: at the words before the answers."""

    kl: float
    top1: float
    answer_kl: float
    answer_top1: float
    answer_top1_by_task: dict[str, float]


class ReconstructionFigures(_Frozen):
    """One split; lists are per layer."""

    samples: int
    fvu: list[float]
    l0: list[float]
    dead: list[float]
    live: ReplacementFigures
    frozen: ReplacementFigures


class FeatureFigures(_Frozen):
    """How live features match single latents.

    `tested`: live features whose latent occurs often enough in held-out text. Shares named `held_out_*` are of these,
    on held-out text; `choice_*` are of all live features, on the text that the match was chosen on.
    """

    total: int
    live: int
    live_per_layer: list[int]
    tested: int
    held_out_auc95_and_f1_70: float
    held_out_auc95: float
    held_out_f1_60: float
    choice_auc95: float
    choice_f1_60: float
    choice_f1_80: float
    by_latent: dict[str, int]


class InterchangeFigures(_Frozen):
    """One test at one group threshold. `swap`: the causal model's answer came out; `*_lost`: the old one was gone."""

    group_f1: float
    pairs: int
    cleared: float
    brought: float
    swap: float
    swap_lost: float
    control: float
    control_lost: float
    controls: int


class Card(_Frozen):
    """Everything that is claimed of the embedded model."""

    format: str = CARD_FORMAT
    statement: str = STATEMENT
    parameters: int
    vocabulary: int
    layers: int
    width: int
    transcoder_sizes: list[int]
    bytes_model: int
    bytes_transcoder: int
    build: dict[str, Any]
    measured_with: dict[str, Any]
    accuracy: dict[str, TaskAccuracy]
    code_energy_missed: dict[str, float]
    output_energy_elsewhere: list[float]
    reconstruction: dict[str, ReconstructionFigures]
    features: FeatureFigures
    interchange: dict[str, list[InterchangeFigures]]


def _rounded(value: Any, digits: int = 4) -> Any:
    """The same structure with floats rounded, so that a card does not pretend to more digits than samples give."""
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, dict):
        return {key: _rounded(item, digits) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item, digits) for item in value]
    return value


def _accuracy(model: TinyLlama, settings: CardSettings) -> dict[str, TaskAccuracy]:
    train = measure_accuracy(model, settings.accuracy_samples, settings.accuracy_seed, "train")
    held_out = measure_accuracy(model, settings.accuracy_samples, settings.accuracy_seed, "held_out")
    return {
        task: TaskAccuracy(
            samples=settings.accuracy_samples,
            train=round(train[task].right, 4),
            held_out=round(held_out[task].right, 4),
            strict_cities=_rounded(held_out[task].strict),
            strict_samples=held_out[task].strict_samples,
        )
        for task in TASKS
    }


def _reconstruction(found: Reconstruction) -> ReconstructionFigures:
    names = {"unexplained": "fvu", "active": "l0"}
    return ReconstructionFigures(**_rounded({names.get(key, key): value for key, value in asdict(found).items()}))


def _share(hits: Sequence[bool]) -> float:
    return round(sum(hits) / max(1, len(hits)), 4)


def _features(labels: Sequence[FeatureLatent], sizes: Sequence[int]) -> FeatureFigures:
    tested = [
        (x.held_out_auc, x.held_out_f1) for x in labels if x.held_out_auc is not None and x.held_out_f1 is not None
    ]
    by_latent: dict[str, int] = {}
    for label in labels:
        by_latent[label.name] = by_latent.get(label.name, 0) + 1
    return FeatureFigures(
        total=sum(sizes),
        live=len(labels),
        live_per_layer=[sum(label.layer == layer for label in labels) for layer in range(len(sizes))],
        tested=len(tested),
        held_out_auc95_and_f1_70=_share([auc >= 0.95 and f1 >= 0.7 for auc, f1 in tested]),
        held_out_auc95=_share([auc >= 0.95 for auc, _ in tested]),
        held_out_f1_60=_share([f1 >= 0.6 for _, f1 in tested]),
        choice_auc95=_share([label.auc >= 0.95 for label in labels]),
        choice_f1_60=_share([label.f1 >= 0.6 for label in labels]),
        choice_f1_80=_share([label.f1 >= 0.8 for label in labels]),
        by_latent=dict(sorted(by_latent.items(), key=lambda item: (-item[1], item[0]))),
    )


def _interchange(outcome: Interchange, group_f1: float) -> InterchangeFigures:
    return InterchangeFigures(
        group_f1=group_f1,
        pairs=outcome.pairs,
        cleared=round(outcome.cleared, 2),
        brought=round(outcome.brought, 2),
        swap=round(outcome.swap.flipped, 4),
        swap_lost=round(outcome.swap.lost, 4),
        control=round(outcome.control.flipped, 4),
        control_lost=round(outcome.control.lost, 4),
        controls=outcome.controls,
    )


def label_all(
    model: TinyLlama, transcoder: CrossLayerTranscoder, settings: CardSettings, tick: Callable[[str], None]
) -> list[FeatureLatent]:
    """Match live features with latents on training text and score the match on held-out text."""
    table = tabulate(model, transcoder, settings.label_samples, settings.label_seed, "train")
    tick("activations on training text")
    labels = label_features(table, transcoder.sizes)
    tick("features matched with latents")
    largest = table.active.max(0).values
    fresh = tabulate(model, transcoder, settings.check_samples, settings.check_seed, "held_out")
    checked = check_labels(labels, largest, fresh, transcoder.sizes)
    tick("matches scored on held-out text")
    return checked


def _tensor_numbers(path: Path) -> int:
    """Number of values in a safetensors file, read from its header alone."""
    total = 0
    with safe_open(path, "pt") as handle:
        for name in handle.keys():  # noqa: SIM118  (a safetensors handle is not a mapping)
            total += int(torch.tensor(handle.get_slice(name).get_shape()).prod())
    return total


def measure_card(
    model_dir: Path,
    transcoder_dir: Path,
    *,
    settings: CardSettings | None = None,
    build: dict[str, Any] | None = None,
    progress: ProgressCallback = silent,
) -> tuple[Card, list[FeatureLatent]]:
    """Compute every figure of the card from the weights alone, and the features' latents with it.

    Args:
        build: how the weights were made; noted in the card as it is.

    Raises:
        UnknownModelError: no model in the folder.
        TranscoderFormatError: no transcoder in the folder.
    """
    settings = settings or CardSettings()
    model = TinyLlama.load(model_dir)
    transcoder = CrossLayerTranscoder.load(transcoder_dir, model.n_layers)
    total, done = 7 + len(TESTS) * len(settings.group_f1), 0

    def tick(text: str) -> None:
        nonlocal done
        done += 1
        progress(STAGE, done, total, text)

    accuracy = _accuracy(model, settings)
    tick("accuracy")
    codes = Codes(model.width, ModelSettings().code_length)
    implementation = measure_implementation(model, codes, settings.accuracy_samples, settings.implementation_seed)
    tick("distance from the causal model's codes")
    reconstruction: dict[str, ReconstructionFigures] = {}
    for split in ("any", "held_out"):
        figures = measure_reconstruction(
            model, transcoder, settings.reconstruction_samples, settings.reconstruction_seed, split
        )
        reconstruction[split] = _reconstruction(figures)
        tick(f"reconstruction, {split}")
    labels = label_all(model, transcoder, settings, tick)
    interchange: dict[str, list[InterchangeFigures]] = {name: [] for name in TESTS}
    for group_f1 in settings.group_f1:
        runner = InterchangeRunner(model, transcoder, labels, group_f1)
        for name in TESTS:
            rng = random.Random(f"{settings.interchange_seed} {name}")  # each test its own pairs, the same for both F1
            outcome = runner.run(name, settings.pairs, rng, settings.control_repetitions)
            interchange[name].append(_interchange(outcome, group_f1))
            tick(f"interchange of {name}")
    weights = model_dir / "model.safetensors"
    card = Card(
        parameters=_tensor_numbers(weights),
        vocabulary=model.n_words,
        layers=model.n_layers,
        width=model.width,
        transcoder_sizes=list(transcoder.sizes),
        bytes_model=sum(path.stat().st_size for path in model_dir.iterdir()),
        bytes_transcoder=sum(path.stat().st_size for path in transcoder_dir.iterdir()),
        build=build or {},
        measured_with=_rounded(asdict(settings)),
        accuracy=accuracy,
        code_energy_missed=_rounded(implementation.missed),
        output_energy_elsewhere=_rounded(implementation.elsewhere),
        reconstruction=reconstruction,
        features=_features(labels, transcoder.sizes),
        interchange=interchange,
    )
    return card, labels


def recompute_card(
    model_dir: Path,
    clt_dir: Path,
    *,
    quick: bool = False,
    progress: ProgressCallback = silent,
) -> Card:
    """The card's figures, computed again from the weights.

    Args:
        quick: a third of the samples, for a check rather than for quoting.

    Raises:
        UnknownModelError: no model in the folder.
        TranscoderFormatError: no transcoder in the folder.
    """
    card, _ = measure_card(model_dir, clt_dir, settings=QUICK if quick else CardSettings(), progress=progress)
    return card
