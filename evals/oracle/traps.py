"""Sorts of distractor prompts: sentences in which a tempting circuit is wrong.

What tempts is a value that the prompt suggests and that the causal model does not compute: the state of a city that is
named but not asked about, the sport of a known surname behind an unknown first name, the name that is repeated. The
prompts use the corpus' own sentence patterns, or patterns with one more name in them, which the model has never read.
"""

from __future__ import annotations

from collections.abc import Mapping

from tracescribe.evals.oracle.place_traps import capital_named, city_is_answer, shared_answer, two_places
from tracescribe.evals.oracle.temptations import DrawTrap
from tracescribe.evals.oracle.word_traps import (
    equal_operands,
    known_first_name,
    known_surname,
    mixed_names,
    not_opposite,
    other_language,
    own_translation,
    repeated_name,
    shared_name,
    third_name,
    zero_operand,
)

SORTS: Mapping[str, Mapping[str, DrawTrap]] = {
    "states": {
        "two_places": two_places("states"),
        "capital_named": capital_named("states"),
        "city_is_answer": city_is_answer("states"),
        "shared_answer": shared_answer("states"),
    },
    "countries": {
        "two_places": two_places("countries"),
        "capital_named": capital_named("countries"),
        "city_is_answer": city_is_answer("countries"),
        "shared_answer": shared_answer("countries"),
    },
    "antonyms": {"other_language": other_language, "own_translation": own_translation, "not_opposite": not_opposite},
    "addition": {"equal_operands": equal_operands, "zero_operand": zero_operand},
    "indirect_objects": {"repeated_name": repeated_name, "third_name": third_name},
    "people": {
        "known_surname": known_surname,
        "known_first_name": known_first_name,
        "mixed_names": mixed_names,
        "shared_name": shared_name,
    },
}
"""Sorts of traps of each task, by the tag that their cases carry."""
