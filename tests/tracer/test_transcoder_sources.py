"""Where weights come from: files larger than memory, the hub's cache, and state dicts that carry more than tensors."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from tests.tracer import transcoder_writers as writers
from tests.tracer.test_transcoder_formats import expect_weights
from tests.tracer.transcoder_writers import draw
from tracescribe.tracer.errors import TranscoderFormatError
from tracescribe.tracer.transcoder_formats.hub import parse_address
from tracescribe.tracer.transcoders import load_transcoders

# -- larger than memory --------------------------------------------------------------------------------------------

N_FEATURES, D_MODEL = 1 << 20, 1024  # decoders of 8.6 + 8.6 + 4.3 + ... GB

ROOM = 64 << 20
"""Bytes of its own that reading rows may take: 64 rows of at most 16 kB a layer, some copies of them, and the allocator."""

READ_ROWS = """
import resource, sys, torch
from tracescribe.tracer.transcoders import load_transcoders

clt, room = load_transcoders(sys.argv[1], resident_bytes=0), int(sys.argv[2])
torch.zeros(64, 64).abs().sum()
# Memory of its own is limited, not what is resident: pages of mapped files are the system's to keep or drop, and how
# many it maps around a row differs from one machine to the next.
own = next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmData:"))
resource.setrlimit(resource.RLIMIT_DATA, (own + room, resource.RLIM_INFINITY))
try:
    torch.empty(8 * room, dtype=torch.uint8)  # freed memory that the allocator keeps may hold a little more than room
except RuntimeError:
    pass
else:
    sys.exit("the limit does not hold")
for layer in range(clt.n_layers):
    features = torch.arange(3, 1 << 20, 1 << 14)
    rows = clt.decoder_rows(layer, features.flip(0))
    assert rows.shape == (64, clt.n_layers - layer, 1024), rows.shape
    marked = rows[(features.flip(0) == 3 + (5 << 14)).nonzero()[0, 0]]
    assert (marked == layer + 1).all() and float(rows.abs().sum()) == float(marked.abs().sum())
print("read")
"""


def write_sparse_decoder(path: Path, layer: int, n_layers: int) -> None:
    """A decoder of zeros that takes no room on disk, but for one row."""
    shape = [N_FEATURES, n_layers - layer, D_MODEL]
    n_bytes = 4 * N_FEATURES * (n_layers - layer) * D_MODEL
    header = json.dumps({f"W_dec_{layer}": {"dtype": "F32", "shape": shape, "data_offsets": [0, n_bytes]}}).encode()
    row = torch.full((n_layers - layer, D_MODEL), float(layer + 1)).numpy().tobytes()
    with path.open("wb") as handle:
        handle.write(len(header).to_bytes(8, "little") + header)
        handle.truncate(8 + len(header) + n_bytes)
        handle.seek(8 + len(header) + (3 + (5 << 14)) * len(row))
        handle.write(row)


def test_decoders_larger_than_memory_are_read_row_by_row(tmp_path: Path) -> None:
    n_layers = 4
    for layer in range(n_layers):
        # encoders are small: the same width, or features and decoders would not fit each other
        encoder = {"dtype": "F32", "shape": [N_FEATURES, D_MODEL], "data_offsets": [0, 4 * N_FEATURES * D_MODEL]}
        bias = 4 * N_FEATURES * D_MODEL
        header = json.dumps(
            {
                f"W_enc_{layer}": encoder,
                f"b_enc_{layer}": {
                    "dtype": "F32",
                    "shape": [N_FEATURES],
                    "data_offsets": [bias, bias + 4 * N_FEATURES],
                },
                f"b_dec_{layer}": {"dtype": "F32", "shape": [D_MODEL], "data_offsets": [0, 4 * D_MODEL]},
            }
        ).encode()
        with (tmp_path / f"W_enc_{layer}.safetensors").open("wb") as handle:
            handle.write(len(header).to_bytes(8, "little") + header)
            handle.truncate(8 + len(header) + bias + 4 * N_FEATURES)
        write_sparse_decoder(tmp_path / f"W_dec_{layer}.safetensors", layer, n_layers)
    config = {"model_kind": "cross_layer_transcoder", "feature_input_hook": writers.READS}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config | {"feature_output_hook": writers.WRITES}))
    apparent = sum(path.stat().st_size for path in tmp_path.glob("W_dec_*"))
    assert apparent > 40e9
    assert sum(path.stat().st_blocks * 512 for path in tmp_path.iterdir()) < 50e6, "the files must be sparse"
    done = subprocess.run(  # noqa: PLW1510 (the return code is looked at below)
        [sys.executable, "-c", READ_ROWS, str(tmp_path), str(ROOM)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "read\n", done.stdout


# -- the hub ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no network."""
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.errors import LocalEntryNotFoundError

    def offline(*arguments: Any, **settings: Any) -> str:
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    return tmp_path / "hub"


