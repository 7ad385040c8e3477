"""Transcoders: sparse stand-ins for MLPs. A cross-layer transcoder (CLT) reads one layer and writes to it and all above.

Format: circuit-tracer's CLT folder, `config.yaml` with `W_enc_{l}.safetensors` and `W_dec_{l}.safetensors`. Encoders
stay in memory; decoders hold n_layers (n_layers + 1) / 2 * n_features * d_model numbers and are read row by row.

Source: Ameisen et al. 2025, "Circuit Tracing" (transformer-circuits.pub); format of circuit-tracer 0.4.1
(github.com/decoderesearch/circuit-tracer).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from tracescribe.tracer import embedded
from tracescribe.tracer.architectures.base import READ_POINTS, WRITE_POINTS
from tracescribe.tracer.errors import TranscoderFormatError, TranscoderMismatchError
from tracescribe.tracer.fingerprints import sha256_folder
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.transcoder_folder import (
    CROSS_LAYER,
    EncoderLayer,
    TranscoderKind,
    read_config,
    read_hook,
    read_layers,
)

_FILES = ("config.yaml", "W_enc_*.safetensors", "W_dec_*.safetensors")


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

    def n_written(self, layer: int) -> int:
        """Layers that a feature of this layer writes to, itself first: all above for a CLT, one per layer otherwise."""
        return self.n_layers - layer if self.kind == CROSS_LAYER else 1

    def skip_weight(self, layer: int) -> Tensor | None:
        """`W` of the linear skip path `out += x @ W.T` from the read point to the write point of the same layer,
        `[d_model, d_model]`; None where there is none."""
        return None

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
    config = read_config(path)
    faults: list[str] = []
    layers = read_layers(path, faults)
    reads = read_hook(config, "feature_input_hook", READ_POINTS, faults)
    writes = read_hook(config, "feature_output_hook", WRITE_POINTS, faults)
    if config.get("activation") == "relu" and any(layer.threshold is not None for layer in layers):
        faults.append("config.yaml says activation: relu, but thresholds are stored")
    if faults:
        raise TranscoderFormatError(f"transcoder folder {path}: {'; '.join(faults)}; copy or download it again")
    return TranscoderSet(
        transcoder_id=embedded.MODEL_ID if is_embedded else path.resolve().name,
        path=path,
        kind=CROSS_LAYER,
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
