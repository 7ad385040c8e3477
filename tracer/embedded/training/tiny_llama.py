"""A plain forward pass of the embedded model in which MLPs can be replaced and attention can be frozen.

`transformers` runs the same weights for everybody else; this one is for training the transcoder and for the card's
figures, where thousands of small runs need their insides. A test holds the two to the same logits.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from tracescribe.tracer.errors import UnknownModelError

ReplaceMlp = Callable[[int, Tensor, Tensor], Tensor]
"""(layer, MLP input, the MLP's own output) -> the output to use; all [batch, position, width]."""


@dataclass(frozen=True)
class Run:
    """What one forward pass computed.

    Attributes:
        logits: [batch, position, vocabulary].
        mlp_inputs: per layer [batch, position, width], gain of the norm included (`mlp.hook_in`).
        mlp_outputs: per layer [batch, position, width], as used, that is, after replacement (`hook_mlp_out`).
        patterns: per layer [batch, head, query, key], after the softmax.
        norm_scales: reciprocal denominators of all norms, in order of use, [batch, position, 1].
    """

    logits: Tensor
    mlp_inputs: tuple[Tensor, ...]
    mlp_outputs: tuple[Tensor, ...]
    patterns: tuple[Tensor, ...]
    norm_scales: tuple[Tensor, ...]


def _rotate_half(x: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return torch.cat([-x[..., half:], x[..., :half]], -1)


class TinyLlama:
    """Weights of a small Llama-configured model in float32, and its forward pass."""

    def __init__(self, config: dict[str, Any], weights: dict[str, Tensor]) -> None:
        self.n_layers = cast(int, config["num_hidden_layers"])
        self.width = cast(int, config["hidden_size"])
        self.n_heads = cast(int, config["num_attention_heads"])
        self.n_words = cast(int, config["vocab_size"])
        self._epsilon = cast(float, config["rms_norm_eps"])
        self._weights = {name: weight.detach().float() for name, weight in weights.items()}
        head_width = self.width // self.n_heads
        frequencies = 1.0 / (10000.0 ** (torch.arange(0, head_width, 2).float() / head_width))
        angles = torch.outer(torch.arange(config["max_position_embeddings"]).float(), frequencies)
        angles = torch.cat([angles, angles], -1)
        self._cos, self._sin = angles.cos(), angles.sin()

    @classmethod
    def load(cls, folder: Path) -> TinyLlama:
        """Read a folder that `transformers` saved.

        Raises:
            UnknownModelError: the folder holds no such model.
        """
        try:
            config = json.loads((folder / "config.json").read_text())
            return cls(config, load_file(folder / "model.safetensors"))
        except (OSError, ValueError, KeyError) as error:
            raise UnknownModelError(f"no embedded model in {folder}: {error}; build it or install again") from error

    def _layer(self, layer: int, name: str) -> Tensor:
        return self._weights[f"model.layers.{layer}.{name}.weight"]

    def _norm(self, x: Tensor, gain: Tensor, frozen: Tensor | None) -> tuple[Tensor, Tensor]:
        scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self._epsilon) if frozen is None else frozen
        return x * scale * gain, scale

    def mlp(self, layer: int, x: Tensor) -> Tensor:
        """Output of one MLP for inputs [..., width]."""
        gate: Tensor = functional.silu(x @ self._layer(layer, "mlp.gate_proj").T)
        output: Tensor = (gate * (x @ self._layer(layer, "mlp.up_proj").T)) @ self._layer(layer, "mlp.down_proj").T
        return output

    def _pattern(self, layer: int, x: Tensor) -> Tensor:
        length = x.shape[1]
        mask = torch.full((length, length), float("-inf")).triu(1)
        query, key = (self._heads(x, layer, f"self_attn.{name}_proj") for name in "qk")
        cos, sin = self._cos[:length], self._sin[:length]
        query, key = query * cos + _rotate_half(query) * sin, key * cos + _rotate_half(key) * sin
        scores: Tensor = query @ key.transpose(-1, -2) / (self.width // self.n_heads) ** 0.5
        return (scores + mask).softmax(-1)

    def _heads(self, x: Tensor, layer: int, name: str) -> Tensor:
        projected = x @ self._layer(layer, name).T
        return projected.view(*x.shape[:2], self.n_heads, self.width // self.n_heads).transpose(1, 2)

    def run(self, ids: Tensor, replace: ReplaceMlp | None = None, frozen: Run | None = None) -> Run:
        """One forward pass.

        Args:
            ids: token ids [batch, position].
            replace: decides each MLP's output; none leaves the model as it is.
            frozen: an earlier run of the same ids whose attention patterns and norm denominators are used again.
        """
        stream = self._weights["model.embed_tokens.weight"][ids]
        inputs, outputs, patterns, scales = list[Tensor](), list[Tensor](), list[Tensor](), list[Tensor]()

        def scale_of(index: int) -> Tensor | None:
            return None if frozen is None else frozen.norm_scales[index]

        for layer in range(self.n_layers):
            x, scale = self._norm(stream, self._layer(layer, "input_layernorm"), scale_of(2 * layer))
            scales.append(scale)
            patterns.append(self._pattern(layer, x) if frozen is None else frozen.patterns[layer])
            mixed = (patterns[-1] @ self._heads(x, layer, "self_attn.v_proj")).transpose(1, 2).reshape(stream.shape)
            stream = stream + mixed @ self._layer(layer, "self_attn.o_proj").T
            x, scale = self._norm(stream, self._layer(layer, "post_attention_layernorm"), scale_of(2 * layer + 1))
            scales.append(scale)
            own = self.mlp(layer, x)
            inputs.append(x)
            outputs.append(own if replace is None else replace(layer, x, own))
            stream = stream + outputs[-1]
        x, scale = self._norm(stream, self._weights["model.norm.weight"], scale_of(2 * self.n_layers))
        logits = x @ self._weights["lm_head.weight"].T
        return Run(logits, tuple(inputs), tuple(outputs), tuple(patterns), (*scales, scale))
