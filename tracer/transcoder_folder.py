"""A cross-layer transcoder's folder as it lies on disk: configuration, weight files, and all their faults at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from tracescribe.tracer import embedded
from tracescribe.tracer.errors import TranscoderFormatError

TranscoderKind = Literal["cross_layer_transcoder"]
"""Kinds that can be opened. Per-layer sets are recognised and refused by name."""

CROSS_LAYER: TranscoderKind = "cross_layer_transcoder"
"""The kind of a CLT, as configurations spell it."""

_PER_LAYER = "transcoder_set"
_MAX_LAYERS = 1000  # far above any model: a bound for hostile folders

FULL_CHECK_BYTES = 64 << 20
"""Decoder files up to this size are checked in full on opening; of larger ones each row when it is read, since a
public CLT's decoders take minutes to read through."""


@dataclass(frozen=True, eq=False)
class EncoderLayer:
    """The encoder of one layer, in float32.

    Attributes:
        weight: `[n_features, d_model]`.
        bias: `[n_features]`.
        threshold: `[n_features]` for JumpReLU, None for ReLU.
        decoder_bias: `[d_model]`, added to what is written to this layer.
    """

    weight: Tensor
    bias: Tensor
    threshold: Tensor | None
    decoder_bias: Tensor


def read_config(path: Path) -> Mapping[str, Any]:
    """The folder's configuration, of a kind that can be opened.

    Raises:
        TranscoderFormatError: no such folder, a configuration that cannot be read, or a kind not supported yet.
    """
    import yaml

    if not path.is_dir():
        raise TranscoderFormatError(f"no transcoder folder {str(path)!r}; give a folder or {embedded.MODEL_ID!r}")
    file = path / "config.yaml"
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TranscoderFormatError(f"transcoder folder {path} has no config.yaml") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise TranscoderFormatError(f"cannot read {file}: {str(error).splitlines()[0]}") from error
    if not isinstance(config, dict):
        raise TranscoderFormatError(f"{file} holds {type(config).__name__}, expected a mapping")
    kind = config.get("model_kind")
    if kind == _PER_LAYER:
        raise TranscoderFormatError(
            f"{file}: per-layer transcoders ({kind}) are not supported yet; use a {CROSS_LAYER}"
        )
    if kind != CROSS_LAYER:
        raise TranscoderFormatError(f"{file}: model_kind is {kind!r}, expected {CROSS_LAYER!r}")
    if config.get("activation") not in (None, "relu", "jumprelu"):
        raise TranscoderFormatError(
            f"{file}: activation {config['activation']!r} is not supported yet; supported: relu, and JumpReLU by "
            "stored thresholds"
        )
    if "transcoders" in config:
        raise TranscoderFormatError(
            f"{file}: a list of weight files ('transcoders') is not supported yet for a {CROSS_LAYER}"
        )
    return config


def read_hook(config: Mapping[str, Any], key: str, known: tuple[str, ...], faults: list[str]) -> str:
    """A hook name of the configuration; an unknown one is added to `faults`."""
    name = config.get(key)
    if name not in known:
        faults.append(f"config.yaml: {key} is {name!r}, expected one of {', '.join(known)}")
    return str(name)


def read_layers(path: Path, faults: list[str]) -> list[EncoderLayer]:
    """Every layer's encoder, faults collected; decoders are checked by shape, their numbers when they are read."""
    n_layers = next((n for n in range(_MAX_LAYERS) if not (path / f"W_enc_{n}.safetensors").is_file()), _MAX_LAYERS)
    if not n_layers:
        faults.append("no W_enc_0.safetensors")
    stray = [p.name for p in path.glob("W_enc_*.safetensors") if not _is_layer_of(p.name, n_layers)]
    faults.extend(f"{name} follows no W_enc_{n_layers}.safetensors" for name in sorted(stray))
    layers = [layer for n in range(n_layers) if (layer := _read_layer(path, n, n_layers, faults)) is not None]
    widths = {int(layer.weight.shape[1]) for layer in layers}
    if len(widths) > 1:
        faults.append(f"layers differ in d_model: {sorted(widths)}")
    return layers


def _is_layer_of(name: str, n_layers: int) -> bool:
    return name in {f"W_enc_{n}.safetensors" for n in range(n_layers)}


def _read_layer(path: Path, layer: int, n_layers: int, faults: list[str]) -> EncoderLayer | None:
    from safetensors import SafetensorError, safe_open

    name = f"W_enc_{layer}.safetensors"
    try:
        with safe_open(path / name, "pt") as handle:
            keys: list[str] = handle.keys()
            stored = {key: cast(Tensor, handle.get_tensor(key)).float() for key in keys}
    except (OSError, SafetensorError) as error:
        faults.append(f"{name} cannot be read ({error})")
        return None
    wanted = {"W_enc": 2, "b_enc": 1, "b_dec": 1, "threshold": 1}
    tensors: dict[str, Tensor] = {}
    before = len(faults)
    for key, rank in wanted.items():
        tensor = stored.get(f"{key}_{layer}")
        if tensor is None:
            if key != "threshold":
                faults.append(f"{name}: no {key}_{layer}")
            continue
        if tensor.dim() != rank:
            faults.append(f"{name}: {key}_{layer} has shape {list(tensor.shape)}, expected {rank} axes")
        elif not torch.isfinite(tensor).all():
            faults.append(f"{name}: {key}_{layer} is not finite")
        tensors[key] = tensor
    if len(faults) > before:
        return None
    n_features, d_model = tensors["W_enc"].shape
    expected = {"b_enc": (n_features,), "b_dec": (d_model,), "threshold": (n_features,)}
    for key, shape in expected.items():
        if key in tensors and tuple(tensors[key].shape) != shape:
            faults.append(f"{name}: {key}_{layer} has shape {list(tensors[key].shape)}, expected {list(shape)}")
    _check_decoder(path, layer, (n_features, n_layers - layer, d_model), faults)
    return EncoderLayer(tensors["W_enc"], tensors["b_enc"], tensors.get("threshold"), tensors["b_dec"])


def _check_decoder(path: Path, layer: int, shape: tuple[int, int, int], faults: list[str]) -> None:
    """Presence and shape of one layer's decoder; its rows are checked as they are read."""
    from safetensors import SafetensorError, safe_open

    name, key = f"W_dec_{layer}.safetensors", f"W_dec_{layer}"
    try:
        with safe_open(path / name, "pt") as handle:
            keys: list[str] = handle.keys()
            found = handle.get_slice(key).get_shape() if key in keys else None
            small = found is not None and (path / name).stat().st_size <= FULL_CHECK_BYTES
            finite = not small or bool(torch.isfinite(cast(Tensor, handle.get_tensor(key))).all())
    except (OSError, SafetensorError) as error:
        faults.append(f"{name} cannot be read ({error})")
        return
    if found is None:
        faults.append(f"{name}: no {key}")
    elif tuple(found) != shape:
        faults.append(f"{name}: {key} has shape {list(found)}, expected {list(shape)}")
    if not finite:
        faults.append(f"{name}: {key} is not finite")
