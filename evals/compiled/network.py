"""The planted network: an algorithm as concepts that read and write named channels of a residual stream.

This is the truth that a compiled model holds: a handful of units and attention heads without any weights matrix, run
here exactly. What `weights` makes of it (split units, distractors, a hidden basis, norms) must compute the same.

Source: Lindner et al. 2023, "Tracr: compiled transformers as a laboratory for interpretability"; Gupta et al. 2024,
"InterpBench: semi-synthetic transformers for evaluating mechanistic interpretability techniques".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tracescribe.evals.gold import GoldRole

Floats = NDArray[np.float64]
BOS = "<bos>"
MATCH, REST = 30.0, 15.0
"""Attention scores of a match and of the first token, where a head looks that finds no match: what is left to any other
token is e^-15 of a match's weight, less than float32 can add to 1."""


def token_channel(word: str) -> str:
    """The channel that says which word stands at a position."""
    return f"token:{word}"


def position_channel(position: int) -> str:
    """The channel that says which position this is."""
    return f"position:{position}"


def out_channel(word: str) -> str:
    """The channel that the unembedding reads as a word's logit."""
    return f"out:{word}"


@dataclass(frozen=True)
class Concept:
    """A unit of the algorithm: `max(0, reads . x + bias)`, written to its channels, at every position.

    Attributes:
        name: also the channel that it writes, if `writes` names none.
        variable, value: what it stands for.
        layer: its MLP.
        reads: channel -> weight.
        bias: below zero, so that it is silent where nothing is there to read.
        writes: channel -> weight per unit of activation.
        labels: names that count as right, the plainest first.
        spread: one thing wherever it stands in a prompt, and so one supernode; else one for each position.
        delay: layers that lie between its own MLP and a later one to which some of it is written; 0 for none.
    """

    name: str
    variable: str
    value: str
    layer: int
    reads: Mapping[str, float]
    bias: float
    labels: tuple[str, ...]
    role: GoldRole = "intermediate"
    writes: Mapping[str, float] = field(default_factory=dict)
    spread: bool = False
    delay: int = 0

    @property
    def written(self) -> Mapping[str, float]:
        """Channel -> weight, its own channel by default."""
        return self.writes or {self.name: 1.0}


@dataclass(frozen=True)
class Match:
    """A term of an attention score: `score * x[query] * x[key]`; an empty query channel stands for 1."""

    query: str
    key: str
    score: float = MATCH


@dataclass(frozen=True)
class Head:
    """An attention head: where it looks, and what it copies from there: source channel -> channel written."""

    layer: int
    matches: tuple[Match, ...]
    moves: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class PlantedRun:
    """One prompt, run.

    Attributes:
        activations: `[n_concepts, n_pos]`.
        preactivations: `[n_concepts, n_pos]`.
        patterns: of every head, `[n_pos, n_pos]`.
        streams: after attention of each layer, and the last one at the end, `[n_layers + 1, n_pos, n_channels]`.
    """

    activations: Floats
    preactivations: Floats
    patterns: tuple[Floats, ...]
    streams: Floats


