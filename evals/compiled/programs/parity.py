"""Parity: how often a lamp was turned; counters excite and inhibit by turns."""

from __future__ import annotations

import random

from tracescribe.evals.compiled.network import Concept, PlantedNetwork
from tracescribe.evals.compiled.programs.common import (
    DOUBT,
    PLAIN,
    Program,
    Slots,
    counters,
    doubt,
    doubt_head,
    fetch,
    lookup,
    say,
    vocabulary,
)

_STEPS = ("one", "two", "three", "four", "five")
_TURNS = (("flip", "wait"), ("turn", "rest"), ("press", "pass"))
_STATES = ("bright", "dark")


def build(rng: random.Random) -> Program:
    """Which word turns the lamp, and which state it began in, is drawn."""
    turn, wait = rng.choice(_TURNS)
    odd, even = rng.sample(_STATES, 2)
    concepts: list[Concept] = [doubt()]
    concepts.append(lookup("turn", turn, (turn,), spread=True))
    concepts += counters(1, len(_STEPS), {"share": float(len(_STEPS))}, f"{turn}s", turn)
    alternating = {f"{turn}>={k}": 2.0 if k % 2 else -2.0 for k in range(2, 6)}
    odds = alternating | {f"{turn}>=1": 1.0}
    evens = {channel: -weight for channel, weight in alternating.items()} | {f"{turn}>=2": 1.0}
    concepts.append(Concept("parity=odd", "parity", "odd", 2, odds, -0.15, ("odd", f"odd {turn}s", odd)))
    concepts.append(Concept("parity=even", "parity", "even", 2, evens, -0.15, ("even", f"even {turn}s", even)))
    concepts.append(say(3, odd, {"parity=odd": 1.2}, bias=-0.1))
    concepts.append(say(3, even, {"parity=even": 1.2}, bias=-0.1))
    heads = (fetch(1, "now", (turn, wait), {f"turn={turn}": "share"}), doubt_head(3))

    def sentence(slots: Slots) -> tuple[str, ...]:
        return (slots["mood"], "lamp", *(slots[step] for step in _STEPS), "is", "now")

    def answer(slots: Slots) -> str:
        return odd if sum(slots[step] == turn for step in _STEPS) % 2 else even

    return Program(
        name="parity",
        title="tells whether a lamp burns after some turns",
        network=PlantedNetwork(
            vocabulary((turn, wait), _STATES, ("lamp", "is", "now")), 14, _STATES, tuple(concepts), heads
        ),
        domains={step: (turn, wait) for step in _STEPS} | {"mood": (DOUBT, PLAIN)},
        sentence=sentence,
        answer=answer,
        valid=lambda slots: any(slots[step] == turn for step in _STEPS),
    )
