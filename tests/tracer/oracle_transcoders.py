"""Transcoders for the autograd oracle: weights as they lie in files, and what they compute, with nothing of the tracer's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor


@dataclass(frozen=True, eq=False)
class OracleLayer:
    """One layer of transcoders, in float64.

    Attributes:
        encoder: `[n_features, d_model]`.
        encoder_bias: `[n_features]`.
        decoder: `[n_features, n_written, d_model]`; entry `k` writes to the layer `k` above.
        decoder_bias: `[d_model]`.
        threshold: of JumpReLU, `[n_features]`, or None.
        skip: `[d_model, d_model]`, `out += x @ skip.T`, or None.
        k: features kept per token (TopK), or None.
        over_prompt: whether they are chosen among all tokens of a prompt together (BatchTopK).
        rectified: whether negative values are cut to zero (before TopK).
    """

    encoder: Tensor
    encoder_bias: Tensor
    decoder: Tensor
    decoder_bias: Tensor
    threshold: Tensor | None
    skip: Tensor | None
    k: int | None
    rectified: bool
    over_prompt: bool = False

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pre-activations and activations, each `[n_pos, n_features]`."""
        pre = x @ self.encoder.T + self.encoder_bias
        values = pre.clamp(min=0) if self.rectified else pre
        if self.threshold is not None:
            values = torch.where(pre > self.threshold, pre, torch.zeros_like(pre))
        if self.k is not None:
            together = values.reshape(1, -1) if self.over_prompt else values
            top = together.topk(self.k * (len(values) if self.over_prompt else 1), dim=-1)
            kept = torch.zeros_like(together).scatter(-1, top.indices, top.values)
            values = kept.view_as(values)
        return pre, values


@dataclass(frozen=True, eq=False)
class OracleTranscoders:
    """A transcoder for every layer, and where it reads and writes (TransformerLens hook names)."""

    layers: tuple[OracleLayer, ...]
    reads: str
    writes: str


def read_transcoders(folder: Path) -> OracleTranscoders:
    """Read a folder in circuit-tracer's formats, Gemma Scope's npz files listed by it, or sparsify's."""
    if not (folder / "config.yaml").is_file():
        return _read_sparsify(folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    reads, writes = config["feature_input_hook"], config["feature_output_hook"]
    if config["model_kind"] == "cross_layer_transcoder":
        n_layers = len(list(folder.glob("W_enc_*.safetensors")))
        stored = [
            {
                key.rsplit("_", 1)[0]: value
                for side in ("enc", "dec")
                for key, value in load_file(folder / f"W_{side}_{layer}.safetensors").items()
            }
            for layer in range(n_layers)
        ]
    elif "transcoders" in config:
        stored = [_read_npz(folder / name) for name in config["transcoders"]]
    else:
        n_layers = len(list(folder.glob("layer_*.safetensors")))
        stored = [load_file(folder / f"layer_{layer}.safetensors") for layer in range(n_layers)]
    kind = config.get("activation")
    k = int(config["k"]) if kind in ("topk", "batchtopk") else None
    return OracleTranscoders(tuple(_layer(tensors, k, kind == "batchtopk") for tensors in stored), reads, writes)


def _read_npz(path: Path) -> dict[str, Tensor]:
    with np.load(path) as archive:
        tensors = {key: torch.from_numpy(archive[key]) for key in archive.files}
    return tensors | {"W_enc": tensors["W_enc"].T}


def _layer(tensors: dict[str, Tensor], k: int | None, over_prompt: bool) -> OracleLayer:
    wide = {key: value.double() for key, value in tensors.items()}
    decoder = wide["W_dec"]
    threshold = wide.get("threshold", wide.get("activation_function.threshold"))
    return OracleLayer(
        encoder=wide["W_enc"],
        encoder_bias=wide["b_enc"],
        decoder=decoder if decoder.dim() == 3 else decoder[:, None],
        decoder_bias=wide["b_dec"],
        threshold=threshold,
        skip=wide.get("W_skip"),
        k=k,
        # circuit-tracer's TopK lets negative values through
        rectified=over_prompt or (k is None and threshold is None),
        over_prompt=over_prompt,
    )


def _read_sparsify(folder: Path) -> OracleTranscoders:
    layers = []
    for layer in range(len(list(folder.glob("layers.*.mlp")))):
        place = folder / f"layers.{layer}.mlp"
        config = json.loads((place / "cfg.json").read_text())
        wide = {key: value.double() for key, value in load_file(place / "sae.safetensors").items()}
        layers.append(
            OracleLayer(
                encoder=wide["encoder.weight"],
                encoder_bias=wide["encoder.bias"],
                decoder=wide["W_dec"][:, None],
                decoder_bias=wide["b_dec"],
                threshold=None,
                skip=wide.get("W_skip"),
                k=int(config["k"]),
                rectified=True,
            )
        )
    return OracleTranscoders(tuple(layers), "mlp.hook_in", "mlp.hook_out")
