"""The same transcoders written in every format that can be read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Weights:
    """One layer, the way it is used: features first.

    Attributes:
        encoder: `[n_features, d_model]`.
        encoder_bias: `[n_features]`.
        decoder: `[n_features, n_written, d_model]`.
        decoder_bias: `[d_model]`.
        threshold: `[n_features]` or None.
        skip: `W` of `out += x @ W.T`, or None.
    """

    encoder: Tensor
    encoder_bias: Tensor
    decoder: Tensor
    decoder_bias: Tensor
    threshold: Tensor | None = None
    skip: Tensor | None = None


READS, WRITES = "mlp.hook_in", "hook_mlp_out"


def draw(
    n_features: Sequence[int] = (12, 16, 9),
    d_model: int = 8,
    *,
    cross_layer: bool = False,
    jump: bool = False,
    skip: bool = False,
    seed: int = 0,
) -> list[Weights]:
    """Random layers, from the first to the last."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator)

    return [
        Weights(
            encoder=normal(width, d_model) / d_model**0.5,
            encoder_bias=0.2 * normal(width) - 0.1,
            decoder=0.4 * normal(width, len(n_features) - layer if cross_layer else 1, d_model),
            decoder_bias=0.2 * normal(d_model),
            threshold=0.05 + 0.4 * torch.rand(width, generator=generator) if jump else None,
            skip=0.3 * normal(d_model, d_model) if skip else None,
        )
        for layer, width in enumerate(n_features)
    ]


