"""Runs a compiled model from its files, and edits its features: the oracle's own forward pass, in float64.

It shares nothing with the tracer that agents use, nor with the network that the weights were made from: what is found
here is found in the weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracescribe.tracer.errors import GoldFormatError
from tracescribe.tracer.graph import FeatureNode

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Layer:
    """One block and its part of the transcoder: `[in, out]` matrices, biases, and decoders `[n_features, n_after, d]`."""

    attention_in: Floats
    attention_bias: Floats
    attention_out: Floats
    first: Floats
    first_bias: Floats
    second: Floats
    gains: tuple[Floats, Floats]
    encoder: Floats
    encoder_bias: Floats
    decoder: Floats


@dataclass(frozen=True, eq=False)
class Row:
    """One run of a prompt. All `[n_pos, ...]`.

    Attributes:
        preactivations, activations: of the features, by layer; activations as they were set, if they were.
        patterns: by layer, `[n_heads, n_pos, n_pos]`.
        heads: queries, keys and values by layer, `[3, n_heads, n_pos, d_head]`.
        scales: what the two norms of each layer and the final norm divided by.
        mlp_outputs: of the MLP itself, by layer, before edits.
        logits: after every word, `[n_pos, vocabulary]`.
    """

    preactivations: tuple[Floats, ...]
    activations: tuple[Floats, ...]
    patterns: tuple[Floats, ...]
    heads: tuple[Floats, ...]
    scales: tuple[Floats, ...]
    mlp_outputs: tuple[Floats, ...]
    logits: Floats

    @property
    def probabilities(self) -> Floats:
        """Of every next word after the prompt."""
        shifted = np.exp(self.logits[-1] - self.logits[-1].max())
        return np.asarray(shifted / shifted.sum())


@dataclass(frozen=True, eq=False)
class CompiledModel:
    """A compiled model and its transcoder."""

    words: tuple[str, ...]
    embedding: Floats
    positions: Floats
    layers: tuple[Layer, ...]
    final_gain: Floats
    unembedding: Floats
    n_heads: int
    epsilon: float

    @classmethod
    def load(cls, model: Path, transcoders: Path) -> CompiledModel:
        """Read both folders.

        Raises:
            GoldFormatError: a file is missing or is not what a compiled model's is.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            config = json.loads((model / "config.json").read_text(encoding="utf-8"))
            vocabulary = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
            tensors = {name: _wide(array) for name, array in load_file(model / "model.safetensors").items()}
            coders = [_transcoder(transcoders, n) for n in range(config["n_layer"])]
            return cls(
                words=tuple(sorted(vocabulary, key=vocabulary.__getitem__)),
                embedding=tensors["transformer.wte.weight"],
                positions=tensors["transformer.wpe.weight"],
                layers=tuple(_layer(tensors, n, *coder) for n, coder in enumerate(coders)),
                final_gain=tensors["transformer.ln_f.weight"],
                unembedding=tensors["lm_head.weight"],
                n_heads=config["n_head"],
                epsilon=config["layer_norm_epsilon"],
            )
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            detail = f"no {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
            raise GoldFormatError(
                f"cannot read the compiled model {model}: {detail:.200}; build it again with "
                "`tracescribe gold build --compiled --force`"
            ) from error

    def encode(self, words: Sequence[str]) -> list[int]:
        """Token ids of words.

        Raises:
            GoldFormatError: a word outside the vocabulary.
        """
        try:
            return [self.words.index(word) for word in words]
        except ValueError as error:
            raise GoldFormatError(f"{error}; the prompt is of another program") from error

    def run(self, words: Sequence[str], edits: Mapping[FeatureNode, float] | None = None) -> Row:
        """Run a prompt, everything live; edited features are set to a value, and all that follows from it follows.

        Args:
            words: `<bos>` first; features there are left out, as the tracer leaves them out.
        """
        x = self.embedding[self.encode(words)] + self.positions[: len(words)]
        later: list[Floats] = [np.zeros_like(x) for _ in self.layers]
        kept: dict[str, list[Floats]] = {name: [] for name in ("pre", "act", "pattern", "heads", "scale", "mlp")}
        for number, layer in enumerate(self.layers):
            normed, scale = self._norm(x, layer.gains[0])
            kept["scale"].append(scale)
            moved, pattern, heads = self._attend(layer, normed)
            kept["pattern"].append(pattern)
            kept["heads"].append(heads)
            x = x + moved
            normed, scale = self._norm(x, layer.gains[1])
            kept["scale"].append(scale)
            own = np.maximum(normed @ layer.first + layer.first_bias, 0.0) @ layer.second
            before = normed @ layer.encoder.T + layer.encoder_bias
            active = np.maximum(before, 0.0)
            active[0] = 0.0
            changed = active.copy()
            for node, activation in (edits or {}).items():
                if node.layer == number:
                    changed[node.position, node.feature] = activation
            difference = changed - active
            if difference.any():
                for offset in range(layer.decoder.shape[1]):
                    later[number + offset] += difference @ layer.decoder[:, offset]
            x = x + own + later[number]
            for name, value in (("pre", before), ("act", changed), ("mlp", own)):
                kept[name].append(value)
        normed, scale = self._norm(x, self.final_gain)
        return Row(
            preactivations=tuple(kept["pre"]),
            activations=tuple(kept["act"]),
            patterns=tuple(kept["pattern"]),
            heads=tuple(kept["heads"]),
            scales=(*kept["scale"], scale),
            mlp_outputs=tuple(kept["mlp"]),
            logits=normed @ self.unembedding.T,
        )

    def _norm(self, x: Floats, gain: Floats) -> tuple[Floats, Floats]:
        centred = x - x.mean(-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(-1, keepdims=True) + self.epsilon)
        return centred / scale * gain, scale

    def _attend(self, layer: Layer, normed: Floats) -> tuple[Floats, Floats, Floats]:
        heads = self.heads(normed @ layer.attention_in + layer.attention_bias)
        query, key, value = heads
        scores = query @ key.swapaxes(1, 2) / np.sqrt(query.shape[-1])
        scores[:, *np.triu_indices(len(normed), 1)] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        pattern = weights / weights.sum(-1, keepdims=True)
        moved = (pattern @ value).swapaxes(0, 1).reshape(normed.shape) @ layer.attention_out
        return moved, pattern, heads

    def heads(self, fused: Floats) -> Floats:
        """What an attention's first matrix gives, `[..., n_pos, 3 * d]`, as `[3, ..., n_heads, n_pos, d_head]`."""
        parts = fused.reshape(*fused.shape[:-1], 3, self.n_heads, -1)
        return np.asarray(np.moveaxis(parts, -3, 0).swapaxes(-3, -2))

    def carried(self, clean: Row, number: int, change: Floats) -> Floats:
        """What attention adds to a change of the stream before a layer, patterns and scales held, `[..., n_pos, d]`."""
        value = self.heads_change(clean, number, change)[2]
        moved = np.swapaxes(clean.patterns[number] @ value, -2, -3).reshape(change.shape)
        return np.asarray(moved @ self.layers[number].attention_out)

    def heads_change(self, clean: Row, number: int, change: Floats) -> Floats:
        """Change of a layer's queries, keys and values, `[3, ..., n_heads, n_pos, d_head]`, scale held."""
        layer = self.layers[number]
        normed = (change - change.mean(-1, keepdims=True)) / clean.scales[2 * number] * layer.gains[0]
        return self.heads(normed @ layer.attention_in)

    def read_change(self, clean: Row, number: int, change: Floats) -> Floats:
        """Change of a layer's preactivations for a change of the stream after its attention, scale held."""
        layer = self.layers[number]
        normed = (change - change.mean(-1, keepdims=True)) / clean.scales[2 * number + 1] * layer.gains[1]
        return np.asarray(normed @ layer.encoder.T)

    def logit_change(self, clean: Row, change: Floats) -> Floats:
        """Change of the logits after every word for a change of the final stream, scale held."""
        normed = (change - change.mean(-1, keepdims=True)) / clean.scales[-1] * self.final_gain
        return np.asarray(normed @ self.unembedding.T)


