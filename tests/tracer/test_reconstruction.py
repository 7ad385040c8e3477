"""Reconstruction figures: against numpy, against a second replaced model, and exact where a set is perfect."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from safetensors.numpy import load_file
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.tracer.tiny_families import make_family
from tracescribe.tracer.errors import PromptError, SettingError
from tracescribe.tracer.frozen_pass import run_once
from tracescribe.tracer.models import LanguageModel, load_model
from tracescribe.tracer.reconstruction import ReconstructionSettings, reconstruct
from tracescribe.tracer.synthetic import SyntheticKind, SyntheticShape, random_tokens, write_synthetic
from tracescribe.tracer.transcoders import TranscoderSet, load_transcoders

Array = NDArray[np.float64]

SHAPE = SyntheticShape(
    n_layers=3, d_model=32, n_heads=4, n_kv_heads=2, d_mlp=48, vocab_size=64, n_features=150, n_active=5.0
)


def _pair(folder: Path, **changes: Any) -> tuple[LanguageModel, TranscoderSet]:
    written = write_synthetic(folder, dataclasses.replace(SHAPE, **changes))
    model = load_model(written.model, dtype="float64")
    return model, load_transcoders(written.transcoders, dtype="float64")


def _windows(lengths: tuple[int, ...] = (9, 12, 9, 5)) -> list[Tensor]:
    return [random_tokens(n, SHAPE, seed) for seed, n in enumerate(lengths)]


class _Plain:
    """The same transcoders from their files, in numpy, without any code of the product."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.clt = kind == "clt"
        self.layers: list[dict[str, Array]] = []
        for layer in range(SHAPE.n_layers):
            if self.clt:
                files = (f"W_enc_{layer}.safetensors", f"W_dec_{layer}.safetensors")
                found = {k.removesuffix(f"_{layer}"): v for f in files for k, v in load_file(folder / f).items()}
            else:
                found = load_file(folder / f"layer_{layer}.safetensors")
            self.layers.append({key: value.astype(np.float64) for key, value in found.items()})

    def encode(self, layer: int, x: Array) -> Array:
        t = self.layers[layer]
        return np.maximum(x @ t["W_enc"].T + t["b_enc"], 0)

    def write(self, layer: int, inputs: list[Array]) -> Array:
        """What is written to a layer for the inputs of all layers up to it."""
        t = self.layers[layer]
        out = np.zeros_like(inputs[layer]) + t["b_dec"]
        if "W_skip" in t:
            out += inputs[layer] @ t["W_skip"].T
        for read in range(layer + 1) if self.clt else (layer,):
            decoder = self.layers[read]["W_dec"]
            decoder = decoder[:, layer - read] if self.clt else decoder
            out += self.encode(read, inputs[read]) @ decoder
        return out


def _mlps(hf: nn.Module) -> list[nn.Module]:
    return [module for name, module in hf.named_modules() if name.endswith(".mlp")]