def write_config(folder: Path, kind: str, **more: Any) -> None:
    config = {
        "model_name": "tiny",
        "model_kind": kind,
        "feature_input_hook": READS,
        "feature_output_hook": WRITES,
        **more,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def _present(tensors: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    return {key: tensor.contiguous() for key, tensor in tensors.items() if tensor is not None}


def plain(layer: Weights) -> dict[str, Tensor]:
    """circuit-tracer's names and orientation."""
    return _present(
        {
            "W_enc": layer.encoder,
            "b_enc": layer.encoder_bias,
            "W_dec": layer.decoder[:, 0],
            "b_dec": layer.decoder_bias,
            "activation_function.threshold": layer.threshold,
            "W_skip": layer.skip,
        }
    )


def _scope(layer: Weights) -> dict[str, Tensor]:
    """Gemma Scope 1's and SAELens' names and orientation."""
    tensors = {"W_enc": layer.encoder.T, "threshold": layer.threshold, "W_skip": layer.skip}
    return _present(plain(layer) | tensors | {"activation_function.threshold": None})


def _lower(layer: Weights, decoder: Tensor) -> dict[str, Tensor]:
    """Gemma Scope 2's names and orientation."""
    return _present(
        {
            "w_enc": layer.encoder.T,
            "b_enc": layer.encoder_bias,
            "w_dec": decoder,
            "b_dec": layer.decoder_bias,
            "threshold": layer.threshold,
            "affine_skip_connection": None if layer.skip is None else layer.skip.T,
        }
    )


def circuit_tracer(folder: Path, layers: Sequence[Weights], **more: Any) -> None:
    """`layer_{l}.safetensors` beside `config.yaml`."""
    for n, layer in enumerate(layers):
        save_file(plain(layer), folder / f"layer_{n}.safetensors")
    write_config(folder, "transcoder_set", **more)


def circuit_tracer_listed(folder: Path, layers: Sequence[Weights]) -> None:
    """Files of any name in sub-folders, listed from the last to the first in their folder but in order in the list."""
    names = [f"parts/{len(layers) - n:02d}/weights" for n in range(len(layers))]
    for name, layer in zip(names, layers, strict=True):
        (folder / name).parent.mkdir(parents=True)
        save_file(plain(layer), folder / name)
    write_config(folder, "transcoder_set", transcoders=names)


def circuit_tracer_in_sub_folder(folder: Path, layers: Sequence[Weights]) -> None:
    """The set in the only sub-folder."""
    (folder / "inner").mkdir()
    circuit_tracer(folder / "inner", layers)


def cross_layer(folder: Path, layers: Sequence[Weights], **more: Any) -> None:
    """circuit-tracer's `W_enc_{l}` and `W_dec_{l}`."""
    for n, layer in enumerate(layers):
        stored = plain(layer)
        if layer.threshold is not None:
            stored["threshold"] = stored.pop("activation_function.threshold")
        del stored["W_dec"]
        save_file({f"{key}_{n}": tensor for key, tensor in stored.items()}, folder / f"W_enc_{n}.safetensors")
        save_file({f"W_dec_{n}": layer.decoder.contiguous()}, folder / f"W_dec_{n}.safetensors")
    write_config(folder, "cross_layer_transcoder", **more)


def _padded(layers: Sequence[Weights], n: int) -> Tensor:
    """A decoder over all layers; what lies below its own must not matter."""
    decoder = layers[n].decoder
    return torch.cat([torch.full((len(decoder), n, decoder.shape[2]), 99.0), decoder], dim=1)


def scope_2_cross_layer(folder: Path, layers: Sequence[Weights]) -> None:
    """`params_layer_{l}.safetensors` with decoders over all layers."""
    for n, layer in enumerate(layers):
        save_file(_lower(layer, _padded(layers, n)), folder / f"params_layer_{n}.safetensors")
    hooks = {"hf_hook_point_in": "model.layers.{layer}.mlp.input", "hf_hook_point_out": "model.layers.*.mlp.output"}
    hooks["hf_hook_point_out"] = "model.layers.*.post_feedforward_layernorm.output"
    (folder / "config.json").write_text(json.dumps(hooks | {"model_name": "tiny"}))


def scope_2_cross_layer_listed(folder: Path, layers: Sequence[Weights]) -> None:
    """The same files, listed by circuit-tracer's configuration."""
    for n, layer in enumerate(layers):
        save_file(_lower(layer, _padded(layers, n)), folder / f"part_{n}.safetensors")
    write_config(folder, "cross_layer_transcoder", transcoders=[f"part_{n}.safetensors" for n in range(len(layers))])


def scope_1(folder: Path, layers: Sequence[Weights], save: Callable[..., None] = np.savez) -> None:
    """`layer_{l}/width_*/average_l0_*/params.npz`."""
    for n, layer in enumerate(layers):
        inner = folder / f"layer_{n}" / "width_16k" / f"average_l0_{40 + n}"
        inner.mkdir(parents=True)
        save(inner / "params.npz", **{key: tensor.numpy() for key, tensor in _scope(layer).items()})


def scope_1_compressed(folder: Path, layers: Sequence[Weights]) -> None:
    """The same, compressed."""
    scope_1(folder, layers, np.savez_compressed)


def scope_1_by_column(folder: Path, layers: Sequence[Weights]) -> None:
    """The same, arrays laid out column by column."""

    def save(path: Path, **arrays: Any) -> None:
        by_column: dict[str, Any] = {key: np.asfortranarray(array) for key, array in arrays.items()}
        np.savez(path, **by_column)

    scope_1(folder, layers, save)


def scope_2(folder: Path, layers: Sequence[Weights]) -> None:
    """`layer_{l}_width_*_l0_*/params.safetensors` with `config.json`."""
    for n, layer in enumerate(layers):
        inner = folder / f"layer_{n}_width_16k_l0_small"
        inner.mkdir()
        save_file(_lower(layer, layer.decoder[:, 0]), inner / "params.safetensors")
        config = {
            "hf_hook_point_in": f"model.layers.{n}.pre_feedforward_layernorm.output",
            "hf_hook_point_out": f"model.layers.{n}.post_feedforward_layernorm.output",
            "model_name": "tiny",
            "architecture": "jump_relu",
        }
        (inner / "config.json").write_text(json.dumps(config))


def sparsify(folder: Path, layers: Sequence[Weights], *, k: int = 3, **more: Any) -> None:
    """`layers.{l}.mlp/` with `cfg.json` and `sae.safetensors`."""
    for n, layer in enumerate(layers):
        inner = folder / f"layers.{n}.mlp"
        inner.mkdir()
        tensors = plain(layer)
        tensors |= {"encoder.weight": tensors.pop("W_enc"), "encoder.bias": tensors.pop("b_enc")}
        save_file(tensors, inner / "sae.safetensors")
        config = {"activation": "topk", "k": k, "d_in": layer.encoder.shape[1], "expansion_factor": 32}
        config |= {"transcode": True, "skip_connection": layer.skip is not None, **more}
        (inner / "cfg.json").write_text(json.dumps(config))


def sae_lens(folder: Path, layers: Sequence[Weights]) -> None:
    """`cfg.json` with `sae_weights.safetensors`; the folders' names say nothing of the layer."""
    for n, layer in enumerate(layers):
        inner = folder / f"run-{'zyx'[n]}"
        inner.mkdir()
        save_file(_scope(layer), inner / "sae_weights.safetensors")
        kinds = {(False, False): "transcoder", (False, True): "skip_transcoder", (True, False): "jumprelu_transcoder"}
        kinds[True, True] = "jumprelu_skip_transcoder"
        config = {
            "architecture": kinds[layer.threshold is not None, layer.skip is not None],
            "d_in": layer.encoder.shape[1],
            "d_sae": len(layer.encoder),
            "dtype": "float32",
            "normalize_activations": "none",
            "reshape_activations": "none",
            "apply_b_dec_to_input": False,
            "hook_name_out": f"blocks.{n}.hook_mlp_out",
            "metadata": {"hook_name": f"blocks.{n}.mlp.hook_in", "model_name": "tiny"},
        }
        (inner / "cfg.json").write_text(json.dumps(config))


def state_dicts(folder: Path, layers: Sequence[Weights]) -> None:
    """`layer_{l}.pt`: by turns features first, features last, and as linear modules inside a checkpoint."""
    for n, layer in enumerate(layers):
        tensors: dict[str, Any] = plain(layer)
        if n % 3 == 1:
            tensors["W_enc"] = layer.encoder.T.contiguous()
        elif n % 3 == 2:
            state = {"encoder.weight": tensors.pop("W_enc"), "encoder.bias": torch.nn.Parameter(tensors.pop("b_enc"))}
            state |= {"decoder.weight": tensors.pop("W_dec").T, "decoder.bias": tensors.pop("b_dec")}
            tensors = {"state_dict": state | tensors, "step": 12, "settings": {"lr": 1e-3, "layers": [n], "name": None}}
        torch.save(tensors, folder / f"layer_{n}.pt")
    write_config(folder, "transcoder_set")
