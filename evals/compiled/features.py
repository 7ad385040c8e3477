"""The features of a compiled model: planted units split into unequal parts, among others that play no part.

A feature reads and writes named channels, as a concept does. Distractors write into channels of their own, the *junk*,
which no planted unit and no head reads, so that what matters stays known by construction however loud they are. Four sorts tempt: *polysemantic*
ones fire on words that have nothing in common; *decoys* read what a planted unit wrote, fire harder than it does, and
drive each other; *position* ones fire wherever a sentence has come to a certain place; *broad* ones raise all answers alike, which a
graph shows as a strong effect on the answer's logit and an experiment as none on the answer.

Source: Elhage et al. 2022, "Toy models of superposition" (polysemantic features); Makelov et al. 2023, "Is this the
subspace you are looking for?" (what is strongly active need not be used).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tracescribe.evals.compiled.network import (
    Concept,
    PlantedNetwork,
    out_channel,
    position_channel,
    token_channel,
)

JUNK = 16
"""Channels that only distractors use."""
PARTS = (2, 5)
"""Fewest and most features of one planted unit."""
SPARE = 32
"""Distractors of the layer with most planted features; the others have as many more as they have fewer of those."""
BROAD_LOGIT = 1.0
"""What a broad feature adds to every answer's logit."""
_GAINS = (0.5, 3.0)
_SORTS = ("words", "words", "decoy", "decoy", "chain", "pair", "position")


def junk_channel(number: int) -> str:
    """A channel that only distractors use."""
    return f"junk:{number}"


@dataclass(frozen=True)
class Feature:
    """One feature of the transcoder: `max(0, reads . x + bias)`.

    Attributes:
        layer: where it reads.
        reads: channel -> weight.
        writes: layer -> channel -> weight per unit of activation.
        concept: the planted unit that it is a part of; None for a distractor.
        sort: `part`, or the sort of distractor.
        gain: how many times the unit's activation it has.
    """

    layer: int
    reads: Mapping[str, float]
    bias: float
    writes: Mapping[int, Mapping[str, float]]
    concept: int | None = None
    sort: str = "part"
    gain: float = 1.0


def split(network: PlantedNetwork, rng: random.Random, cross_layer: bool) -> list[Feature]:
    """Every planted unit as two to five features that share its work unequally.

    Args:
        cross_layer: units with a delay write some of it to the later layer; else all to their own.
    """
    found: list[Feature] = []
    for number, concept in enumerate(network.concepts):
        parts = rng.randint(*PARTS)
        raw = [rng.uniform(1.0, 3.0) for _ in range(parts)]
        late = [rng.choice((0.0, 0.5, 1.0)) for _ in range(parts)]
        late[rng.randrange(parts)] = 0.5  # at least one feature that two layers are written by
        for share, later in zip(raw, late, strict=True):
            gain = rng.uniform(*_GAINS)
            unit = share / sum(raw) / gain
            moved = later if cross_layer and concept.delay else 0.0
            by_layer = {concept.layer: (1 - moved) * unit, concept.layer + concept.delay: moved * unit}
            if not moved:
                by_layer = {concept.layer: unit}
            found.append(
                Feature(
                    layer=concept.layer,
                    reads={channel: gain * weight for channel, weight in concept.reads.items()},
                    bias=gain * concept.bias,
                    writes={
                        layer: {channel: scale * weight for channel, weight in concept.written.items()}
                        for layer, scale in by_layer.items()
                        if scale
                    },
                    concept=number,
                    gain=gain,
                )
            )
    return found


def distractors(
    network: PlantedNetwork, rng: random.Random, planted: list[Feature], prompts: Sequence[Sequence[str]]
) -> list[Feature]:
    """Features that play no part, so many that every layer of the model is equally wide.

    Args:
        prompts: some, `<bos>` first and all equally long: they tell how large channels get, and the broad features fire at
            the last word.
    """
    sizes = _sizes(network, prompts)
    # a feature that writes to two layers is a neuron of both
    filled = [sum(layer in one.writes for one in planted) for layer in range(network.n_layers)]
    found: list[Feature] = []
    for layer, count in enumerate(filled):
        wanted = max(filled) + SPARE - count
        if layer in (network.n_layers - 1, network.n_layers - 2):
            found.append(_broad(network, layer, len(prompts[0])))
            wanted -= 1
        found += [_distractor(network, rng, layer, sizes) for _ in range(wanted)]
    return found


def _broad(network: PlantedNetwork, layer: int, length: int) -> Feature:
    writes = {out_channel(word): BROAD_LOGIT for word in network.answers}
    return Feature(layer, _at(network, length - 1), -0.6, {layer: writes}, sort="broad")


def _at(network: PlantedNetwork, position: int) -> dict[str, float]:
    """Reads a position, whatever word stands there; with a bias of -0.6 it fires there alone."""
    return {position_channel(position): 1.2} | {token_channel(word): 0.4 for word in network.words}


def _sizes(network: PlantedNetwork, prompts: Sequence[Sequence[str]]) -> dict[str, float]:
    """The largest value of every channel in some prompts, 1 at least."""
    largest = np.max([np.abs(network.run(words).streams).max((0, 1)) for words in prompts], 0)
    return {channel: max(1.0, float(size)) for channel, size in zip(network.channels, largest, strict=True)}


def _distractor(network: PlantedNetwork, rng: random.Random, layer: int, sizes: Mapping[str, float]) -> Feature:
    sort = rng.choice(_SORTS)
    sources = _readable(network, layer)
    if (sort == "decoy" and not sources) or (sort == "chain" and layer == 0):
        sort = "words"
    gain = rng.uniform(0.5, 2.0)
    if sort == "words":
        reads, bias = {token_channel(word): 1.5 for word in rng.sample(network.words, rng.randint(2, 4))}, -0.5
    elif sort == "pair":  # two words of which the sentence's place decides: hardly ever fires
        word, position = rng.choice(network.words), rng.randrange(1, network.max_positions)
        reads, bias = {token_channel(word): 1.0, position_channel(position): 1.0}, -1.3
    elif sort == "position":
        reads, bias = _at(network, rng.randrange(1, network.max_positions)), -0.6
    elif sort == "chain":
        reads, bias = {junk_channel(rng.randrange(JUNK)): 1.0, junk_channel(rng.randrange(JUNK)): 0.5}, -0.4
    else:
        chosen = rng.sample(sources, min(len(sources), rng.randint(1, 4)))
        reads, bias, gain = {channel: 1.5 / sizes[channel] for channel in chosen}, -0.5, rng.uniform(2.0, 6.0)
    written = {junk_channel(number): rng.uniform(-0.5, 0.5) / gain for number in rng.sample(range(JUNK), 4)}
    scaled = {channel: gain * weight for channel, weight in reads.items()}
    return Feature(layer, scaled, gain * bias, {layer: written}, sort=sort, gain=gain)


def _readable(network: PlantedNetwork, layer: int) -> list[str]:
    """Channels of planted units that are there, whole, for the MLP of a layer."""
    ready = [c for concept in network.concepts if _done(concept) < layer for c in concept.written]
    moved = [channel for head in network.heads if head.layer <= layer for channel in head.moves.values()]
    outputs = {out_channel(word) for word in network.answers}
    return sorted({*ready, *moved} - outputs)


def _done(concept: Concept) -> int:
    return concept.layer + concept.delay
