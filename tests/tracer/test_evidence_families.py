"""Scans of every family of models with transcoders of every kind agree with single runs, in float64 too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tracer.exact_cases import make_case
from tests.tracer.tiny_families import FAMILIES
from tests.tracer.tiny_transcoders import TranscoderShape
from tracescribe.tracer.clean_run import clean_run
from tracescribe.tracer.corpus import FileCorpus
from tracescribe.tracer.evidence_scan import build
from tracescribe.tracer.feature_files import FeatureFiles
from tracescribe.tracer.graph import FeatureRef
from tracescribe.tracer.logit_effects import logit_effects
from tracescribe.tracer.models import load_model
from tracescribe.tracer.scan_plan import BuildSettings
from tracescribe.tracer.transcoders import load_transcoders

SHAPES = {
    "clt": TranscoderShape(),
    "plt": TranscoderShape(kind="plt", activation="jumprelu", reads="ln2.hook_normalized", skip=True),
    "topk": TranscoderShape(kind="plt", activation="topk", reads="hook_resid_mid", writes="hook_mlp_out"),
    "sparsify": TranscoderShape(kind="sparsify", activation="topk"),
    "batchtopk": TranscoderShape(activation="batchtopk"),
}
CASES = [(family, list(SHAPES)[n % 4]) for n, family in enumerate(FAMILIES)] + [
    ("gemma2", "clt"),
    ("gpt2", "topk"),
    ("llama", "topk"),
    ("llama", "batchtopk"),
]


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_scans_agree_with_single_runs(family: str, kind: str, tmp_path: Path) -> None:
    case = make_case(tmp_path, family, SHAPES[kind])
    model, transcoders = case.open()
    rng = np.random.default_rng(1)
    texts = [" ".join(f"w{i}" for i in rng.integers(3, 40, int(rng.integers(2, 15)))) for _ in range(12)]
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(texts))
    manifest = build(model, transcoders, FileCorpus(path), tmp_path / "scan", BuildSettings(context_size=10))
    assert manifest is not None and manifest.n_windows > len(texts)
    files = FeatureFiles.load(tmp_path / "scan", model=model, transcoders=transcoders)
    sample = files.sample
    assert sample.n_sentences == manifest.n_windows
    n_active = [np.zeros(width, dtype=np.int64) for width in files.n_features]
    for number in range(sample.n_sentences):
        clean = clean_run(model, transcoders, model.encode(sample.corpus[number]))
        assert sample.sentence_token_ids(number).tolist() == clean.tokens.tolist()
        assert sample.next_token(number).tolist() == clean.logits.argmax(-1).tolist()
        for layer in range(model.n_layers):
            entries = sample.sparse(layer)
            mine = entries.sentence == number
            found = np.zeros((clean.n_pos, sample.n_features[layer]))
            found[entries.position[mine], entries.feature[mine]] = entries.value[mine]
            expected = clean.activations(layer).numpy()
            assert np.abs(found - expected).max() <= 1e-6 * max(1.0, np.abs(expected).max())
            n_active[layer] += (expected != 0).sum(0)
    for layer, expected in enumerate(n_active):
        assert np.array_equal(files.n_active(layer), expected)
    ref = FeatureRef(0, int(np.argmax(n_active[0])))
    assert files.feature(ref).contexts or files.test_contexts(ref, 1, 0, rng)


def test_bfloat16_models_are_scanned(tmp_path: Path) -> None:
    case = make_case(tmp_path, "qwen3", SHAPES["plt"])
    model = load_model(case.model_folder, dtype="bfloat16")
    transcoders = load_transcoders(case.transcoder_folder)
    path = tmp_path / "corpus.txt"
    path.write_text("w3 w4 w5 w6\nw7 w8 w9\n")
    manifest = build(model, transcoders, FileCorpus(path), tmp_path / "scan")
    assert manifest is not None and manifest.plan["model_dtype"] == "bfloat16"
    assert sum(FeatureFiles.load(tmp_path / "scan").n_active(0)) > 0


def test_logit_effects_pass_through_the_norm_behind_the_write_point(tmp_path: Path) -> None:
    """Gemma 2 writes before a post-norm: its gain is part of what a feature says."""
    import torch

    model, transcoders = make_case(tmp_path, "gemma2", SHAPES["plt"]).open()
    assert transcoders.writes == "mlp.hook_out"
    norm, final = model.architecture.blocks[1].mlp_post_norm, model.architecture.final_norm
    assert norm is not None
    vector = transcoders.decoder_rows(1, torch.tensor([2]))[0, 0]
    logits = model.architecture.unembedding @ (vector * norm.gain * final.gain)
    expected = logits - logits.mean()
    assert torch.allclose(logit_effects(model, transcoders, 1, torch.tensor([2]))[0], expected, atol=1e-9)
