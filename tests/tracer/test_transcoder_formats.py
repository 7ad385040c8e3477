"""Formats: the same weights give the same numbers, whatever they were written as; wrong folders say what is wrong."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.tracer import transcoder_writers as writers
from tests.tracer.tiny_pair import TinyShape, random_tokens, write_model
from tests.tracer.transcoder_writers import Weights, draw
from tracescribe.tracer.attribution import attribute_tokens
from tracescribe.tracer.errors import TranscoderFormatError
from tracescribe.tracer.graph import AttributionGraph, NodeKind
from tracescribe.tracer.models import load_model
from tracescribe.tracer.transcoders import TranscoderSet, load_transcoders

Writer = Callable[[Path, list[Weights]], None]

PER_LAYER: dict[str, tuple[Writer, str, bool, bool]] = {
    "circuit-tracer": (writers.circuit_tracer, "circuit-tracer", True, True),
    "circuit-tracer, listed": (writers.circuit_tracer_listed, "circuit-tracer", True, True),
    "circuit-tracer, sub-folder": (writers.circuit_tracer_in_sub_folder, "circuit-tracer", True, True),
    "Gemma Scope 1": (writers.scope_1, "Gemma Scope 1", True, False),
    "Gemma Scope 1, compressed": (writers.scope_1_compressed, "Gemma Scope 1", True, False),
    "Gemma Scope 1, by column": (writers.scope_1_by_column, "Gemma Scope 1", True, False),
    "Gemma Scope 2": (writers.scope_2, "Gemma Scope 2", True, True),
    "SAELens": (writers.sae_lens, "SAELens", True, True),
    "state dicts": (writers.state_dicts, "circuit-tracer", True, True),
}
"""Writer, the format's name, whether it stores thresholds, whether it stores skip paths."""

CROSS_LAYER: dict[str, tuple[Writer, str]] = {
    "circuit-tracer": (writers.cross_layer, "circuit-tracer"),
    "Gemma Scope 2": (writers.scope_2_cross_layer, "Gemma Scope 2"),
    "Gemma Scope 2, listed": (writers.scope_2_cross_layer_listed, "circuit-tracer"),
}


def expect_weights(found: TranscoderSet, layers: list[Weights]) -> None:
    """Every number that comes out is the one that was written."""
    assert found.n_features == tuple(len(layer.encoder) for layer in layers)
    assert (found.n_layers, found.d_model) == (len(layers), layers[0].encoder.shape[1])
    assert found.is_token_wise
    for n, layer in enumerate(layers):
        some = torch.tensor([4, 0, 4, len(layer.encoder) - 1, 2])
        assert found.n_written(n) == layer.decoder.shape[1]
        assert torch.equal(found.encoder_rows(n, some), layer.encoder[some])
        assert torch.equal(found.encoder_bias(n), layer.encoder_bias)
        assert torch.equal(found.decoder_rows(n, some).mul_(2), 2 * layer.decoder[some])
        found.decoder_rows(n, torch.arange(len(layer.encoder))).zero_()
        assert torch.equal(found.decoder_rows(n, some.sort().values), layer.decoder[some.sort().values]), "copies"
        assert found.decoder_rows(n, some[:0]).shape == (0, *layer.decoder.shape[1:])
        assert torch.equal(found.decoder_bias(n), layer.decoder_bias)
        skip = found.skip_weight(n)
        assert (skip is None) == (layer.skip is None)
        assert skip is None or layer.skip is None or torch.equal(skip, layer.skip)


def expect_activations(found: TranscoderSet, layers: list[Weights]) -> None:
    x = torch.randn(7, found.d_model, generator=torch.Generator().manual_seed(1))
    for n, layer in enumerate(layers):
        pre = x @ layer.encoder.T + layer.encoder_bias
        floor = torch.zeros(()) if layer.threshold is None else layer.threshold
        expected = torch.where(pre > floor, pre, torch.zeros(()))
        assert torch.allclose(found.encode(n, x), expected, atol=1e-6, rtol=0)
        assert 0 < int((expected != 0).sum()) < expected.numel()


