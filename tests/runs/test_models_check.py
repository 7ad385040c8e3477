"""`tracescribe models check`: misfits are told before weights are read, and a text measures reconstruction."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tracescribe.tracer import embedded
from tracescribe.tracer.synthetic import SyntheticShape, write_synthetic

Run = Callable[..., Any]

SHAPE = SyntheticShape(
    kind="plt",
    skip=True,
    n_layers=2,
    d_model=32,
    n_heads=2,
    n_kv_heads=2,
    d_mlp=32,
    vocab_size=40,
    n_features=80,
    n_active=4.0,
)


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    """Options that name a random pair."""
    written = write_synthetic(tmp_path, SHAPE)
    return ["--model", str(written.model), "--transcoders", str(written.transcoders)]


def test_a_text_measures_the_embedded_pair(run: Run) -> None:
    sentences = embedded.corpus_path().read_text(encoding="utf-8").splitlines()[:60]
    Path("text.txt").write_text("\n".join(sentences), encoding="utf-8")
    done = run("models", "check", "--text", "text.txt", "--json")
    assert done.code == 0, done.err
    found = done.json["reconstruction"]
    assert found["n_windows"] == 60
    assert found["n_tokens"] == sum(len(s.split()) for s in sentences)
    assert [layer["n_features"] for layer in found["layers"]] == done.json["fit"]["n_features"]
    assert found["layers"][0]["fvu"] < 0.2, "the shipped transcoder reconstructs its first layer"
    assert 0 <= found["replaced"]["kl"] < 1
    assert done.json["figures"] == [], "with a text the card is left alone"


def test_what_fits_is_told_in_full(run: Run, pair: list[str]) -> None:
    Path("text.jsonl").write_text(json.dumps({"text": " ".join(f"w{3 + i % 30}" for i in range(300))}) + "\n")
    done = run(
        "models", "check", *pair, "--text", "text.jsonl", "--context", "21", "--tokens", "100", "--deep", "--json"
    )
    assert done.code == 0, done.err
    fit = done.json["fit"]
    assert (fit["family"], fit["kind"], fit["n_layers"], fit["d_model"]) == ("llama", "transcoder_set", 2, 32)
    assert (fit["reads"], fit["writes"], fit["skips"]) == ("mlp.hook_in", "hook_mlp_out", [0, 1])
    assert len(fit["model_sha256"]) == len(fit["transcoders_sha256"]) == 64
    assert fit["checked"] == "encoders and decoders"
    assert any("made for 'synthetic-llama'" in remark for remark in fit["remarks"])
    found = done.json["reconstruction"]
    assert (found["n_windows"], found["n_tokens"]) == (5, 100)
    shown = run("models", "check", *pair, "--text", "text.jsonl")
    assert shown.code == 0, shown.err
    assert "skip paths in 2 layers" in shown.out
    assert "300 tokens in 3 windows" in shown.out
    assert "all MLPs replaced: KL" in shown.out


def test_a_misfit_is_told_from_the_configuration_before_weights_are_read(run: Run, pair: list[str]) -> None:
    folder = Path("other")
    folder.mkdir()
    # no weights at all: whoever reads them first cannot tell what is wrong
    config = {"model_type": "llama", "num_hidden_layers": 5, "hidden_size": 48}
    (folder / "config.json").write_text(json.dumps(config))
    done = run("models", "check", "--model", "other", *pair[2:])
    assert (done.code, done.out) == (2, "")
    assert "layers 2, expected 5; d_model 32, expected 48" in done.err
    assert "made for 'synthetic-llama'" in done.err


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "cannot read the corpus"), ("", "no token to measure on"), ("w5 never w6", "never")],
)
def test_texts_that_cannot_be_measured_on(content: str | None, told: str, run: Run, pair: list[str]) -> None:
    if content is not None:
        Path("text.txt").write_text(content)
    done = run("models", "check", *pair, "--text", "text.txt")
    assert done.code in (1, 2)
    assert done.out == ""
    assert told in done.err
