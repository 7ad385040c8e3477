"""Routing by a keyword: the same noun is translated by one of three tables, at the noun itself."""

from __future__ import annotations

import random

from tracescribe.evals.compiled.network import PlantedNetwork
from tracescribe.evals.compiled.programs.common import (
    DOUBT,
    PLAIN,
    Program,
    Slots,
    doubt,
    doubt_head,
    fetch,
    fetch_from,
    lookup,
    vocabulary,
)
from tracescribe.evals.compiled.programs.pairs import candidates, rivals_say

_TONGUES = ("Norn", "Sarn")
_NOUNS = ("river", "stone", "bread", "horse", "cloud")
_SOUNDS = ("vash", "olm", "brin", "tek", "suda", "ful", "kor", "mipa", "zeth", "lun")


def build(rng: random.Random) -> Program:
    """The dictionaries are drawn."""
    sounds = rng.sample(_SOUNDS, len(_SOUNDS))
    table = {(t, n): sounds[len(_NOUNS) * i + j] for i, t in enumerate(_TONGUES) for j, n in enumerate(_NOUNS)}
    concepts = [doubt(delay=1)]
    concepts += [lookup("noun", noun, (noun,), delay=1) for noun in _NOUNS]
    for tongue in _TONGUES:
        (other,) = (one for one in _TONGUES if one != tongue)
        concepts.append(lookup("tongue", tongue, (tongue,), role="relation", delay=1))
        names = (f"no {other}", f"not {other}", f"suppress {other}", tongue)
        concepts.append(lookup("block", other, (tongue,), labels=names, role="suppressor", delay=1))
    moved = {f"{v}={t}": f"{v} here={t}" for v in ("tongue", "block") for t in _TONGUES}
    choices = {t: (f"tongue here={t}", f"block here={t}") for t in _TONGUES}
    concepts += candidates(2, {noun: f"noun={noun}" for noun in _NOUNS}, choices, table)
    concepts += rivals_say(3, table, "candidate here={}")
    heads = (
        fetch_from(2, _NOUNS, _TONGUES, moved),
        fetch(3, "is", _NOUNS, {f"candidate={s}": f"candidate here={s}" for s in _SOUNDS}),
        doubt_head(3),
    )

    def sentence(slots: Slots) -> tuple[str, ...]:
        return (slots["mood"], "in", slots["tongue"], "the", "word", "for", slots["noun"], "is")

    return Program(
        name="routing",
        title="translates a noun by the dictionary that a keyword names",
        network=PlantedNetwork(
            vocabulary(_TONGUES, _NOUNS, _SOUNDS, ("in", "the", "word", "for", "is")),
            14,
            tuple(sounds),
            tuple(concepts),
            heads,
        ),
        domains={"tongue": _TONGUES, "noun": _NOUNS, "mood": (DOUBT, PLAIN)},
        sentence=sentence,
        answer=lambda slots: table[slots["tongue"], slots["noun"]],
        cross_layer=True,
    )
