"""Direct and total effects in a compiled model, measured on its weights alone: the oracle's way to edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tracescribe.evals.compiled.running import CompiledModel, Floats, Row
from tracescribe.tracer.graph import FeatureNode

TARGET = "logit"
"""The answer's logit as a destination."""
BIASES = "biases"
"""Everything that is no word and no feature, as a source: positions and all biases of encoders."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Effects in one prompt: read-outs of destinations with sources changed one at a time.

    Attributes:
        groups: features of every named source and destination.
        tokens: position of every named input word.
        weights: what a unit of each member's pre-activation counts in its group's read-out.
        target: token id of the answer.
    """

    model: CompiledModel
    words: tuple[str, ...]
    clean: Row
    groups: Mapping[str, tuple[FeatureNode, ...]]
    tokens: Mapping[str, int]
    weights: Mapping[FeatureNode, float]
    destinations: tuple[str, ...]
    target: int

    def read(self, preactivations: Sequence[Floats], logits: Floats) -> Floats:
        """Read-outs of all destinations, `[n_destinations]`."""
        values = []
        for name in self.destinations:
            if name == TARGET:
                values.append(float(logits[-1, self.target] - logits[-1].mean()))
            else:
                values.append(
                    sum(
                        self.weights[node] * float(preactivations[node.layer][node.position, node.feature])
                        for node in self.groups[name]
                    )
                )
        return np.array(values)

    @property
    def clean_values(self) -> Floats:
        """Read-outs of the clean run."""
        return self.read(self.clean.preactivations, self.clean.logits)

    def __call__(self, sources: Sequence[str], *, held: bool) -> Floats:
        """See `evals.oracle.direct_effects.Responses`. An input word's baseline is no word, a feature's is silence."""
        rows = [self._held(name) if held else self._live(name) for name in sources]
        return np.stack(rows) if rows else np.zeros((0, len(self.destinations)))

    def _live(self, name: str) -> Floats:
        if name in self.groups:
            row = self.model.run(self.words, dict.fromkeys(self.groups[name], 0.0))
        else:
            row = self.model.run(self._blanked(self.tokens[name]))
        return self.read(row.preactivations, row.logits)

    def _blanked(self, position: int) -> tuple[str, ...]:
        return tuple("<pad>" if at == position else word for at, word in enumerate(self.words))

    def _held(self, name: str) -> Floats:
        if name == BIASES:
            return self._without_biases()
        written = np.zeros((len(self.model.layers), len(self.words), self.model.embedding.shape[1]))
        start = np.zeros_like(written[0])
        for node in self.groups.get(name, ()):
            decoder = self.model.layers[node.layer].decoder[node.feature]
            value = self.clean.activations[node.layer][node.position, node.feature]
            for offset, row in enumerate(decoder):
                written[node.layer + offset, node.position] -= value * row
        if name in self.tokens:
            position = self.tokens[name]
            start[position] -= self.model.embedding[self.model.encode(self.words)[position]]
        changes, logits = self.follow(start, written)
        return self.read(
            [p + c for p, c in zip(self.clean.preactivations, changes, strict=True)], self.clean.logits + logits
        )

    def follow(self, start: Floats, written: Floats) -> tuple[list[Floats], Floats]:
        """Changes of pre-activations by layer, and of logits, when the stream is changed and all else is held.

        Args:
            start: change of the first stream, `[..., n_pos, d_model]`.
            written: change of what each MLP writes, `[n_layers, ..., n_pos, d_model]`.
        """
        change, found = start, []
        for number in range(len(self.model.layers)):
            change = change + self.model.carried(self.clean, number, change)
            found.append(self.model.read_change(self.clean, number, change))
            change = change + written[number]
        return found, self.model.logit_change(self.clean, change)

    def _without_biases(self) -> Floats:
        """Read-outs when the position vectors and the encoders' biases are gone and all else is held."""
        start = np.zeros((len(self.words), self.model.embedding.shape[1]))
        start -= self.model.positions[: len(self.words)]
        changes, logits = self.follow(start, np.zeros((len(self.model.layers), *start.shape)))
        moved = [p + c for p, c in zip(self.clean.preactivations, changes, strict=True)]
        before = [p - layer.encoder_bias for p, layer in zip(moved, self.model.layers, strict=True)]
        return self.read(before, self.clean.logits + logits)