@pytest.mark.parametrize("resident", ["resident", "from disk"])
@pytest.mark.parametrize("name", list(PER_LAYER))
def test_per_layer_formats_give_the_weights_back(tmp_path: Path, name: str, resident: str) -> None:
    write, format_name, jump, skip = PER_LAYER[name]
    layers = draw(jump=jump, skip=skip)
    write(tmp_path, layers)
    found = load_transcoders(tmp_path, resident_bytes=1 << 20 if resident == "resident" else 0)
    assert (found.kind, found.format) == ("transcoder_set", format_name)
    assert found.keeps_decoders == (resident == "resident")
    if "1" not in name:
        assert (found.reads, found.writes, found.model_name) == (writers.READS, writers.WRITES, "tiny")
    else:
        assert (found.reads, found.writes) == ("ln2.hook_normalized", "hook_mlp_out")
    expect_weights(found, layers)
    expect_activations(found, layers)


@pytest.mark.parametrize("resident", [0, 1 << 20])
@pytest.mark.parametrize("name", list(CROSS_LAYER))
def test_cross_layer_formats_give_the_weights_back(tmp_path: Path, name: str, resident: int) -> None:
    write, format_name = CROSS_LAYER[name]
    layers = draw(cross_layer=True, jump=True)
    write(tmp_path, layers)
    found = load_transcoders(tmp_path, resident_bytes=resident)
    assert (found.kind, found.format) == ("cross_layer_transcoder", format_name)
    assert (found.reads, found.writes, found.model_name) == (writers.READS, writers.WRITES, "tiny")
    expect_weights(found, layers)
    expect_activations(found, layers)


def test_skip_paths_of_cross_layer_sets_come_from_gemma_scope(tmp_path: Path) -> None:
    layers = draw(cross_layer=True, jump=True, skip=True)
    writers.scope_2_cross_layer(tmp_path, layers)
    expect_weights(load_transcoders(tmp_path), layers)


@pytest.mark.parametrize("write", [writers.circuit_tracer, writers.sae_lens, writers.state_dicts])
def test_without_thresholds_the_activation_is_relu(tmp_path: Path, write: Writer) -> None:
    layers = draw()
    write(tmp_path, layers)
    expect_activations(load_transcoders(tmp_path), layers)


def top_k(pre: Tensor, k: int) -> Tensor:
    """By definition: everything below the k-th largest of its row is zero."""
    return torch.where(pre >= pre.sort(-1, descending=True).values[..., k - 1 : k], pre, torch.zeros(()))


def test_top_k_follows_the_format(tmp_path: Path) -> None:
    layers = draw(skip=True)
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    writers.circuit_tracer(tmp_path / "a", layers, activation="topk", k=5)
    writers.sparsify(tmp_path / "b", layers, k=5)
    writers.circuit_tracer(tmp_path / "c", layers)
    for path in (tmp_path / "c").glob("layer_*"):  # a scalar beside the weights, as circuit-tracer saves it
        save_file(load_file(path) | {"k": torch.tensor(5)}, path)
    bare, rectified, stored = (load_transcoders(tmp_path / name) for name in ("a", "b", "c"))
    assert rectified.format == "sparsify" and (rectified.reads, rectified.writes) == ("mlp.hook_in", "mlp.hook_out")
    x = torch.randn(6, 8, generator=torch.Generator().manual_seed(3))
    expect_weights(rectified, layers)
    for n, layer in enumerate(layers):
        pre = x @ layer.encoder.T + layer.encoder_bias
        assert torch.allclose(bare.encode(n, x), top_k(pre, 5), atol=1e-6)
        assert torch.equal(bare.encode(n, x), stored.encode(n, x))
        assert torch.allclose(rectified.encode(n, x), top_k(pre.relu(), 5), atol=1e-6)
        assert ((bare.encode(n, x) != 0).sum(-1) == 5).all()
    assert bare.encode(2, x).min() < 0 <= rectified.encode(2, x).min()


def test_groupmax_takes_the_largest_of_each_group(tmp_path: Path) -> None:
    layers = draw((12, 15))
    writers.sparsify(tmp_path, layers, k=3, activation="groupmax")
    found = load_transcoders(tmp_path)
    x = torch.randn(6, 8, generator=torch.Generator().manual_seed(3))
    for n, layer in enumerate(layers):
        pre = (x @ layer.encoder.T + layer.encoder_bias).relu()
        expected = torch.cat([top_k(group, 1) for group in torch.tensor_split(pre, 3, dim=-1)], dim=-1)
        assert torch.allclose(found.encode(n, x), expected, atol=1e-6)


