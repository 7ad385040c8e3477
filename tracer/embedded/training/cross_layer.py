"""The cross-layer transcoder: encoders, JumpReLU thresholds and decoders of every layer, and its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn import functional

from tracescribe.tracer.embedded.training.tiny_llama import Run, TinyLlama
from tracescribe.tracer.errors import TranscoderFormatError
from tracescribe.tracer.provenance import write_bytes_atomic, write_text_atomic

_CONFIG = """model_name: embedded
model_kind: cross_layer_transcoder
feature_input_hook: mlp.hook_in
feature_output_hook: hook_mlp_out
"""


@dataclass(frozen=True)
class CrossLayerTranscoder:
    """A transcoder whose features of layer s write into every layer from s on.

    Attributes:
        encoders: per layer [features, width].
        encoder_biases: per layer [features].
        thresholds: per layer [features]; a feature is active where its pre-activation is strictly above.
        decoders: per layer s [features, layers - s, width]; `[:, k]` writes to layer s + k.
        decoder_biases: per layer written to [width].
    """

    encoders: tuple[Tensor, ...]
    encoder_biases: tuple[Tensor, ...]
    thresholds: tuple[Tensor, ...]
    decoders: tuple[Tensor, ...]
    decoder_biases: tuple[Tensor, ...]

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return len(self.encoders)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of features per layer."""
        return tuple(len(encoder) for encoder in self.encoders)

    def activations(self, layer: int, x: Tensor) -> Tensor:
        """Feature activations [..., features] of MLP inputs [..., width]."""
        pre = functional.linear(x, self.encoders[layer], self.encoder_biases[layer])
        return pre * (pre > self.thresholds[layer])

    def written(self, active: Mapping[int, Tensor], layer: int) -> Tensor:
        """What features of the layers up to `layer` write into its MLP output, bias not included [..., width]."""
        parts = [active[source] @ self.decoders[source][:, layer - source] for source in active if source <= layer]
        return torch.stack(parts).sum(0)

    def save(self, folder: Path) -> None:
        """Write circuit-tracer's folder format: matrices in bfloat16, biases and thresholds in float32.

        Raises:
            OutputError: the folder cannot be written.
        """
        for layer in range(self.n_layers):
            encoder = {
                f"W_enc_{layer}": self.encoders[layer].bfloat16().contiguous(),
                f"b_enc_{layer}": self.encoder_biases[layer].float().contiguous(),
                f"b_dec_{layer}": self.decoder_biases[layer].float().contiguous(),
                f"threshold_{layer}": self.thresholds[layer].float().contiguous(),
            }
            write_bytes_atomic(folder / f"W_enc_{layer}.safetensors", save(encoder))
            decoder = {f"W_dec_{layer}": self.decoders[layer].bfloat16().contiguous()}
            write_bytes_atomic(folder / f"W_dec_{layer}.safetensors", save(decoder))
        write_text_atomic(folder / "config.yaml", _CONFIG)

    @classmethod
    def load(cls, folder: Path, n_layers: int) -> CrossLayerTranscoder:
        """Read the folder format, in float32.

        Raises:
            TranscoderFormatError: a file or tensor is missing or damaged.
        """
        tensors: dict[str, Tensor] = {}
        try:
            for layer in range(n_layers):
                tensors |= load_file(folder / f"W_enc_{layer}.safetensors")
                tensors |= load_file(folder / f"W_dec_{layer}.safetensors")
            groups = [
                tuple(tensors[f"{name}_{layer}"].float() for layer in range(n_layers))
                for name in ("W_enc", "b_enc", "threshold", "W_dec", "b_dec")
            ]
        except (OSError, KeyError, SafetensorError) as error:
            raise TranscoderFormatError(f"cannot read the transcoder in {folder}: {error}; build it again") from error
        return cls(*groups)


def replacement_run(model: TinyLlama, transcoder: CrossLayerTranscoder, ids: Tensor, frozen: Run | None = None) -> Run:
    """Run with every MLP replaced by the transcoder, except at position 0, which keeps its own MLPs.

    Args:
        ids: token ids [batch, position].
        frozen: the clean run of the same ids, to keep its attention and norm denominators; none leaves them live.
    """
    active: dict[int, Tensor] = {}

    def replace(layer: int, x: Tensor, own: Tensor) -> Tensor:
        active[layer] = transcoder.activations(layer, x)
        active[layer][:, 0] = 0.0
        output = transcoder.written(active, layer) + transcoder.decoder_biases[layer]
        output[:, 0] = own[:, 0]
        return output

    return model.run(ids, replace, frozen)


def stack_active(transcoder: CrossLayerTranscoder, inputs: Sequence[Tensor]) -> Tensor:
    """Activations of all layers side by side [..., all features], layer by layer."""
    return torch.cat([transcoder.activations(layer, x) for layer, x in enumerate(inputs)], -1)