def _wide(array: NDArray[np.generic]) -> Floats:
    return array.astype(np.float64)


def _transcoder(folder: Path, number: int) -> tuple[Floats, Floats, Floats]:
    from safetensors.numpy import load_file

    plain = folder / f"layer_{number}.safetensors"
    if plain.is_file():
        arrays = load_file(plain)
        return _wide(arrays["W_enc"]), _wide(arrays["b_enc"]), _wide(arrays["W_dec"])[:, None]
    arrays = load_file(folder / f"W_enc_{number}.safetensors") | load_file(folder / f"W_dec_{number}.safetensors")
    names = (f"W_enc_{number}", f"b_enc_{number}", f"W_dec_{number}")
    encoder, bias, decoder = (_wide(arrays[name]) for name in names)
    return encoder, bias, decoder


def _layer(tensors: Mapping[str, Floats], number: int, encoder: Floats, bias: Floats, decoder: Floats) -> Layer:
    prefix = f"transformer.h.{number}."
    return Layer(
        attention_in=tensors[prefix + "attn.c_attn.weight"],
        attention_bias=tensors[prefix + "attn.c_attn.bias"],
        attention_out=tensors[prefix + "attn.c_proj.weight"],
        first=tensors[prefix + "mlp.c_fc.weight"],
        first_bias=tensors[prefix + "mlp.c_fc.bias"],
        second=tensors[prefix + "mlp.c_proj.weight"],
        gains=(tensors[prefix + "ln_1.weight"], tensors[prefix + "ln_2.weight"]),
        encoder=encoder,
        encoder_bias=bias,
        decoder=decoder,
    )
