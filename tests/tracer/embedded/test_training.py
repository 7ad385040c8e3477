"""Real training runs, only short: losses fall, and the same seed gives the same weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tracescribe.tracer import embedded
from tracescribe.tracer.embedded.training.cross_layer import CrossLayerTranscoder
from tracescribe.tracer.embedded.training.prototypes import PrototypeSettings
from tracescribe.tracer.embedded.training.reconstruction import measure_reconstruction
from tracescribe.tracer.embedded.training.tiny_llama import TinyLlama
from tracescribe.tracer.embedded.training.train_clt import TranscoderSettings, train_transcoder
from tracescribe.tracer.embedded.training.train_model import Codes, ModelSettings, train_model

TINY = ModelSettings(width=32, hidden=64, heads=2, steps=60, batch=32, corpus_size=800, warmup=10, learning_rate=5e-3)
SMALL_TRANSCODER = TranscoderSettings(
    sentences=3000,
    first=PrototypeSettings(steps=300),
    remainder=PrototypeSettings(loud=0.5, novelty=0.6, purity=0.6, steps=50, smallest=8),
    remainder_rounds=1,
    joint_steps=30,
)


def _weights(settings: ModelSettings, seed: int) -> tuple[dict[str, torch.Tensor], list[list[float]]]:
    model, history = train_model(settings, seed=seed)
    return {name: weight.clone() for name, weight in model.state_dict().items()}, history


def test_the_model_s_losses_fall() -> None:
    _, history = _weights(TINY, 0)
    first, last = ([sum(column) / 10 for column in zip(*part, strict=True)] for part in (history[:10], history[-10:]))
    assert last[0] < 0.85 * first[0], "language loss"
    assert last[1] < first[1], "distance from the codes"


def test_the_model_s_weights_follow_from_the_seed() -> None:
    short = replace(TINY, steps=3)
    (first, _), (again, _), (other, _) = _weights(short, 0), _weights(short, 0), _weights(short, 1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_training_leaves_the_callers_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_model(replace(TINY, steps=1))
    assert torch.equal(torch.rand(3), expected)


def test_codes_are_the_same_everywhere_and_apart() -> None:
    first, second = Codes(128, 4.0), Codes(128, 4.0)
    texas, ohio = first(("state", "Texas")), first(("state", "Ohio"))
    assert torch.equal(second(("state", "Texas")), texas)
    assert float(texas.norm()) == pytest.approx(4.0, rel=1e-5)
    assert abs(float(texas @ ohio)) / 16 < 0.4


@pytest.fixture(scope="module")
def small_transcoder() -> CrossLayerTranscoder:
    return train_transcoder(TinyLlama.load(embedded.model_dir()), SMALL_TRANSCODER)


def test_a_short_transcoder_training_explains_most_of_the_mlps(small_transcoder: CrossLayerTranscoder) -> None:
    model = TinyLlama.load(embedded.model_dir())
    figures = measure_reconstruction(model, small_transcoder, 200, 11, "train")
    assert figures.unexplained[0] < 0.2
    assert figures.live.answer_top1 > 0.6
    silent = {
        name: tuple(torch.zeros_like(tensor) for tensor in getattr(small_transcoder, name))
        for name in ("encoders", "encoder_biases", "thresholds", "decoders")
    }
    bare = replace(small_transcoder, **silent)
    alone = measure_reconstruction(model, bare, 200, 11, "train")
    assert figures.live.answer_top1 > alone.live.answer_top1 + 0.3


def test_the_transcoder_follows_from_the_seed(small_transcoder: CrossLayerTranscoder) -> None:
    again = train_transcoder(TinyLlama.load(embedded.model_dir()), SMALL_TRANSCODER)
    assert again.sizes == small_transcoder.sizes
    assert all(torch.equal(a, b) for a, b in zip(again.encoders, small_transcoder.encoders, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(again.decoders, small_transcoder.decoders, strict=True))
