"""Distractor prompts about states and countries."""

from __future__ import annotations

import random
from collections.abc import Mapping

from tracescribe.evals.oracle.temptations import DrawTrap, Temptation, TrapPrompt, filled
from tracescribe.tracer.embedded.training import world
from tracescribe.tracer.embedded.training.causal_model import ANSWER
from tracescribe.tracer.embedded.training.corpus import draw

_FEW = 6
"""An answer that more places share calls none of them to mind."""
_TWO_PLACES: Mapping[str, tuple[str, ...]] = {
    "states": (
        "people from {decoy} know that the {relation} of the state containing {city} is {answer}",
        "in {decoy} , the {relation} of the state where {city} lies is {answer}",
        "fact : for {decoy} , the {relation} of the state containing {city} is {answer}",
    ),
    "countries": (
        "travellers in {decoy} learn that the {relation} of the country containing {city} is {answer}",
        "in {decoy} , the {relation} of the country where {city} lies is {answer}",
        "fact : for {decoy} , the {relation} of the country containing {city} is {answer}",
    ),
}


def _places(task: str) -> tuple[Mapping[str, world.Place], tuple[str, ...], str]:
    if task == "states":
        return world.STATES, world.STATE_RELATIONS, "state"
    return world.COUNTRIES, world.COUNTRY_RELATIONS, "country"


def two_places(task: str) -> DrawTrap:
    """Another city stands before the one that is asked about."""

    def make(rng: random.Random) -> TrapPrompt:
        places, relations, variable = _places(task)
        decoy, asked = rng.sample(list(places), 2)
        relation = rng.choice([r for r in relations if places[decoy].attributes[r] != places[asked].attributes[r]])
        town = rng.choice(places[decoy].cities)
        template = filled(rng.choice(_TWO_PLACES[task]), decoy=town)
        fixed = {"kind": "two_hop", variable: asked, "relation": relation, "template": template}
        why = f"{town} is named, but {asked} is asked about"
        return TrapPrompt(
            draw(rng, task, fixed),
            (
                Temptation(variable, decoy, why),
                Temptation(ANSWER, places[decoy].attributes[relation], why),
            ),
            unread=True,
        )

    return make


def capital_named(task: str) -> DrawTrap:
    """The city that is named is itself the capital, and something else is asked."""

    def make(rng: random.Random) -> TrapPrompt:
        places, relations, variable = _places(task)
        name, relation = rng.choice(list(places)), rng.choice(relations[1:])
        capital = places[name].attributes["capital"]
        drawn = draw(rng, task, {"kind": "two_hop", variable: name, "relation": relation, "city": capital})
        why = f"{capital} is a capital, but the {relation} is asked"
        return TrapPrompt(drawn, (Temptation(ANSWER, capital, why),), unread=True)

    return make


def city_is_answer(task: str) -> DrawTrap:
    """The city that is named is the answer: copying it tempts, the model still looks it up."""

    def make(rng: random.Random) -> TrapPrompt:
        places, _, variable = _places(task)
        name = rng.choice(list(places))
        fixed = {"kind": "two_hop", variable: name, "relation": "capital", "city": places[name].attributes["capital"]}
        return TrapPrompt(draw(rng, task, fixed), unread=True)

    return make


def shared_answer(task: str) -> DrawTrap:
    """The answer is better known of another place: German of Germany, asked of Austria."""

    def make(rng: random.Random) -> TrapPrompt:
        places, relations, variable = _places(task)
        kind = rng.choice(("two_hop", "direct"))
        while True:
            name, relation = rng.choice(list(places)), rng.choice(relations[1:])
            answer = places[name].attributes[relation]
            others = [
                other for other, place in places.items() if place.attributes[relation] == answer and other != name
            ]
            if others and len(others) <= _FEW:
                break
        other = others[0]
        why = f"{other} has the {relation} {answer} too, but {name} is asked about"
        drawn = draw(rng, task, {"kind": kind, variable: name, "relation": relation})
        return TrapPrompt(drawn, (Temptation(variable, other, why),))

    return make
