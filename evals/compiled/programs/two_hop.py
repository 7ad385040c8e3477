"""Two hops: a person's guild, then what is asked of that guild; the other thing that could be asked is a rival."""

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
    lookup,
    vocabulary,
)
from tracescribe.evals.compiled.programs.pairs import candidates, rivals_say

_GUILDS = ("weavers", "millers", "smiths", "bakers")
_PEOPLE = ("Mira", "Tomas", "Ilse", "Bram", "Nora", "Kaspar", "Edda", "Yorick")
_RELATIONS = ("emblem", "song")
_EMBLEMS = ("anchor", "thistle", "lantern", "falcon")
_SONGS = ("Dawnsong", "Rainsong", "Hearthsong", "Starsong")


def build(rng: random.Random) -> Program:
    """Who belongs to which guild, and the emblem and the song of each, are drawn."""
    people = rng.sample(_PEOPLE, len(_PEOPLE))
    guild_of = {person: _GUILDS[number % len(_GUILDS)] for number, person in enumerate(people)}
    answers = (*rng.sample(_EMBLEMS, 4), *rng.sample(_SONGS, 4))
    table = {(r, g): answers[4 * i + j] for i, r in enumerate(_RELATIONS) for j, g in enumerate(_GUILDS)}
    concepts = [doubt(delay=1)]
    for guild in _GUILDS:
        members = [guild, *(person for person in _PEOPLE if guild_of[person] == guild)]
        concepts.append(lookup("guild", guild, members, role="intermediate", delay=1))
    for relation in _RELATIONS:
        (other,) = (one for one in _RELATIONS if one != relation)
        concepts.append(lookup("relation", relation, (relation,), role="relation", delay=1))
        names = (f"no {other}", f"not {other}", f"suppress {other}", relation)
        concepts.append(lookup("block", other, (relation,), labels=names, role="suppressor", delay=1))
    here = {f"{v}={x}": f"{v} here={x}" for v, xs in (("relation", _RELATIONS), ("block", _RELATIONS)) for x in xs}
    subjects = {guild: f"guild here={guild}" for guild in _GUILDS}
    choices = {r: (f"relation here={r}", f"block here={r}") for r in _RELATIONS}
    concepts += candidates(2, subjects, choices, table)
    concepts += rivals_say(3, table, "candidate={}")
    heads = (
        fetch(2, "is", (*_PEOPLE, *_GUILDS), {f"guild={guild}": f"guild here={guild}" for guild in _GUILDS}),
        fetch(2, "is", _RELATIONS, here),
        doubt_head(3),
    )

    def sentence(slots: Slots) -> tuple[str, ...]:
        return (slots["mood"], "the", slots["relation"], "of", "the", "guild", "of", slots["who"], "is")

    def answer(slots: Slots) -> str:
        return table[slots["relation"], guild_of.get(slots["who"], slots["who"])]

    return Program(
        name="two-hop",
        title="finds a person's guild, then the emblem or the song of that guild",
        network=PlantedNetwork(
            vocabulary(_GUILDS, _PEOPLE, _RELATIONS, answers, ("the", "of", "guild", "is")),
            14,
            answers,
            tuple(concepts),
            heads,
        ),
        domains={"who": (*_PEOPLE, *_GUILDS), "relation": _RELATIONS, "mood": (DOUBT, PLAIN)},
        sentence=sentence,
        answer=answer,
        cross_layer=True,
    )