def cached(cache: Path, repository: str, commit: str = "c" * 40) -> Path:
    """The snapshot folder of a repository in the cache."""
    root = cache / f"models--{repository.replace('/', '--')}"
    (root / "refs").mkdir(parents=True, exist_ok=True)
    (root / "refs" / "main").write_text(commit)
    (root / "snapshots" / commit).mkdir(parents=True)
    return root / "snapshots" / commit


def test_a_cached_set_opens_without_network(cache: Path) -> None:
    layers = draw(jump=True, skip=True)
    writers.circuit_tracer(cached(cache, "org/set"), layers)
    found = load_transcoders("org/set")
    assert found.transcoder_id == "org/set"
    expect_weights(found, layers)
    expect_weights(load_transcoders("hf://org/set"), layers)
    (cached(cache, "org/many") / "inner").mkdir()
    writers.scope_2(cache / "models--org--many" / "snapshots" / ("c" * 40) / "inner", layers)
    expect_weights(load_transcoders("hf://org/many/inner"), layers)
    expect_weights(load_transcoders("hf://org/many/inner/layer_*_width_16k_l0_small"), layers)


def test_what_is_wrong_with_a_cached_set_is_said_offline(cache: Path) -> None:
    snapshot = cached(cache, "org/set")
    writers.circuit_tracer(snapshot, draw())
    (snapshot / "layer_1.safetensors").write_bytes(b"x" * 40)
    with pytest.raises(TranscoderFormatError, match="layer_1.safetensors cannot be read"):
        load_transcoders("org/set")


def test_listed_files_come_from_the_hub(cache: Path, tmp_path: Path) -> None:
    layers = draw(jump=True)
    (tmp_path / "plain").mkdir()
    writers.circuit_tracer(tmp_path / "plain", layers)
    names: list[str] = []
    for n in range(3):
        target = cached(cache, f"org/layer{n}", commit=str(n) * 40) / "deep"
        target.mkdir()
        (tmp_path / "plain" / f"layer_{n}.safetensors").rename(target / "w.safetensors")
        names.append(f"hf://org/layer{n}/deep/w.safetensors?revision={str(n) * 40}")
    writers.write_config(tmp_path / "plain", "transcoder_set", transcoders=names)
    expect_weights(load_transcoders(tmp_path / "plain"), layers)
    writers.write_config(tmp_path / "plain", "transcoder_set", transcoders=[*names, "hf://org/none/w.safetensors"])
    with pytest.raises(TranscoderFormatError, match="'hf://org/none/w.safetensors' is not in the local cache"):
        load_transcoders(tmp_path / "plain")


def test_what_is_not_to_be_had_is_said(cache: Path) -> None:
    with pytest.raises(TranscoderFormatError, match="'org/none' is not in the local cache, and the hub gave") as caught:
        load_transcoders("org/none")
    assert "\n" not in str(caught.value)
    with pytest.raises(TranscoderFormatError, match="no transcoder folder 'a/b/c'"):
        load_transcoders("a/b/c")


@pytest.mark.parametrize(
    "name", ["hf://org", "hf://org/../x", "hf://org/name/../../etc/passwd", "hf://org/name/x?revision=a b", "hf:///x/y"]
)
def test_addresses_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(TranscoderFormatError, match="is no address on the hub"):
        parse_address(name)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "..\\x", "C:/x", "a/..", "x\0"])
def test_listed_files_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    writers.write_config(tmp_path, "transcoder_set", transcoders=[name])
    with pytest.raises(TranscoderFormatError, match="lies outside the folder"):
        load_transcoders(tmp_path)


# -- state dicts -----------------------------------------------------------------------------------------------------


class Marker:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


def write_checkpoint(folder: Path, content: object, **settings: Any) -> None:
    torch.save(content, folder / "layer_0.pt", **settings)
    writers.write_config(folder, "transcoder_set")


