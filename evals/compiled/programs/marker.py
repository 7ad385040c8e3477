"""Copying: the word that follows a marker is said again when the marker is asked for."""

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

_MARKERS = ("first", "then", "last")
_WORDS = ("kite", "moon", "drum", "lamp", "rope", "fern", "coin")
_LENGTH = 16


def build(rng: random.Random) -> Program:
    """Which of the words are in use is drawn."""
    words = tuple(rng.sample(_WORDS, 6))
    concepts: list[Concept] = [doubt()]
    concepts += [lookup("word", word, (word,)) for word in words]
    before = {token_channel(m): f"before:{m}" for m in (*_MARKERS, "after")}
    for marker in _MARKERS:
        concepts.append(
            Concept(
                f"follows={marker}",
                "follows",
                marker,
                0,
                {f"before:{marker}": 1.5} | {token_channel(word): 1.5 for word in words},
                -2.0,
                (f"after {marker}", f"follows {marker}", f"word after {marker}"),
            )
        )
        concepts.append(
            Concept(
                f"asked={marker}",
                "asked",
                marker,
                0,
                {"before:after": 1.5, token_channel(marker): 1.5},
                -2.0,
                (f"asked {marker}", f"after {marker}", marker),
                "relation",
            )
        )
    concepts += [say(2, word, {f"word here={word}": 1.3}) for word in words]
    asked = {f"asked={m}": f"asked here={m}" for m in _MARKERS}
    heads = (
        previous(0, _LENGTH, before),
        by_content(1, [(token_channel("comes"), channel) for channel in asked], asked),
        by_content(
            2,
            [(f"asked here={m}", f"follows={m}") for m in _MARKERS],
            {f"word={word}": f"word here={word}" for word in words},
        ),
        doubt_head(2),
    )

    def sentence(slots: Slots) -> tuple[str, ...]:
        named = (slots["mood"], "first", slots["one"], "then", slots["two"], "last", slots["three"])
        return (*named, "and", "after", slots["asked"], "comes")

    places: dict[str, str] = dict(zip(_MARKERS, ("one", "two", "three"), strict=True))
    return Program(
        name="marker",
        title="says the word again that followed a marker",
        network=PlantedNetwork(
            vocabulary(words, _MARKERS, ("and", "after", "comes")), _LENGTH, words, tuple(concepts), heads
        ),
        domains={"one": words, "two": words, "three": words, "asked": _MARKERS, "mood": (DOUBT, PLAIN)},
        sentence=sentence,
        answer=lambda slots: slots[places[slots["asked"]]],
        valid=lambda slots: len({slots["one"], slots["two"], slots["three"]}) == 3,
    )
