"""Transcoders: encoding, lazy decoder rows, and every fault of a folder in one error."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.tracer.tiny_pair import TinyShape, make_pair, write_transcoders
from tracescribe.tracer import transcoders
from tracescribe.tracer.errors import SettingError, TranscoderFormatError, TranscoderMismatchError
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.transcoders import TranscoderSet, check_fit, load_transcoders

SHAPE = TinyShape(seed=6, n_features=(5, 12, 7), jump=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good folder that a test may damage."""
    path = tmp_path / "tiny-clt"
    path.mkdir()
    write_transcoders(path, SHAPE)
    return path


def change(folder: Path, name: str, edit: Callable[[dict[str, Tensor]], object]) -> None:
    """Rewrite one weight file."""
    tensors = {key: tensor.clone() for key, tensor in load_file(folder / name).items()}
    edit(tensors)
    save_file(tensors, folder / name)


def change_config(folder: Path, **changes: object) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump(config | changes))


def test_a_ragged_folder_opens(folder: Path) -> None:
    clt = load_transcoders(folder)
    assert (clt.transcoder_id, clt.kind, clt.model_name) == ("tiny-clt", "cross_layer_transcoder", "tiny")
    assert (clt.n_layers, clt.d_model, clt.n_features) == (3, 16, (5, 12, 7))
    assert (clt.reads, clt.writes) == (SHAPE.reads, SHAPE.writes)
    assert clt.encoder_rows(1, torch.tensor([3, 3])).shape == (2, 16)
    assert clt.encoder_bias(2).shape == (7,)
    assert clt.decoder_bias(0).shape == (16,)


@pytest.mark.parametrize("jump", [False, True])
def test_encoding_is_relu_or_strict_jumprelu(tmp_path: Path, jump: bool) -> None:
    write_transcoders(tmp_path, TinyShape(jump=jump))
    stored = load_file(tmp_path / "W_enc_1.safetensors")
    clt = load_transcoders(tmp_path)
    x = torch.randn(6, 16, generator=torch.Generator().manual_seed(0))
    pre = x @ stored["W_enc_1"].T + stored["b_enc_1"]
    floor = stored["threshold_1"] if jump else torch.zeros(32)
    expected = torch.where(pre > floor, pre, torch.zeros(()))
    assert torch.equal(clt.encode(1, x), expected)
    assert jump == bool(((pre > 0) & (pre <= floor)).any()), "the thresholds must have something to cut"


def test_a_value_at_the_threshold_is_not_active(folder: Path) -> None:
    def level(tensors: dict[str, Tensor]) -> None:
        tensors["W_enc_0"].zero_()
        tensors["b_enc_0"].fill_(0.25)
        tensors["threshold_0"].fill_(0.25)

    change(folder, "W_enc_0.safetensors", level)
    assert not load_transcoders(folder).encode(0, torch.ones(2, 16)).any()


def test_decoder_rows_come_in_the_order_asked_for(folder: Path) -> None:
    clt = load_transcoders(folder)
    for layer in range(3):
        stored = load_file(folder / f"W_dec_{layer}.safetensors")[f"W_dec_{layer}"]
        wanted = torch.tensor([4, 0, 4, 2])
        assert torch.equal(clt.decoder_rows(layer, wanted), stored[wanted])
        assert clt.decoder_rows(layer, wanted[:0]).shape == (0, 3 - layer, 16)


def test_half_precision_is_read_as_float32(folder: Path) -> None:
    change(folder, "W_dec_0.safetensors", lambda t: t.update(W_dec_0=t["W_dec_0"].bfloat16()))
    change(folder, "W_enc_0.safetensors", lambda t: t.update(W_enc_0=t["W_enc_0"].bfloat16()))
    clt = load_transcoders(folder)
    assert clt.decoder_rows(0, torch.tensor([1])).dtype == torch.float32
    assert clt.encode(0, torch.ones(1, 16)).dtype == torch.float32


def test_the_hash_follows_every_file(folder: Path, tmp_path: Path) -> None:
    before = load_transcoders(folder).sha256
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in folder.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    assert load_transcoders(moved).sha256 == before
    change(moved, "W_dec_2.safetensors", lambda t: t["W_dec_2"].add_(1))
    assert load_transcoders(moved).sha256 != before


