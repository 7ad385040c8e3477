"""Transcoders: sparse stand-ins for MLPs. A cross-layer transcoder (CLT) reads one layer and writes to it and all above.

Format: circuit-tracer's CLT folder, `config.yaml` with `W_enc_{l}.safetensors` and `W_dec_{l}.safetensors`. Encoders
stay in memory; decoders hold n_layers (n_layers + 1) / 2 * n_features * d_model numbers and are read row by row.

Source: Ameisen et al. 2025, "Circuit Tracing" (transformer-circuits.pub); format of circuit-tracer 0.4.1
(github.com/decoderesearch/circuit-tracer).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from tracescribe.tracer import embedded
from tracescribe.tracer.architectures.base import READ_POINTS, WRITE_POINTS
from tracescribe.tracer.errors import TranscoderFormatError, TranscoderMismatchError
from tracescribe.tracer.fingerprints import sha256_folder
from tracescribe.tracer.models import LanguageModel

TranscoderKind = Literal["cross_layer_transcoder"]
"""Kinds that can be opened. Per-layer sets are recognised and refused by name."""

_CLT: TranscoderKind = "cross_layer_transcoder"
_PER_LAYER = "transcoder_set"
_FILES = ("config.yaml", "W_enc_*.safetensors", "W_dec_*.safetensors")
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


@dataclass(frozen=True, eq=False)
class TranscoderSet:
    """A transcoder for every layer of one model.

    Attributes:
        transcoder_id: `embedded`, or the name of its folder.
        path: the folder.
        kind: what it is.
        sha256: hash of its files.
        reads: read point by hook name (`architectures.base.READ_POINTS`).
        writes: write point by hook name (`architectures.base.WRITE_POINTS`).
        n_layers: layers.
        d_model: width of the residual stream.
        n_features: features per layer; widths may differ.
        model_name: the model that its configuration names; "" if none.
        layers: the encoders.
    """

    transcoder_id: str
    path: Path
    kind: TranscoderKind
    sha256: str
    reads: str
    writes: str
    n_layers: int
    d_model: int
    n_features: tuple[int, ...]
    model_name: str
    layers: tuple[EncoderLayer, ...]

    def encode(self, layer: int, x: Tensor) -> Tensor:
        """Activations of one layer's features: `[..., d_model]` to `[..., n_features[layer]]`.

        ReLU, or JumpReLU (`pre * (pre > threshold)`, strict) where the folder stores thresholds.
        """
        encoder = self.layers[layer]
        pre = x @ encoder.weight.T + encoder.bias
        return pre.relu() if encoder.threshold is None else pre * (pre > encoder.threshold)

    def encoder_rows(self, layer: int, features: Tensor) -> Tensor:
        """Encoder vectors of some features, `[n, d_model]`."""
        return self.layers[layer].weight[features]

    def encoder_bias(self, layer: int) -> Tensor:
        """Encoder bias of one layer, `[n_features[layer]]`."""
        return self.layers[layer].bias

    def decoder_bias(self, layer: int) -> Tensor:
        """Bias of what is written to one layer, `[d_model]`."""
        return self.layers[layer].decoder_bias

    def decoder_rows(self, layer: int, features: Tensor) -> Tensor:
        """Decoder vectors of some features, read from disk.

        Args:
            layer: the layer that the features read.
            features: `[n]` indices, in any order, repeats allowed.

        Returns:
            `[n, n_layers - layer, d_model]` float32; entry `k` of the middle axis writes to layer `layer + k`.

        Raises:
            TranscoderFormatError: a row is not finite.
        """
        if not len(features):
            return torch.zeros(0, self.n_layers - layer, self.d_model)
        from safetensors import safe_open

        unique, inverse = torch.unique(features.to(torch.int64), return_inverse=True)
        with safe_open(self.path / f"W_dec_{layer}.safetensors", "pt") as handle:
            rows = cast(Tensor, handle.get_slice(f"W_dec_{layer}")[unique.tolist()])
        if not torch.isfinite(rows).all():
            raise TranscoderFormatError(f"{self.path}: W_dec_{layer} is not finite; copy or download the folder again")
        return rows.float()[inverse]


def load_transcoders(name_or_path: str | Path) -> TranscoderSet:
    """Open a transcoder folder.

    Args:
        name_or_path: `embedded`, or a folder with a `config.yaml`.

    Raises:
        TranscoderFormatError: no such folder, a kind that is not supported yet, or a folder with faults (all are
            listed).
    """
    is_embedded = str(name_or_path) == embedded.MODEL_ID
    path = embedded.transcoder_dir() if is_embedded else Path(name_or_path)
    config = _read_config(path)
    faults: list[str] = []
    layers = _read_layers(path, faults)
    reads = _hook(config, "feature_input_hook", READ_POINTS, faults)
    writes = _hook(config, "feature_output_hook", WRITE_POINTS, faults)
    if config.get("activation") == "relu" and any(layer.threshold is not None for layer in layers):
        faults.append("config.yaml says activation: relu, but thresholds are stored")
    if faults:
        raise TranscoderFormatError(f"transcoder folder {path}: {'; '.join(faults)}; copy or download it again")
    return TranscoderSet(
        transcoder_id=embedded.MODEL_ID if is_embedded else path.resolve().name,
        path=path,
        kind=_CLT,
        sha256=sha256_folder(path, _FILES),
        reads=reads,
        writes=writes,
        n_layers=len(layers),
        d_model=int(layers[0].weight.shape[1]),
        n_features=tuple(len(layer.weight) for layer in layers),
        model_name=str(config.get("model_name", "")),
        layers=tuple(layers),
    )


def check_fit(model: LanguageModel, transcoders: TranscoderSet) -> None:
    """Refuse a transcoder set that was made for another shape of model.

    Raises:
        TranscoderMismatchError: layers or width differ (all differences at once).
    """
    compared = [
        ("layers", transcoders.n_layers, model.n_layers),
        ("d_model", transcoders.d_model, model.d_model),
    ]
    faults = [f"{name} {found}, expected {expected}" for name, found, expected in compared if found != expected]
    if not faults and transcoders.writes not in model.architecture.blocks[0].write_modules:
        faults.append(f"write point {transcoders.writes!r}, which {model.architecture.family} does not have")
    if faults:
        named = f" (made for {transcoders.model_name!r})" if transcoders.model_name else ""
        raise TranscoderMismatchError(
            f"transcoders {transcoders.transcoder_id!r}{named} do not fit model {model.model_id!r}: "
            f"{'; '.join(faults)}; choose the set that was trained on this model"
        )


def _read_config(path: Path) -> Mapping[str, Any]:
    """The folder's configuration, of a kind that can be opened."""
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
        raise TranscoderFormatError(f"{file}: per-layer transcoders ({kind}) are not supported yet; use a {_CLT}")
    if kind != _CLT:
        raise TranscoderFormatError(f"{file}: model_kind is {kind!r}, expected {_CLT!r}")
    if config.get("activation") not in (None, "relu", "jumprelu"):
        raise TranscoderFormatError(
            f"{file}: activation {config['activation']!r} is not supported yet; supported: relu, and JumpReLU by "
            "stored thresholds"
        )
    if "transcoders" in config:
        raise TranscoderFormatError(f"{file}: a list of weight files ('transcoders') is not supported yet for a {_CLT}")
    return config


def _hook(config: Mapping[str, Any], key: str, known: tuple[str, ...], faults: list[str]) -> str:
    name = config.get(key)
    if name not in known:
        faults.append(f"config.yaml: {key} is {name!r}, expected one of {', '.join(known)}")
    return str(name)


def _read_layers(path: Path, faults: list[str]) -> list[EncoderLayer]:
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
