"""Small random transcoder folders of every kind, for models that were never trained.

Encoders are drawn; their biases are set from what the model itself shows at the read point for one prompt, so that a
fifth of the features fires there. Some features never fire, and one position in the middle may be silent altogether.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

KINDS = ("clt", "plt", "sparsify")
"""Cross-layer and per-layer sets in circuit-tracer's format; per-layer sets in sparsify's."""
_CHOOSING = ("topk", "batchtopk")


@dataclass(frozen=True)
class TranscoderShape:
    """What a random set looks like.

    Attributes:
        kind: one of `KINDS`.
        activation: `relu`, `jumprelu` (thresholds are stored), `topk` or `batchtopk` (no threshold is stored);
            sparsify's is always `topk`, after a ReLU.
        reads, writes: hook names (sparsify: always the MLP's input and output).
        skip: whether a linear skip path is stored (per-layer sets alone).
        n_features: in the lowest layer; each layer above has two more, so that mixed-up layers show.
        k: features per token (TopK).
        share: of the features that fire, about.
        silent_position: a position at which no feature fires (not for TopK), or None.
    """

    kind: str = "clt"
    activation: str = "relu"
    reads: str = "mlp.hook_in"
    writes: str = "mlp.hook_out"
    skip: bool = False
    n_features: int = 14
    k: int = 3
    share: float = 0.2
    silent_position: int | None = None
    seed: int = 0


def write_transcoders(folder: Path, shape: TranscoderShape, inputs: Sequence[Tensor]) -> Path:
    """Write a set that fires on one prompt.

    Args:
        folder: is made.
        shape: what to write.
        inputs: values at the read point by layer, `[n_pos, d_model]` each.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(shape.seed)
    for layer, x in enumerate(inputs):
        tensors = _draw(shape, layer, len(inputs), x.double(), generator)
        stored = {key: value.float().contiguous() for key, value in tensors.items()}
        if shape.kind == "clt":
            decoder = {f"W_dec_{layer}": stored.pop("W_dec")}
            save_file(decoder, folder / f"W_dec_{layer}.safetensors")
            save_file({f"{key}_{layer}": v for key, v in stored.items()}, folder / f"W_enc_{layer}.safetensors")
        elif shape.kind == "plt":
            if "threshold" in stored:
                stored["activation_function.threshold"] = stored.pop("threshold")
            save_file(stored, folder / f"layer_{layer}.safetensors")
        else:
            _write_sparsify(folder / f"layers.{layer}.mlp", shape, stored)
    if shape.kind != "sparsify":
        config: dict[str, Any] = {
            "model_name": "tiny",
            "model_kind": "cross_layer_transcoder" if shape.kind == "clt" else "transcoder_set",
            "feature_input_hook": shape.reads,
            "feature_output_hook": shape.writes,
        }
        if shape.activation in _CHOOSING:
            config |= {"activation": shape.activation, "k": shape.k}
        elif shape.activation == "relu":
            config |= {"activation": "relu"}
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def _draw(
    shape: TranscoderShape, layer: int, n_layers: int, x: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """Tensors of one layer in circuit-tracer's names and orientation, float64."""

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    n_features, d_model = shape.n_features + 2 * layer, x.shape[1]
    spread = x.pow(2).mean().sqrt() * d_model**0.5
    encoder = normal(n_features, d_model) / spread
    pre = x[1:] @ encoder.T  # the first position is masked by rule
    cut = pre.quantile(1 - shape.share, dim=0) - 0.05  # of one or two positions it is a value that occurs
    if shape.silent_position is not None and shape.activation not in _CHOOSING:
        cut = torch.maximum(cut, x[shape.silent_position] @ encoder.T + 0.01)
    tensors = {
        "W_enc": encoder,
        "W_dec": 0.3 * normal(n_features, n_layers - layer if shape.kind == "clt" else 1, d_model),
        "b_dec": 0.2 * normal(d_model),
    }
    if shape.activation in _CHOOSING:
        # of a token's k largest some are negative; of a prompt's, none would be left to choose among
        tensors["b_enc"] = 0.3 * normal(n_features) - (1.0 if shape.activation == "topk" else 0.0)
    else:
        tensors["b_enc"] = -cut
        tensors["b_enc"][-1] = -100.0  # never fires
    if shape.activation == "jumprelu":
        threshold = 0.1 + 0.4 * torch.rand(n_features, generator=generator, dtype=torch.float64)
        tensors |= {"b_enc": tensors["b_enc"] + threshold, "threshold": threshold}
        # the first feature stands on its threshold at every position, in float32 too, and so never fires
        encoder[0], tensors["b_enc"][0], threshold[0] = 0.0, 0.25, 0.25
    if shape.kind != "clt":
        tensors["W_dec"] = tensors["W_dec"][:, 0]
    if shape.skip:
        assert shape.kind != "clt", "skip paths belong to per-layer sets"
        tensors["W_skip"] = normal(d_model, d_model) / (2 * d_model**0.5)
    return tensors


def _write_sparsify(folder: Path, shape: TranscoderShape, stored: dict[str, Tensor]) -> None:
    folder.mkdir()
    names = {"W_enc": "encoder.weight", "b_enc": "encoder.bias"}
    save_file({names.get(key, key): value for key, value in stored.items()}, folder / "sae.safetensors")
    n_features, d_model = stored["W_enc"].shape
    config = {
        "activation": "topk",
        "d_in": d_model,
        "expansion_factor": 1,
        "k": shape.k,
        "normalize_decoder": False,
        "num_latents": n_features,
        "multi_topk": False,
        "skip_connection": shape.skip,
        "transcode": True,
    }
    (folder / "cfg.json").write_text(json.dumps(config))