def plain_state() -> dict[str, Any]:
    return writers.plain(draw((12,))[0])


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_would_run_something_is_refused_unread(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "marker"
    write_checkpoint(tmp_path, plain_state() | {"extra": Marker(marker)}, pickle_protocol=protocol)
    with pytest.raises(
        TranscoderFormatError, match=r"its pickle names '\w+ open', which no state dict needs; nothing was"
    ):
        load_transcoders(tmp_path)
    assert not marker.exists()
    torch.load(tmp_path / "layer_0.pt", weights_only=False)["extra"].close()
    assert marker.exists(), "the file would have done it"


def test_classes_of_torch_are_refused_too(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, torch.nn.Linear(3, 3))
    with pytest.raises(TranscoderFormatError, match="its pickle names 'torch.nn.modules.linear Linear'"):
        load_transcoders(tmp_path)


def test_old_pickles_are_refused(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    write_checkpoint(tmp_path, plain_state(), _use_new_zipfile_serialization=False)
    with pytest.raises(TranscoderFormatError, match="it is a bare pickle, which is never read"):
        load_transcoders(tmp_path)
    (tmp_path / "layer_0.pt").write_bytes(pickle.dumps(Marker(marker)))
    with pytest.raises(TranscoderFormatError, match="layer_0.pt cannot be read"):
        load_transcoders(tmp_path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "it holds list, expected a dict of tensors"),
        ({"a": 1}, "'a'. is no named tensor"),
        ({"W_enc": torch.ones(2, 2)}, "expected vectors b_enc and b_dec, found W_enc"),
        ({"W_enc": torch.ones(1, 1).expand(1000, 1000)}, "does not fit its storage of 4 bytes"),
        ({"W_enc": torch.ones(4, 4)[:, ::2]}, "save it contiguous"),
        ({3: torch.ones(4)}, "is no named tensor"),
    ],
)
def test_anything_but_a_state_dict_is_refused(tmp_path: Path, content: object, message: str) -> None:
    write_checkpoint(tmp_path, content)
    with pytest.raises(TranscoderFormatError, match=message):
        load_transcoders(tmp_path)


def test_square_matrices_of_a_state_dict_are_refused_unless_linear(tmp_path: Path) -> None:
    (layer,) = draw((8,))
    write_checkpoint(tmp_path, writers.plain(layer))
    with pytest.raises(TranscoderFormatError, match="W_enc is square, and nothing says which way it lies"):
        load_transcoders(tmp_path)
    state = {"encoder.weight": layer.encoder, "encoder.bias": layer.encoder_bias}
    state |= {"decoder.weight": layer.decoder[:, 0].T, "decoder.bias": layer.decoder_bias}
    write_checkpoint(tmp_path, state)
    expect_weights(load_transcoders(tmp_path), [layer])


def test_a_bomb_in_an_archive_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    layers = draw(jump=True)
    writers.scope_1(tmp_path, layers)
    bomb = tmp_path / "layer_0" / "width_16k" / "average_l0_40" / "params.npz"
    header = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
    header += b"{'descr': '<f4', 'fortran_order': False, 'shape': (134217728, 8), }".ljust(117) + b"\n"
    with (
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("W_enc.npy", "w", force_zip64=True) as f,
    ):
        f.write(header)
        for _ in range(64):
            f.write(bytes(1 << 20))
    with pytest.raises(TranscoderFormatError, match="'W_enc' is said to unpack from"):
        load_transcoders(tmp_path)


def test_a_file_that_shrinks_while_in_use_is_an_error(tmp_path: Path) -> None:
    layers = draw()
    writers.circuit_tracer(tmp_path, layers)
    found = load_transcoders(tmp_path, resident_bytes=0)
    path = tmp_path / "layer_1.safetensors"
    os.truncate(path, path.stat().st_size // 2)
    found.encode(0, torch.ones(1, 8))
    with pytest.raises(TranscoderFormatError, match="became shorter than its header says"):
        found.decoder_rows(1, torch.tensor([15]))
    with pytest.raises(TranscoderFormatError, match="became shorter than its header says"):
        found.encode(1, torch.ones(1, 8))
    path.unlink()
    with pytest.raises(TranscoderFormatError, match="cannot be read any more"):
        found.decoder_rows(1, torch.tensor([15]))


def test_numbers_that_are_not_finite_are_found_when_read(tmp_path: Path) -> None:
    layers = draw()
    writers.circuit_tracer(tmp_path, layers)
    broken = writers.plain(layers[1])
    broken["W_skip"] = torch.full((8, 8), float("nan"))
    save_file(broken, tmp_path / "layer_1.safetensors")
    with pytest.raises(TranscoderFormatError, match="layer_1.safetensors: W_skip is not finite"):
        load_transcoders(tmp_path)
