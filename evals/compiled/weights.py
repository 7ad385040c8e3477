"""Weights of a compiled model: GPT-2 with ReLU, and transcoders that are exact.

Channels become orthogonal directions in a basis that is drawn at random. All are orthogonal to the vector of ones, so
that LayerNorm's centring changes nothing. In two coordinates that no channel uses every position carries a large
constant, as trained models do, so that what LayerNorm divides by hardly depends on anything else (2 parts in 100,000),
and nothing is lost to rounding. Neurons are the features, so a transcoder made of them leaves no error; of a cross-layer
transcoder, a feature that writes to two layers is a neuron of each of them.

Source: Sun et al. 2024, "Massive activations in large language models" (constants in a few coordinates).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracescribe.evals.compiled.features import JUNK, Feature, junk_channel
from tracescribe.evals.compiled.network import (
    SPECIAL,
    Head,
    PlantedNetwork,
    out_channel,
    position_channel,
    token_channel,
)
from tracescribe.tracer.errors import WorkError

Floats = NDArray[np.float64]
Arrays = dict[str, NDArray[np.float32]]
D_MODEL, N_HEADS = 128, 4
D_HEAD = D_MODEL // N_HEADS
CONSTANT = 4000.0
"""Length of the constant that every position carries: the squares of all else are a few hundred at most."""
EPSILON = 1e-5
LEAK = 0.005
"""Logits that a unit of junk adds to a word, on average: what a distractor does to the answer is never exactly nothing."""


@dataclass(frozen=True, eq=False)
class Compiled:
    """A program's weights.

    Attributes:
        config: of the Hugging Face model.
        model: its tensors by name.
        encoders: per layer `[n_features, d_model]`.
        encoder_biases: per layer `[n_features]`.
        decoders: per layer `[n_features, n_layers - layer, d_model]`; `[:, k]` writes to layer + k.
        features: per layer, in the order of the rows: what each is. Never written to a file.
        words: by token id.
    """

    config: dict[str, object]
    model: Arrays
    encoders: tuple[NDArray[np.float32], ...]
    encoder_biases: tuple[NDArray[np.float32], ...]
    decoders: tuple[NDArray[np.float32], ...]
    features: tuple[tuple[Feature, ...], ...]
    words: tuple[str, ...]


class _Basis:
    """Directions of the channels."""

    def __init__(self, network: PlantedNetwork, rng: np.random.Generator) -> None:
        names = (*network.channels, *(junk_channel(number) for number in range(JUNK)))
        if len(names) > D_MODEL - 3:
            raise WorkError(f"{len(names)} channels do not fit into a stream of {D_MODEL}; make the program smaller")
        drawn = rng.normal(size=(D_MODEL - 2, len(names)))
        drawn -= drawn.mean(0)  # orthogonal to the ones, and so are all combinations
        order = rng.permutation(D_MODEL)
        self._directions: Floats = np.zeros((len(names), D_MODEL))
        self._directions[:, order[2:]] = np.linalg.qr(drawn)[0].T
        self._index = {name: number for number, name in enumerate(names)}
        self.constant: Floats = np.zeros(D_MODEL)
        self.constant[order[:2]] = np.array([1.0, -1.0]) * CONSTANT / np.sqrt(2.0)

    def of(self, weights: Mapping[str, float]) -> Floats:
        """A combination of channels, `[d_model]`."""
        vector = np.zeros(D_MODEL)
        for name, weight in weights.items():
            vector += weight * self._directions[self._index[name]]
        return vector

    def rows(self, vectors: Sequence[Mapping[str, float]]) -> Floats:
        """Several of them, `[n, d_model]`."""
        return np.stack([self.of(weights) for weights in vectors]) if vectors else np.zeros((0, D_MODEL))


def compile_weights(network: PlantedNetwork, features: Sequence[Feature], rng: np.random.Generator) -> Compiled:
    """Weights that compute what a network and some distractors compute.

    Args:
        network: the algorithm.
        features: all of them, planted and not.
        rng: draws the basis, the order of neurons and the leak.

    Raises:
        WorkError: more channels, matches or copies than the model has room for.
    """
    basis = _Basis(network, rng)
    words = (*SPECIAL, *network.words)
    by_layer = [[one for one in features if one.layer == layer] for layer in range(network.n_layers)]
    by_layer = [[ones[i] for i in rng.permutation(len(ones))] for ones in by_layer]
    neurons = [[one for ones in by_layer for one in ones if layer in one.writes] for layer in range(network.n_layers)]
    width = max(map(len, neurons))
    model: dict[str, Floats] = {}
    model["transformer.wte.weight"] = np.stack([_embedding(basis, network, word) for word in words])
    model["transformer.wpe.weight"] = (
        basis.rows([{position_channel(p): 1.0} for p in range(network.max_positions)]) + basis.constant
    )
    for layer in range(network.n_layers):
        prefix = f"transformer.h.{layer}."
        _norm(model, prefix + "ln_1")
        _norm(model, prefix + "ln_2")
        heads = [head for head in network.heads if head.layer == layer]
        _attention(model, prefix + "attn.", heads, basis)
        encoder, bias = _encoder(neurons[layer], basis)
        decoder = basis.rows([one.writes[layer] for one in neurons[layer]])
        missing = width - len(neurons[layer])
        model[prefix + "mlp.c_fc.weight"] = np.pad(encoder, ((0, missing), (0, 0))).T
        model[prefix + "mlp.c_fc.bias"] = np.pad(bias, (0, missing), constant_values=-1.0)
        model[prefix + "mlp.c_proj.weight"] = np.pad(decoder, ((0, missing), (0, 0)))
        model[prefix + "mlp.c_proj.bias"] = np.zeros(D_MODEL)
    _norm(model, "transformer.ln_f")
    leak = rng.normal(size=(len(words), JUNK)) * LEAK
    model["lm_head.weight"] = np.stack(
        [_unembedding(basis, network, word, row) for word, row in zip(words, leak, strict=True)]
    )
    pairs = [_encoder(ones, basis) for ones in by_layer]
    return Compiled(
        config=_config(network, len(words), width),
        model={name: np.ascontiguousarray(array, dtype=np.float32) for name, array in model.items()},
        encoders=tuple(encoder.astype(np.float32) for encoder, _ in pairs),
        encoder_biases=tuple(bias.astype(np.float32) for _, bias in pairs),
        decoders=tuple(
            np.stack(
                [basis.rows([one.writes.get(to, {}) for one in ones]) for to in range(layer, network.n_layers)], 1
            ).astype(np.float32)
            for layer, ones in enumerate(by_layer)
        ),
        features=tuple(tuple(ones) for ones in by_layer),
        words=words,
    )


def _config(network: PlantedNetwork, vocabulary: int, width: int) -> dict[str, object]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "relu",
        "n_embd": D_MODEL,
        "n_head": N_HEADS,
        "n_inner": width,
        "n_layer": network.n_layers,
        "n_positions": network.max_positions,
        "vocab_size": vocabulary,
        "layer_norm_epsilon": EPSILON,
        "tie_word_embeddings": False,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 3,
        "pad_token_id": 0,
        "dtype": "float32",
    }


def _embedding(basis: _Basis, network: PlantedNetwork, word: str) -> Floats:
    name = token_channel(word)
    return basis.of({name: 1.0} if name in network.index else {})


def _unembedding(basis: _Basis, network: PlantedNetwork, word: str, leak: Floats) -> Floats:
    weights = {junk_channel(number): float(value) for number, value in enumerate(leak)}
    return basis.of(weights | ({out_channel(word): 1.0} if word in network.answers else {}))


def _norm(model: dict[str, Floats], name: str) -> None:
    model[f"{name}.weight"] = np.full(D_MODEL, np.sqrt(CONSTANT**2 / D_MODEL + EPSILON))
    model[f"{name}.bias"] = np.zeros(D_MODEL)


def _encoder(features: Sequence[Feature], basis: _Basis) -> tuple[Floats, Floats]:
    rows = basis.rows([one.reads for one in features])
    return rows, np.array([one.bias for one in features])


def _attention(model: dict[str, Floats], prefix: str, heads: Sequence[Head], basis: _Basis) -> None:
    if len(heads) > N_HEADS or any(max(len(head.matches), len(head.moves)) > D_HEAD for head in heads):
        raise WorkError(f"{prefix} needs more than {N_HEADS} heads of {D_HEAD}; make the program smaller")
    rows, biases, output = np.zeros((3, D_MODEL, D_MODEL)), np.zeros((3, D_MODEL)), np.zeros((D_MODEL, D_MODEL))
    for number, head in enumerate(heads):
        first = number * D_HEAD
        for place, match in enumerate(head.matches, start=first):
            scale = float(np.sqrt(match.score * np.sqrt(D_HEAD)))
            if match.query:
                rows[0, place] = scale * basis.of({match.query: 1.0})
            else:
                biases[0, place] = scale
            rows[1, place] = scale * basis.of({match.key: 1.0})
        for place, (source, destination) in enumerate(head.moves.items(), start=first):
            rows[2, place] = basis.of({source: 1.0})
            output[place] = basis.of({destination: 1.0})
    model[prefix + "c_attn.weight"] = np.concatenate(list(rows)).T
    model[prefix + "c_attn.bias"] = np.concatenate(list(biases))
    model[prefix + "c_proj.weight"] = output
    model[prefix + "c_proj.bias"] = np.zeros(D_MODEL)
