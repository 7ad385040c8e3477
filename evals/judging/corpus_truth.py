"""Where features fire in the whole corpus, found with the embedded model's own forward pass: the truth about labels.

The judge tests a label on a hundred unseen sentences, each standing for many. Here every distinct sentence of the corpus
counts, once, and nothing is drawn or weighted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tracescribe.agents.claims import Predicate
from tracescribe.evals.oracle.homes import World
from tracescribe.tracer import embedded
from tracescribe.tracer.embedded.training.corpus import BOS

_BATCH = 512
"""Sentences per forward pass."""
MIN_ACTIVE = 5
"""Firings from which a feature counts as live."""

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float32]


class BothWays(NamedTuple):
    """Two areas under ROC curves, .5 where nothing is told.

    Attributes:
        activation: of the activation against the predicate; a word on which the feature is silent lowers it.
        detection: of the predicate against firing; a firing that the predicate does not tell lowers it.
    """

    activation: float
    detection: float


@dataclass(frozen=True, eq=False)
class CorpusTruth:
    """The corpus, run once. Arrays over its tokens, BOS left out, `[n_tokens]`.

    Attributes:
        world: model and transcoder.
        words: the token.
        following: the model's most probable next token.
        sentence: number of the sentence.
        inputs: per layer the MLP input, `[n_tokens, d_model]`.
    """

    world: World
    words: NDArray[np.str_]
    following: NDArray[np.str_]
    sentence: NDArray[np.int64]
    inputs: tuple[torch.Tensor, ...]
    _live: list[tuple[int, ...]] = field(default_factory=list, repr=False)

    @classmethod
    def read(cls, world: World, every: int = 1) -> CorpusTruth:
        """Run the corpus that ships.

        Args:
            every: run only every so many-th distinct sentence.
        """
        text = embedded.corpus_path().read_text(encoding="utf-8")
        lines = list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))[::every]
        word_of = {index: word for word, index in world.ids_of.items()}
        words: list[str] = []
        following: list[str] = []
        sentence: list[int] = []
        inputs: list[list[torch.Tensor]] = [[] for _ in range(world.model.n_layers)]
        for start in range(0, len(lines), _BATCH):
            batch = [(BOS, *line.split()) for line in lines[start : start + _BATCH]]
            ids = torch.zeros(len(batch), max(map(len, batch)), dtype=torch.long)
            for row, one in enumerate(batch):
                ids[row, : len(one)] = torch.tensor([world.ids_of[word] for word in one])
            with torch.no_grad():
                run = world.model.run(ids)
            best = run.logits.argmax(-1)
            for row, one in enumerate(batch):
                words += one[1:]
                following += [word_of[int(i)] for i in best[row, 1 : len(one)]]
                sentence += [start + row] * (len(one) - 1)
                for layer, found in enumerate(inputs):
                    found.append(run.mlp_inputs[layer][row, 1 : len(one)])
        return cls(
            world,
            np.array(words),
            np.array(following),
            np.array(sentence, dtype=np.int64),
            tuple(torch.cat(found) for found in inputs),
        )

    def live(self) -> tuple[tuple[int, ...], ...]:
        """By layer, features that fire on at least `MIN_ACTIVE` tokens."""
        if not self._live:
            for layer, inputs in enumerate(self.inputs):
                n_active = (self.world.transcoder.activations(layer, inputs) != 0).sum(0)
                self._live.append(tuple(int(f) for f in (n_active >= MIN_ACTIVE).nonzero().flatten()))
        return tuple(self._live)

    def activation(self, layer: int, feature: int) -> FloatArray:
        """One feature on every token, `[n_tokens]`."""
        clt = self.world.transcoder
        pre = self.inputs[layer] @ clt.encoders[layer][feature] + clt.encoder_biases[layer][feature]
        return np.asarray((pre * (pre > clt.thresholds[layer][feature])).numpy(), dtype=np.float32)

    def both_ways(self, layer: int, feature: int, predicate: Predicate) -> BothWays | None:
        """How well a predicate tells where a feature fires, in both directions.

        None where the feature never fires, or the predicate holds nowhere or everywhere.
        """
        activation, holds = self.activation(layer, feature), self.holds(predicate)
        area = area_of(activation, holds)
        if area is None or not (activation > 0).any():
            return None
        fires = activation > 0
        found = float(np.mean(holds[fires]))
        false_alarms = float(np.mean(holds[~fires])) if not fires.all() else 1.0
        return BothWays(area, (1.0 + found - false_alarms) / 2.0)

    def holds(self, predicate: Predicate) -> BoolArray:
        """Where a predicate holds, `[n_tokens]`."""
        here = np.isin(self.words, predicate.words)
        if predicate.on == "token":
            return np.asarray(here)
        if predicate.on == "next":
            return np.asarray(np.isin(self.following, predicate.words))
        met = np.zeros(len(here), dtype=np.bool_)
        for back in range(1, predicate.window + 1):
            met[back:] |= here[:-back] & (self.sentence[back:] == self.sentence[:-back])
        return met


def area_of(values: FloatArray, truth: BoolArray) -> float | None:
    """Chance that a random positive token has a larger value than a random negative one, ties counting half."""
    positive, negative = values[truth], np.sort(values[~truth])
    if not len(positive) or not len(negative):
        return None
    beaten = np.searchsorted(negative, positive, side="left")
    matched = np.searchsorted(negative, positive, side="right")
    return float((beaten + matched).mean() / 2.0 / len(negative))