def test_batch_top_k_chooses_over_one_prompt(tmp_path: Path) -> None:
    layers = draw()
    writers.circuit_tracer(tmp_path, layers, activation="batchtopk", k=2)
    found = load_transcoders(tmp_path)
    x = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(3))
    x[0, 2] *= 5
    acts = found.encode(0, x)
    for prompt in range(2):
        pre = (x[prompt] @ layers[0].encoder.T + layers[0].encoder_bias).relu()
        assert torch.allclose(acts[prompt], top_k(pre.flatten(), 12).view(pre.shape), atol=1e-6)
        assert torch.equal(found.encode(0, x[prompt]), acts[prompt]), "prompts do not depend on each other"
    assert (acts[0, 2] != 0).sum() > 2, "one token may have more than its share"
    assert not found.is_token_wise
    assert not found.encode(0, torch.full((6, 8), -100.0) @ layers[0].encoder.T @ layers[0].encoder).isnan().any()


def test_batch_top_k_breaks_ties_by_order(tmp_path: Path) -> None:
    layers = draw()
    level = dataclasses.replace(layers[0], encoder=torch.zeros(12, 8), encoder_bias=torch.full((12,), 0.25))
    level.encoder_bias[5] = 0.5
    writers.circuit_tracer(tmp_path, [level, *layers[1:]], activation="batchtopk", k=2)
    acts = load_transcoders(tmp_path).encode(0, torch.ones(4, 8))  # eight places: four go to feature 5
    expected = [(0, 0), (0, 1), (0, 2), (0, 3), (0, 5), (1, 5), (2, 5), (3, 5)]
    assert [tuple(place) for place in acts.nonzero().tolist()] == expected


def test_the_published_set_without_k_gets_its_known_one(tmp_path: Path) -> None:
    layers = draw((140, 140))
    writers.circuit_tracer(tmp_path, layers, activation="topk", scan="facebook/crv-8b-instruct-transcoders")
    assert (load_transcoders(tmp_path).encode(0, torch.ones(2, 8)) != 0).sum(-1).tolist() == [128, 128]
    writers.circuit_tracer(tmp_path, layers, activation="topk", scan="someone/else")
    with pytest.raises(TranscoderFormatError, match="k is 0 for topk, expected 1 to 140"):
        load_transcoders(tmp_path)


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16, torch.float64])
def test_stored_precision_is_converted_on_reading(tmp_path: Path, stored: torch.dtype) -> None:
    layers = draw(jump=True)
    writers.circuit_tracer(tmp_path, layers)
    for path in tmp_path.glob("layer_*"):
        save_file({key: tensor.to(stored) for key, tensor in load_file(path).items()}, path)
    for asked, dtype in (("float32", torch.float32), ("float64", torch.float64)):
        found = load_transcoders(tmp_path, dtype=asked)
        some = torch.tensor([2, 1])
        assert torch.equal(found.decoder_rows(1, some), layers[1].decoder[some].to(stored).to(dtype))
        assert found.encode(0, torch.ones(1, 8)).dtype == found.encoder_bias(0).dtype == dtype


def drop(folder: Path, name: str) -> None:
    shutil.rmtree(folder / name)


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change(path: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)


def a_second_choice(folder: Path) -> None:
    inner = folder / "layer_1" / "width_16k"
    shutil.copytree(inner / "average_l0_41", inner / "average_l0_99")