@dataclass(frozen=True)
class PlantedNetwork:
    """Concepts and heads over a vocabulary.

    Attributes:
        words: without `<bos>`.
        max_positions: most tokens of a prompt, `<bos>` included.
        answers: words that can be answered.
    """

    words: tuple[str, ...]
    max_positions: int
    answers: tuple[str, ...]
    concepts: tuple[Concept, ...]
    heads: tuple[Head, ...]

    @cached_property
    def channels(self) -> tuple[str, ...]:
        """Every channel, in a fixed order."""
        names = [token_channel(word) for word in (BOS, *self.words)]
        names += [position_channel(position) for position in range(self.max_positions)]
        names += [out_channel(word) for word in self.answers]
        names += [channel for concept in self.concepts for channel in concept.written]
        names += [channel for head in self.heads for channel in head.moves.values()]
        return tuple(dict.fromkeys(names))

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Channel -> column."""
        return {name: number for number, name in enumerate(self.channels)}

    @cached_property
    def n_layers(self) -> int:
        """Layers that something lies in."""
        last = max(concept.layer + concept.delay for concept in self.concepts)
        return 1 + max(last, *(head.layer for head in self.heads))

    def vector(self, weights: Mapping[str, float]) -> Floats:
        """Weights of named channels as a vector over all, `[n_channels]`."""
        vector = np.zeros(len(self.channels))
        for name, weight in weights.items():
            vector[self.index[name]] = weight
        return vector

    def faults(self) -> list[str]:
        """What would make the network other than it says: unknown channels, and readers before a late write."""
        ready = {
            channel: max(c.layer + c.delay for c in self.concepts if channel in c.written)
            for concept in self.concepts
            for channel in concept.written
        }
        faults: list[str] = []
        readers = [(concept.layer, concept.name, tuple(concept.reads)) for concept in self.concepts]
        for head in self.heads:
            used = {m.key for m in head.matches} | {m.query for m in head.matches if m.query} | set(head.moves)
            readers.append((head.layer, f"a head of layer {head.layer}", tuple(sorted(used))))
        for layer, name, channels in readers:
            faults += [f"{name} reads {c}, which nothing writes" for c in channels if c not in self.index]
            faults += [f"{name} reads {c} too early" for c in channels if ready.get(c, -1) >= layer]
        return faults

    def run(self, words: Sequence[str], edits: Mapping[tuple[int, int], float] | None = None) -> PlantedRun:
        """Run a prompt.

        Args:
            words: `<bos>` first.
            edits: activation by (concept, position), set instead of what it would be.
        """
        edits = edits or {}
        n_pos = len(words)
        x = np.zeros((n_pos, len(self.channels)))
        for position, word in enumerate(words):
            x[position, self.index[token_channel(word)]] = 1.0
            x[position, self.index[position_channel(position)]] = 1.0
        activations, before = np.zeros((2, len(self.concepts), n_pos))
        patterns: dict[int, Floats] = {}
        streams: list[Floats] = []
        for layer in range(self.n_layers):
            moved = np.zeros_like(x)
            for number, head in enumerate(self.heads):
                if head.layer == layer:
                    patterns[number] = self.pattern(head, x)
                    for source, destination in head.moves.items():
                        moved[:, self.index[destination]] += patterns[number] @ x[:, self.index[source]]
            x = x + moved
            streams.append(x)
            for number, concept in enumerate(self.concepts):
                if concept.layer != layer:
                    continue
                before[number] = x @ self.vector(concept.reads) + concept.bias
                activations[number] = np.maximum(before[number], 0.0)
                for (edited, position), value in edits.items():
                    if edited == number:
                        activations[number, position] = value
            written = [(a, c) for a, c in zip(activations, self.concepts, strict=True) if c.layer == layer]
            for activation, concept in written:
                x = x + np.outer(activation, self.vector(concept.written))
        streams.append(x)
        ordered = tuple(patterns[number] for number in range(len(self.heads)))
        return PlantedRun(activations, before, ordered, np.stack(streams))

    def pattern(self, head: Head, x: Floats) -> Floats:
        """Attention weights of a head over a stream, `[n_pos, n_pos]`."""
        scores = np.zeros((len(x), len(x)))
        for match in head.matches:
            query = x[:, self.index[match.query]] if match.query else np.ones(len(x))
            scores += match.score * np.outer(query, x[:, self.index[match.key]])
        scores[np.triu_indices(len(x), 1)] = -np.inf
        weights = np.exp(scores - scores.max(1, keepdims=True))
        return np.asarray(weights / weights.sum(1, keepdims=True))

    def probabilities(self, run: PlantedRun) -> dict[str, float]:
        """Probability of every answer after the last word; all other words have a logit of 0."""
        logits = np.array([run.streams[-1][-1, self.index[out_channel(word)]] for word in self.answers])
        others = len(self.words) + len(SPECIAL) - len(self.answers)
        top = max(float(logits.max()), 0.0)
        weights = np.exp(logits - top)
        total = float(weights.sum()) + others * float(np.exp(-top))
        return {word: float(weight) / total for word, weight in zip(self.answers, weights, strict=True)}


SPECIAL = ("<pad>", BOS, "<unk>", ".")
"""The first ids of every vocabulary; the last is the end of a sentence."""