def drop_encoders(folder: Path) -> None:
    for path in folder.glob("W_enc_*"):
        path.unlink()


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda f: (f / "config.yaml").unlink(), "has no config.yaml"),
    "config is no YAML": (lambda f: (f / "config.yaml").write_text("a: [1"), "cannot read .*config.yaml"),
    "config runs code": (lambda f: (f / "config.yaml").write_text("!!python/object/apply:os.getcwd []"), "cannot read"),
    "config is a list": (lambda f: (f / "config.yaml").write_text("- 1"), "holds list, expected a mapping"),
    "per-layer set": (lambda f: change_config(f, model_kind="transcoder_set"), "no layer_0.safetensors"),
    "unknown kind": (lambda f: change_config(f, model_kind="sae"), "model_kind is 'sae'"),
    "topk with thresholds": (
        lambda f: change_config(f, activation="topk", k=4),
        "activation is topk, but thresholds are stored",
    ),
    "unknown activation": (lambda f: change_config(f, activation="tanh"), "activation is 'tanh', expected one of relu"),
    "k is no number": (lambda f: change_config(f, activation="topk", k="4"), "k is '4', expected a positive integer"),
    "file outside": (
        lambda f: change_config(f, model_kind="transcoder_set", transcoders=["../x"]),
        "'../x' lies outside the folder",
    ),
    "relu with thresholds": (
        lambda f: change_config(f, activation="relu"),
        "activation is relu, but thresholds are stored",
    ),
    "unknown read point": (lambda f: change_config(f, feature_input_hook="hook_q"), "feature_input_hook is 'hook_q'"),
    "no layer": (drop_encoders, "no W_enc_0.safetensors"),
    "a gap": (lambda f: (f / "W_enc_1.safetensors").unlink(), "W_enc_2.safetensors follows no W_enc_1"),
    "no decoder": (lambda f: (f / "W_dec_1.safetensors").unlink(), "W_dec_1.safetensors cannot be read"),
    "no safetensors": (
        lambda f: (f / "W_enc_1.safetensors").write_bytes(b"x" * 50),
        "W_enc_1.safetensors cannot be read",
    ),
    "truncated": (
        lambda f: (f / "W_dec_0.safetensors").write_bytes((f / "W_dec_0.safetensors").read_bytes()[:-9]),
        "W_dec_0.safetensors cannot be read",
    ),
    "no bias": (lambda f: change(f, "W_enc_1.safetensors", lambda t: t.pop("b_enc_1")), "no b_enc_1"),
    "wrong rank": (
        lambda f: change(f, "W_enc_1.safetensors", lambda t: t.update(b_dec_1=torch.ones(2, 16))),
        r"b_dec_1 has shape \[2, 16\], expected 1 axes",
    ),
    "wrong bias": (
        lambda f: change(f, "W_enc_1.safetensors", lambda t: t.update(b_enc_1=torch.ones(3))),
        r"b_enc_1 has shape \[3\], expected \[12\]",
    ),
    "wrong decoder": (
        lambda f: change(f, "W_dec_1.safetensors", lambda t: t.update(W_dec_1=torch.ones(12, 3, 16))),
        r"W_dec_1 has shape \[12, 3, 16\], expected \[12, 2, 16\]",
    ),
    "another name": (
        lambda f: change(f, "W_dec_1.safetensors", lambda t: t.update(other=t.pop("W_dec_1"))),
        "W_dec_1.safetensors: no W_dec_1",
    ),
    "encoder not finite": (
        lambda f: change(f, "W_enc_0.safetensors", lambda t: t["W_enc_0"][0].fill_(float("inf"))),
        "W_enc_0 is not finite",
    ),
    "decoder not finite": (
        lambda f: change(f, "W_dec_0.safetensors", lambda t: t["W_dec_0"][0].fill_(float("nan"))),
        "W_dec_0 is not finite",
    ),
    "layers differ": (
        lambda f: change(f, "W_enc_2.safetensors", lambda t: t.update(W_enc_2=torch.ones(7, 8), b_dec_2=torch.ones(8))),
        r"layers differ in d_model: \[8, 16\]",
    ),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_faulty_folder_is_refused_in_one_line(folder: Path, fault: str) -> None:
    spoil, message = FAULTS[fault]
    spoil(folder)
    with pytest.raises(TranscoderFormatError, match=message) as caught:
        load_transcoders(folder)
    assert "\n" not in str(caught.value)


def test_all_faults_of_a_folder_come_in_one_error(folder: Path) -> None:
    change(folder, "W_enc_0.safetensors", lambda t: t.pop("b_enc_0"))
    change(folder, "W_dec_1.safetensors", lambda t: t.update(W_dec_1=torch.ones(1, 1, 1)))
    (folder / "W_dec_2.safetensors").unlink()
    change_config(folder, feature_output_hook="nowhere")
    with pytest.raises(TranscoderFormatError) as caught:
        load_transcoders(folder)
    for part in ("no b_enc_0", "W_dec_1 has shape", "W_dec_2.safetensors cannot be read", "feature_output_hook"):
        assert part in str(caught.value)