def _run(hf: nn.Module, window: Tensor, plain: _Plain | None) -> tuple[list[Array], list[Array], Tensor]:
    """MLP inputs and outputs without BOS, and logits; with `plain`, MLPs are replaced behind BOS."""
    inputs: list[Array] = []
    outputs: list[Array] = []

    def hook(_module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        inputs.append(arguments[0][0, 1:].double().numpy())
        outputs.append(output[0, 1:].double().numpy())
        if plain is None:
            return None
        changed = output.clone()
        changed[0, 1:] = torch.from_numpy(plain.write(len(inputs) - 1, inputs)).to(output.dtype)
        return changed

    handles = [module.register_forward_hook(hook) for module in _mlps(hf)]
    try:
        with torch.no_grad():
            logits = cast(Any, hf)(window[None], use_cache=False).logits[0]
    finally:
        for handle in handles:
            handle.remove()
    return inputs, outputs, logits


@pytest.mark.parametrize(("kind", "skip"), [("clt", False), ("plt", False), ("plt", True)])
def test_figures_equal_a_computation_in_numpy(kind: SyntheticKind, skip: bool, tmp_path: Path) -> None:
    model, transcoders = _pair(tmp_path, kind=kind, skip=skip)
    plain = _Plain(tmp_path / "transcoders", kind)
    windows = _windows()
    clean = [_run(model.hf, window, None) for window in windows]
    found = reconstruct(model, transcoders, windows)
    assert found.n_windows == len(windows)
    assert found.n_tokens == sum(len(window) - 1 for window in windows)
    for layer in range(SHAPE.n_layers):
        truth = np.concatenate([outputs[layer] for _, outputs, _ in clean])
        guess = np.concatenate([plain.write(layer, inputs) for inputs, _, _ in clean])
        acts = np.concatenate([plain.encode(layer, inputs[layer]) for inputs, _, _ in clean])
        fvu = ((truth - guess) ** 2).sum() / ((truth - truth.mean(0)) ** 2).sum()
        norms = np.linalg.norm(truth, axis=1) * np.linalg.norm(guess, axis=1)
        figures = found.layers[layer]
        assert figures.fvu == pytest.approx(fvu, rel=1e-9)
        assert figures.cosine == pytest.approx(((truth * guess).sum(1) / norms).mean(), rel=1e-9)
        assert figures.l0 == pytest.approx((acts > 0).sum(1).mean())
        assert figures.dead == pytest.approx((~(acts > 0).any(0)).mean())
    # the replaced model, layer by layer live, with BOS left to the real MLPs
    p = [logits[1:].log_softmax(-1) for _, _, logits in clean]
    q = [_run(model.hf, window, plain)[2][1:].log_softmax(-1) for window in windows]
    kl = torch.cat(
        [torch.nn.functional.kl_div(b, a, log_target=True, reduction="none") for a, b in zip(p, q, strict=True)]
    )
    same = torch.cat([a.argmax(-1) == b.argmax(-1) for a, b in zip(p, q, strict=True)])

    def loss(rows: list[Tensor]) -> float:
        each = [-r[:-1].gather(1, w[2:, None])[:, 0] for r, w in zip(rows, windows, strict=True)]
        return float(torch.cat(each).mean())

    assert found.replaced is not None
    assert found.replaced.kl == pytest.approx(float(kl.sum(-1).mean()), rel=1e-9)
    assert found.replaced.top1_agreement == pytest.approx(float(same.double().mean()))
    assert found.replaced.loss == pytest.approx(loss(p), rel=1e-9)
    assert found.replaced.loss_replaced == pytest.approx(loss(q), rel=1e-9)
    assert found.replaced.kl > 0.01, "random transcoders must change the predictions, or this test shows nothing"


def test_unexplained_variance_is_that_of_the_errors_of_another_implementation(shared_folder: Path) -> None:
    cases = [case.parent for case in sorted((shared_folder / "tracer").glob("goldens*/*/case.json"))]
    assert len(cases) >= 10
    for case in cases:
        model, transcoders = load_model(case / "model"), load_transcoders(case / "transcoder")
        with np.load(case / "oracle.npz") as oracle:
            tokens, errors = torch.from_numpy(oracle["tokens"]), oracle["error_vectors"].astype(np.float64)
        zero = model.zero_positions_of(tokens)
        found = reconstruct(model, transcoders, [tokens], ReconstructionSettings(replaced=False))
        truth = [np.asarray(written[zero:], np.float64) for written in run_once(model, transcoders, tokens).written]
        for figures, written, error in zip(found.layers, truth, errors, strict=True):
            expected = (error**2).sum() / ((written - written.mean(0)) ** 2).sum()
            assert figures.fvu == pytest.approx(expected, rel=1e-5), case.name


@pytest.mark.parametrize("batch_tokens", [1, 18, 30])
def test_batches_do_not_matter(batch_tokens: int, tmp_path: Path) -> None:
    pair = _pair(tmp_path, family="gemma2")
    expected = reconstruct(*pair, _windows()).to_json()
    found = reconstruct(*pair, _windows(), ReconstructionSettings(batch_tokens=batch_tokens)).to_json()
    for left, right in zip(expected["layers"], found["layers"], strict=True):
        assert left == pytest.approx(right, rel=1e-9)
    assert expected["replaced"] == pytest.approx(found["replaced"], rel=1e-9)


def _linear_gpt2(folder: Path) -> tuple[LanguageModel, list[tuple[Tensor, Tensor]]]:
    """A GPT-2 without a nonlinearity in its MLPs, and each MLP as `x @ matrix + bias`."""
    model = make_family(folder / "model", "gpt2", activation_function="linear")
    parts = []
    for mlp in cast(Any, _mlps(model.hf)):
        matrix = mlp.c_fc.weight @ mlp.c_proj.weight
        parts.append((matrix, mlp.c_fc.bias @ mlp.c_proj.weight + mlp.c_proj.bias))
    return model, parts


@pytest.mark.parametrize("by", ["skip path", "features"])
def test_a_perfect_set_leaves_nothing_unexplained(by: str, tmp_path: Path) -> None:
    model, parts = _linear_gpt2(tmp_path)
    folder = tmp_path / "transcoders"
    folder.mkdir()
    for layer, (matrix, bias) in enumerate(parts):
        identity = torch.eye(len(matrix), dtype=torch.float64)
        both = torch.cat([identity, -identity])  # relu(x) - relu(-x) is x
        tensors = {"W_enc": both, "b_enc": torch.zeros(len(both), dtype=torch.float64), "b_dec": bias}
        if by == "features":
            tensors["W_dec"] = both @ matrix
        else:
            tensors |= {"W_dec": torch.zeros_like(both), "W_skip": matrix.T}
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / f"layer_{layer}.safetensors")
    config = {
        "model_kind": "transcoder_set",
        "feature_input_hook": "mlp.hook_in",
        "feature_output_hook": "mlp.hook_out",
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    transcoders = load_transcoders(folder, dtype="float64")
    windows = [torch.cat([torch.zeros(1, dtype=torch.int64), torch.arange(3 + n, 11 + n)]) for n in range(4)]
    found = reconstruct(model, transcoders, windows)
    for figures in found.layers:
        assert figures.fvu == pytest.approx(0, abs=1e-20)
        assert figures.cosine == pytest.approx(1)
        assert figures.l0 == pytest.approx(model.d_model)  # one of each pair fires
    assert found.replaced is not None
    assert found.replaced.kl == pytest.approx(0, abs=1e-12)
    assert found.replaced.top1_agreement == 1
    assert found.replaced.loss_increase == pytest.approx(0, abs=1e-9)


def test_predicting_the_mean_explains_nothing(tmp_path: Path) -> None:
    model, parts = _linear_gpt2(tmp_path)
    windows = [torch.tensor([0, *range(3, 12)])]
    _, outputs, _ = _run(model.hf, windows[0], None)
    folder = tmp_path / "transcoders"
    folder.mkdir()
    for layer, output in enumerate(outputs):
        d_model = len(parts[layer][0])
        tensors = {
            "W_enc": torch.zeros(4, d_model, dtype=torch.float64),
            "b_enc": torch.full((4,), -1.0, dtype=torch.float64),
            "W_dec": torch.zeros(4, d_model, dtype=torch.float64),
            "b_dec": torch.from_numpy(output.mean(0)),
        }
        save_file(tensors, folder / f"layer_{layer}.safetensors")
    config = {
        "model_kind": "transcoder_set",
        "feature_input_hook": "mlp.hook_in",
        "feature_output_hook": "mlp.hook_out",
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    found = reconstruct(model, load_transcoders(folder, dtype="float64"), windows)
    for layer_figures in found.layers:
        assert layer_figures.fvu == pytest.approx(1)
        assert (layer_figures.l0, layer_figures.dead) == (0, 1)


def test_no_more_text_is_read_than_was_asked_for(tmp_path: Path) -> None:
    pair = _pair(tmp_path)
    read = 0

    def endless() -> Iterator[Tensor]:
        nonlocal read
        while True:
            read += 1
            yield random_tokens(11, SHAPE, read)

    found = reconstruct(*pair, endless(), ReconstructionSettings(batch_tokens=44, max_tokens=95, replaced=False))
    assert (read, found.n_tokens, found.replaced) == (10, 100, None)


def test_a_text_without_tokens_and_settings_that_cannot_be(tmp_path: Path) -> None:
    pair = _pair(tmp_path)
    with pytest.raises(PromptError, match="no token to measure on"):
        reconstruct(*pair, [torch.tensor([0])])
    with pytest.raises(SettingError, match="at least 1"):
        ReconstructionSettings(batch_tokens=0)
    alone = reconstruct(*pair, [torch.tensor([0, 5])]).to_json()
    assert alone["replaced"]["loss"] is None  # one position, and no next token to predict
    assert all(layer["fvu"] is None for layer in alone["layers"])  # one vector does not vary
