"""The sentence patterns of the corpus: words as they stand, `{slots}` for what is drawn.

A slot's name is the *role* of its word. The slot `{answer}` ends the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping

PLACE: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "states": {
        "direct": (
            "the {relation} of {state} is {answer}",
            "{state} has the {relation} {answer}",
            "in {state} , the {relation} is {answer}",
        ),
        "two_hop": (
            "the {relation} of the state containing {city} is {answer}",
            "the state containing {city} has the {relation} {answer}",
            "{city} is in a state whose {relation} is {answer}",
            "fact : the {relation} of the state where {city} lies is {answer}",
            "for the state around {city} , the {relation} is {answer}",
            "people from {city} know that the {relation} of their state is {answer}",
        ),
        "city": (
            "{city} is a city in the state of {answer}",
            "the state containing {city} is {answer}",
            "{city} lies in {answer}",
        ),
    },
    "countries": {
        "direct": (
            "the {relation} of {country} is {answer}",
            "{country} has the {relation} {answer}",
            "in {country} , the {relation} is {answer}",
        ),
        "two_hop": (
            "the {relation} of the country containing {city} is {answer}",
            "the country containing {city} has the {relation} {answer}",
            "{city} is in a country whose {relation} is {answer}",
            "fact : the {relation} of the country where {city} lies is {answer}",
            "travellers in {city} learn that the {relation} of the country is {answer}",
        ),
        "city": (
            "{city} is a city in the country of {answer}",
            "the country containing {city} is {answer}",
            "{city} lies in {answer}",
        ),
    },
}
ANTONYM: Mapping[str, tuple[str, ...]] = {
    "English": ("the {operation} of {word} is {answer}", "{word} is the {operation} of {answer}"),
    "French": ("le {operation} de {word} est {answer}", "{word} est le {operation} de {answer}"),
    "Spanish": ("lo {operation} de {word} es {answer}", "{word} es lo {operation} de {answer}"),
}
TRANSLATION: Mapping[str, tuple[str, ...]] = {
    "English": ("the English {operation} for {word} is {answer}",),
    "French": ("le {operation} français pour {word} est {answer}",),
    "Spanish": ("la {operation} española para {word} es {answer}",),
}
OPERATION_WORDS: Mapping[tuple[str, str], str] = {
    ("antonym", "English"): "opposite",
    ("antonym", "French"): "contraire",
    ("antonym", "Spanish"): "contrario",
    ("translation", "English"): "word",
    ("translation", "French"): "mot",
    ("translation", "Spanish"): "palabra",
}
ADDITION = ("{a} + {b} = {answer}", "the sum of {a} and {b} is {answer}", "calc : {a} plus {b} equals {answer}")
INDIRECT_OBJECT = (
    "when {first_name} and {second_name} went to the {place} , {subject} gave a {object} to {answer}",
    "{first_name} and {second_name} met at the {place} and {subject} handed the {object} to {answer}",
    "after {first_name} and {second_name} left the {place} , {subject} sent a {object} to {answer}",
)
PEOPLE = (
    "{first} {last} plays the sport of {answer}",
    "the sport of {first} {last} is {answer}",
    "question : what sport did {first} {last} play ? answer : {answer}",
)


def every_template() -> tuple[str, ...]:
    """Every sentence pattern of the corpus, slots open."""
    by_kind = [frames for kinds in PLACE.values() for frames in kinds.values()]
    groups = [*by_kind, *ANTONYM.values(), *TRANSLATION.values()]
    groups += [ADDITION, INDIRECT_OBJECT, PEOPLE]
    return tuple(template for group in groups for template in group)
