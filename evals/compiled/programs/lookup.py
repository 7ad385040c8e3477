"""Look-up in one hop by two ways: each of them alone gives the answer."""

from __future__ import annotations

import random

from tracescribe.evals.compiled.network import Concept, PlantedNetwork
from tracescribe.evals.compiled.programs.common import (
    DOUBT,
    PLAIN,
    Program,
    Slots,
    doubt,
    doubt_head,
    fetch,
    lookup,
    say,
    vocabulary,
)

_ANIMALS = ("fox", "hen", "owl", "cat", "ram", "bee")
_COLOURS = ("red", "blue", "green", "gold", "grey", "pink")
_LOOKS = ("old", "young", "quick", "shy")
_PLACES = ("barn", "wood", "yard")


def build(rng: random.Random) -> Program:
    """Which animal has which colour is drawn.

    The colour is looked up at the animal and carried to the end; the animal is carried to the end too, and its colour
    recalled there.
    """
    table: dict[str, str] = dict(zip(_ANIMALS, rng.sample(_COLOURS, len(_COLOURS)), strict=True))
    concepts: list[Concept] = [doubt()]
    for animal, colour in table.items():
        concepts.append(lookup("animal", animal, (animal,)))
        concepts.append(
            _from(f"colour={colour}", "colour", colour, 1, f"animal={animal}", (colour, f"colour {colour}"))
        )
        here = f"animal here={animal}"
        names = (f"recall {colour}", colour, animal)
        concepts.append(_from(f"recalled={colour}", "recalled colour", colour, 2, here, names))
        concepts.append(say(3, colour, {f"colour here={colour}": 1.0, f"recalled={colour}": 1.0}))
    heads = (
        fetch(2, "is", _ANIMALS, {f"animal={animal}": f"animal here={animal}" for animal in _ANIMALS}),
        fetch(3, "is", _ANIMALS, {f"colour={colour}": f"colour here={colour}" for colour in _COLOURS}),
        doubt_head(3),
    )

    def sentence(slots: Slots) -> tuple[str, ...]:
        what = ("the", "colour", "of", "the", slots["look"], slots["animal"], "in", "the", slots["place"], "is")
        return (slots["mood"], *what)

    words = vocabulary(_ANIMALS, _COLOURS, _LOOKS, _PLACES, ("the", "colour", "of", "in", "is"))
    return Program(
        name="lookup",
        title="looks a colour up by an animal, by two ways of which each would do",
        network=PlantedNetwork(words, 16, _COLOURS, tuple(concepts), heads),
        domains={"animal": _ANIMALS, "look": _LOOKS, "place": _PLACES, "mood": (DOUBT, PLAIN)},
        sentence=sentence,
        answer=lambda slots: table[slots["animal"]],
    )


def _from(name: str, variable: str, value: str, layer: int, source: str, labels: tuple[str, ...]) -> Concept:
    return Concept(name, variable, value, layer, {source: 1.5}, -0.5, labels)