def test_rows_of_large_decoders_are_checked_when_they_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcoders, "FULL_CHECK_BYTES", 0)
    change(folder, "W_dec_0.safetensors", lambda t: t["W_dec_0"][2].fill_(float("nan")))
    clt = load_transcoders(folder)
    assert clt.decoder_rows(0, torch.tensor([1, 3])).isfinite().all()
    with pytest.raises(TranscoderFormatError, match="W_dec_0 is not finite"):
        clt.decoder_rows(0, torch.tensor([1, 2]))


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(TranscoderFormatError, match="no transcoder folder '.*nowhere'; give a folder or 'embedded'"):
        load_transcoders(tmp_path / "nowhere")


def test_all_differences_to_the_model_come_in_one_error(
    tmp_path: Path, embedded_model: LanguageModel, embedded_transcoders: TranscoderSet
) -> None:
    model, clt = make_pair(tmp_path, SHAPE)
    check_fit(model, clt)
    check_fit(embedded_model, embedded_transcoders)
    with pytest.raises(TranscoderMismatchError) as caught:
        check_fit(embedded_model, clt)
    expected = f"layers 3, expected {embedded_model.n_layers}; d_model 16, expected {embedded_model.d_model}"
    assert expected in str(caught.value)
    assert "(made for 'tiny')" in str(caught.value)


def test_odd_things_that_work_are_warnings(
    tmp_path: Path, embedded_model: LanguageModel, embedded_transcoders: TranscoderSet
) -> None:
    assert check_fit(embedded_model, embedded_transcoders) == ()
    model, clt = make_pair(tmp_path, SHAPE)  # a folder called "model", weights made for "tiny"
    (warning,) = check_fit(model, clt)
    assert "were made for 'tiny', the model is 'model'" in warning
    renamed = dataclasses.replace(model, model_id="someone/Tiny")
    assert check_fit(renamed, clt) == ()


def test_a_write_point_that_the_model_lacks_is_named(tmp_path: Path) -> None:
    model, clt = make_pair(tmp_path, SHAPE)
    block = dataclasses.replace(model.architecture.blocks[0], write_modules={})
    bare = dataclasses.replace(model.architecture, blocks=(block, *model.architecture.blocks[1:]))
    with pytest.raises(TranscoderMismatchError, match="write point 'hook_mlp_out', which llama does not have"):
        check_fit(dataclasses.replace(model, architecture=bare), clt)


def test_a_set_describes_itself_without_reading_weights(folder: Path) -> None:
    clt = load_transcoders(folder)
    told = clt.describe()
    assert json.loads(json.dumps(told)) == told
    assert (told["format"], told["kind"], told["n_layers"]) == ("circuit-tracer", "cross_layer_transcoder", 3)
    assert [layer["n_features"] for layer in told["layers"]] == [5, 12, 7]
    assert [layer["n_written"] for layer in told["layers"]] == [3, 2, 1]
    assert {layer["activation"] for layer in told["layers"]} == {"jumprelu"}
    assert told["file_bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    assert told["layers"][1]["decoder_bytes"] == 4 * 12 * 2 * 16


def test_encoders_stay_in_memory_up_to_the_limit(folder: Path) -> None:
    one = load_transcoders(folder, resident_bytes=0)
    for layer in (0, 1, 2, 0):
        assert one.encode(layer, torch.ones(1, 16)).shape[-1] == SHAPE.n_features[layer]
        assert one.resident.n_bytes == 4 * SHAPE.n_features[layer] * 16, "one layer at a time"
    every = load_transcoders(folder, resident_bytes=1 << 20)
    assert every.encoder_bias(1) is every.encoder_bias(1)
    held = every.resident.n_bytes
    every.encode(2, torch.ones(1, 16))
    assert every.resident.n_bytes == held, "nothing is read twice"


def test_rows_of_a_layer_that_is_not_in_memory_are_read_alone(folder: Path) -> None:
    clt = load_transcoders(folder, resident_bytes=0)
    clt.encode(0, torch.ones(1, 16))
    rows = clt.encoder_rows(1, torch.tensor([3, 11, 3]))
    assert len(clt.encoder_bias(2)) == 7 and len(clt.decoder_bias(2)) == 16
    assert clt.resident.holds(("encoder", 0)), "no other encoder came in"
    clt.encode(1, torch.ones(1, 16))
    assert torch.equal(rows, clt.encoder_rows(1, torch.tensor([3, 11, 3])))


def test_a_dtype_or_device_that_cannot_be_used_is_a_wrong_setting(folder: Path) -> None:
    with pytest.raises(SettingError, match="transcoder dtype is 'int8', expected one of float32, float64"):
        load_transcoders(folder, dtype="int8")
    with pytest.raises(SettingError, match="device 'warp:9' cannot be used"):
        load_transcoders(folder, device="warp:9")