FAULTS: dict[str, tuple[Writer, Callable[[Path], object], str]] = {
    "sparsify, a layer is missing": (
        writers.sparsify,
        lambda f: drop(f, "layers.1.mlp"),
        "no transcoder for layers 1, though there is one for layer 2",
    ),
    "sparsify, an autoencoder": (
        writers.sparsify,
        lambda f: change_json(f / "layers.1.mlp" / "cfg.json", transcode=False),
        r"layers.1.mlp: it is an autoencoder \(transcode is False\)",
    ),
    "sparsify, k is too large": (
        writers.sparsify,
        lambda f: change_json(f / "layers.1.mlp" / "cfg.json", k=17),
        "layers.1.mlp/sae.safetensors: k is 17 for topk, expected 1 to 16",
    ),
    "sparsify, a skip path that is not there": (
        writers.sparsify,
        lambda f: change_json(f / "layers.0.mlp" / "cfg.json", skip_connection=True),
        "skip_connection is True, but none is stored",
    ),
    "sparsify, attention": (
        writers.sparsify,
        lambda f: (f / "layers.0.mlp").rename(f / "layers.0.self_attn"),
        "layers.0.self_attn: hook 'layers.0.self_attn', expected a layer's",
    ),
    "SAELens, another architecture": (
        writers.sae_lens,
        lambda f: change_json(f / "run-y" / "cfg.json", architecture="gated"),
        "run-y/cfg.json: architecture is 'gated', expected one of transcoder",
    ),
    "SAELens, inputs are normalised": (
        writers.sae_lens,
        lambda f: change_json(f / "run-y" / "cfg.json", normalize_activations="layer_norm"),
        "normalize_activations is 'layer_norm', which is not supported",
    ),
    "SAELens, writes another layer": (
        writers.sae_lens,
        lambda f: change_json(f / "run-y" / "cfg.json", hook_name_out="blocks.2.hook_mlp_out"),
        "reads layer 1 and writes layer 2",
    ),
    "SAELens, layers differ": (
        writers.sae_lens,
        lambda f: change_json(f / "run-x" / "cfg.json", hook_name_out="blocks.2.mlp.hook_out"),
        "layers differ in their write points: hook_mlp_out, mlp.hook_out",
    ),
    "SAELens, no configuration": (
        writers.sae_lens,
        lambda f: (f / "run-x" / "cfg.json").write_text("[]"),
        "cfg.json holds list, expected a mapping",
    ),
    "Gemma Scope 1, several choices": (
        lambda f, w: writers.scope_1(f, draw(jump=True)),
        a_second_choice,
        "layer 1 has several transcoders .layer_1/width_16k/average_l0_41/params.npz, layer_1/width_16k/average_l0_99",
    ),
    "Gemma Scope 2, another hook": (
        lambda f, w: writers.scope_2(f, draw(jump=True)),
        lambda f: change_json(
            f / "layer_1_width_16k_l0_small" / "config.json", hf_hook_point_in="model.layers.1.output"
        ),
        "hf_hook_point_in: hook 'model.layers.1.output', expected a layer's",
    ),
    "an unknown array": (
        writers.circuit_tracer,
        lambda f: change(f / "layer_1.safetensors", lambda t: t.update(b_dec_out=torch.ones(8))),
        "layer_1.safetensors: unknown array 'b_dec_out'",
    ),
    "a stray layer": (
        writers.circuit_tracer,
        lambda f: (f / "layer_1.safetensors").rename(f / "layer_7.safetensors"),
        "layer_2.safetensors follows no layer_1.safetensors",
    ),
    "whole numbers": (
        writers.circuit_tracer,
        lambda f: change(f / "layer_1.safetensors", lambda t: t.update(b_dec=torch.ones(8, dtype=torch.int64))),
        "b_dec holds int64, expected floating-point numbers",
    ),
    "a wrong skip path": (
        writers.circuit_tracer,
        lambda f: change(f / "layer_1.safetensors", lambda t: t.update(W_skip=torch.ones(8, 7))),
        r"W_skip has shape \[8, 7\], expected \[8, 8\]",
    ),
    "k is no count": (
        writers.circuit_tracer,
        lambda f: change(f / "layer_1.safetensors", lambda t: t.update(k=torch.tensor(2.5))),
        "k has shape .. and value 2.5, expected one positive count",
    ),
    "several sets": (
        writers.circuit_tracer_in_sub_folder,
        lambda f: shutil.copytree(f / "inner", f / "other"),
        "holds several sets: inner, other; name one",
    ),
    "several layouts": (writers.sparsify, lambda f: writers.sae_lens(f, draw()), "several layouts: sparsify, SAELens"),
    "nothing": (lambda f, w: None, lambda f: None, "has no config.yaml .circuit-tracer., and no layers of Gemma Scope"),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_faulty_set_is_refused_in_one_line(tmp_path: Path, fault: str) -> None:
    write, spoil, message = FAULTS[fault]
    write(tmp_path, draw())
    spoil(tmp_path)
    with pytest.raises(TranscoderFormatError, match=message) as caught:
        load_transcoders(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_pattern_chooses_one_transcoder_of_each_layer(tmp_path: Path) -> None:
    wide, narrow = draw(jump=True), draw((5, 5, 5), jump=True, seed=4)
    writers.scope_1(tmp_path, wide)
    for n in range(3):
        inner = tmp_path / f"layer_{n}" / "width_16k" / f"average_l0_{40 + n}"
        (tmp_path / f"layer_{n}" / "width_65k").mkdir()
        inner.rename(tmp_path / f"layer_{n}" / "width_65k" / "average_l0_9")
    (tmp_path / "x").mkdir()
    writers.scope_1(tmp_path / "x", narrow)
    for n in range(3):
        (tmp_path / "x" / f"layer_{n}" / "width_16k").rename(tmp_path / f"layer_{n}" / "width_16k_")
    found = load_transcoders(f"{tmp_path}/layer_*/width_65k/average_l0_9")
    expect_weights(found, wide)
    assert found.transcoder_id == f"{tmp_path.name}/layer_*/width_65k/average_l0_9"
    assert load_transcoders(f"{tmp_path}/layer_*/width_16k_/average_*").n_features == (5, 5, 5)
    with pytest.raises(TranscoderFormatError, match="no transcoder folder"):
        load_transcoders(f"{tmp_path}/layer_*/width_1m/average_*")


def test_the_hash_follows_content_and_place_in_the_set(tmp_path: Path) -> None:
    layers = draw(jump=True)
    hashes = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        writers.scope_1(tmp_path / name, layers)
        hashes.add(load_transcoders(tmp_path / name).sha256)
    assert len(hashes) == 1
    swapped = [layers[1], layers[0], layers[2]]
    (tmp_path / "c").mkdir()
    writers.scope_1(tmp_path / "c", swapped)
    assert load_transcoders(tmp_path / "c").sha256 not in hashes


def npz_listed(folder: Path, layers: list[Weights]) -> None:
    """Gemma Scope's archives, listed by circuit-tracer's configuration, which names the hooks."""
    writers.scope_1_compressed(folder, layers)
    names = [f"layer_{n}/width_16k/average_l0_{40 + n}/params.npz" for n in range(len(layers))]
    writers.write_config(folder, "transcoder_set", transcoders=names)


SAME_GRAPH: list[tuple[list[Writer], list[Weights]]] = [
    (
        [writers.circuit_tracer, writers.circuit_tracer_listed, writers.scope_2, writers.sae_lens, writers.state_dicts],
        draw((20, 24, 17), 16, jump=True, skip=True),
    ),
    ([writers.circuit_tracer, npz_listed, writers.sae_lens], draw((20, 24, 17), 16, jump=True)),
    (
        [writers.cross_layer, writers.scope_2_cross_layer, writers.scope_2_cross_layer_listed],
        draw((20, 24, 17), 16, cross_layer=True, jump=True),
    ),
]


@pytest.mark.parametrize("case", range(len(SAME_GRAPH)))
def test_the_same_weights_give_the_same_graph(tmp_path: Path, case: int) -> None:
    (tmp_path / "model").mkdir()
    write_model(tmp_path / "model", TinyShape())
    model = load_model(tmp_path / "model")
    formats, layers = SAME_GRAPH[case]
    graphs: list[AttributionGraph] = []
    for n, write in enumerate(formats):
        (tmp_path / str(n)).mkdir()
        write(tmp_path / str(n), layers)
        transcoders = load_transcoders(tmp_path / str(n), resident_bytes=0 if n % 2 else 1 << 20)
        graphs.append(attribute_tokens(model, transcoders, random_tokens(7, TinyShape())))
    first = graphs[0]
    assert len(first.of_kind(NodeKind.FEATURE)) > 20
    for other in graphs[1:]:
        assert np.array_equal(first.dense(), other.dense()), "bit for bit"
        for column in ("kind", "layer", "position", "feature", "activation", "influence"):
            found, expected = np.asarray(getattr(other.nodes, column)), np.asarray(getattr(first.nodes, column))
            assert np.array_equal(found.astype(float), expected.astype(float), equal_nan=True), column


def test_the_hash_is_worked_out_once_per_state_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = hashlib.file_digest

    def counted(handle: Any, name: str) -> Any:
        read.append(handle.name)
        return original(handle, name)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    writers.sparsify(tmp_path, draw())
    found = load_transcoders(tmp_path)
    assert not read, "opening reads no bytes for it"
    first = found.sha256
    assert len(read) == 6
    assert load_transcoders(tmp_path).sha256 == found.sha256 == first and len(read) == 6
    change_json(tmp_path / "layers.1.mlp" / "cfg.json", k=4)
    assert load_transcoders(tmp_path).sha256 != first
