"""Which other words could stand at a place of a prompt: what a word is changed to when its effect is measured.

A word that the sentence pattern draws (a city, a numeral) is exchanged for others of its sort that mean something else.
A word of the frame is exchanged for frame words of other sentences; where the frame tells the language, for those of the
other languages.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from tracescribe.tracer.embedded.training import templates, world
from tracescribe.tracer.embedded.training.corpus import Sample

MAX_ALTERNATIVES = 32
"""Words that stand in for "any other": their mean is off by less than a fifth of one word's spread."""


def alternatives(rng: random.Random, target: Sample, position: int) -> tuple[str, ...]:
    """Other words for one position of a prompt, at most `MAX_ALTERNATIVES`, drawn by `rng` where there are more.

    Args:
        rng: of the draw.
        target: the prompt.
        position: of the word; `<bos>` counts as a word of the frame.
    """
    word = target.words[position]
    role = _role(target, position) or _stray_role(word)
    found = frame_words(target) if role is None else _of_role(target, role, word)
    options = sorted(set(found) - set(target.words))
    return tuple(options if len(options) <= MAX_ALTERNATIVES else sorted(rng.sample(options, MAX_ALTERNATIVES)))


def stray_positions(target: Sample) -> tuple[int, ...]:
    """Positions of names and places that play no role in a prompt: what they are changes nothing in the causal model."""
    words = enumerate(target.words[: target.answer])
    return tuple(at for at, word in words if _role(target, at) is None and _stray_role(word) is not None)


def _role(target: Sample, position: int) -> str | None:
    return next((name for name, at in target.roles.items() if at == position and name != "final"), None)


def _stray_role(word: str) -> str | None:
    if word in world.NAMES:
        return "third"
    cities = (place.cities for table in (world.STATES, world.COUNTRIES) for place in table.values())
    return "city" if any(word in found for found in cities) else None


def _of_role(target: Sample, role: str, word: str) -> Sequence[str]:
    """Every word of the corpus that can play a role and means something else."""
    states = target.task == "states"
    places = world.STATES if states else world.COUNTRIES
    if role == "city":
        others = [place for place in places.values() if word not in (*place.cities, place.attributes["capital"])]
        return [city for place in others for city in place.cities]
    if role == "word":
        concept, pole, _ = world.MEANINGS[word]
        return [other for other, meaning in world.MEANINGS.items() if meaning[:2] != (concept, pole)]
    if role in ("a", "b"):
        numerals = world.DIGITS if word in world.DIGITS else world.NUMBER_WORDS
        value = numerals.index(word)
        return [n[i] for n in (world.DIGITS, world.NUMBER_WORDS) for i in range(world.MAX_OPERAND + 1) if i != value]
    return {
        "state": tuple(world.STATES),
        "country": tuple(world.COUNTRIES),
        "relation": world.STATE_RELATIONS if states else world.COUNTRY_RELATIONS,
        "operation": tuple(templates.OPERATION_WORDS.values()),
        "first": world.FIRST_NAMES,
        "last": world.LAST_NAMES,
        "place": world.PLACES,
        "object": world.OBJECTS,
    }.get(role, world.NAMES)


def frame_words(target: Sample) -> tuple[str, ...]:
    """Frame words of other sentences: in antonyms those of the other languages, elsewhere those of the other tasks."""
    if target.task == "antonyms":
        language = target.value("language")
        kinds = (templates.ANTONYM, templates.TRANSLATION)
        patterns = [p for kind in kinds for name, frames in kind.items() if name != language for p in frames]
    else:
        patterns = list(templates.every_template())
    return tuple(word for pattern in patterns for word in pattern.split() if not word.startswith("{"))
