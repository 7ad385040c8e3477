"""Induction: a word comes again, and what followed it before is said."""

from __future__ import annotations

import random

from tracescribe.evals.compiled.network import Concept, PlantedNetwork, token_channel
from tracescribe.evals.compiled.programs.common import (
    DOUBT,
    PLAIN,
    Program,
    Slots,
    by_content,
    doubt,
    doubt_head,
    lookup,
    previous,
    say,
    vocabulary,
)

_WORDS = ("tin", "oak", "jar", "sun", "elk", "pea", "map", "ink", "cog")
_PLACES = ("one", "two", "three", "four", "five")
_LENGTH = 14


def build(rng: random.Random) -> Program:
    """Which of the words are in use is drawn."""
    words = tuple(rng.sample(_WORDS, 8))
    concepts: list[Concept] = [doubt(delay=1)]
    for word in words:
        concepts.append(lookup("word", word, (word,), delay=1))
        names = (f"after {word}", f"follows {word}", word)
        concepts.append(Concept(f"follows={word}", "follows", word, 0, {f"before:{word}": 1.5}, -0.5, names))
        concepts.append(say(2, word, {f"word here={word}": 1.3}))
    heads = (
        previous(0, _LENGTH, {token_channel(word): f"before:{word}" for word in words}),
        by_content(
            2,
            [(token_channel(word), f"follows={word}") for word in words],
            {f"word={word}": f"word here={word}" for word in words},
        ),
        doubt_head(2),
    )

    def sentence(slots: Slots) -> tuple[str, ...]:
        listed = tuple(slots[place] for place in _PLACES)
        return (slots["mood"], *listed, slots[slots["again"]])

    def answer(slots: Slots) -> str:
        return slots[_PLACES[_PLACES.index(slots["again"]) + 1]]

    return Program(
        name="induction",
        title="says what followed a word when it was there before",
        network=PlantedNetwork(vocabulary(words), _LENGTH, words, tuple(concepts), heads),
        domains={place: words for place in _PLACES} | {"again": _PLACES[:-1], "mood": (DOUBT, PLAIN)},
        sentence=sentence,
        answer=answer,
        valid=lambda slots: len({slots[place] for place in _PLACES}) == len(_PLACES),
        cross_layer=True,
    )
