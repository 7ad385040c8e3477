"""Names of the oracle gold's supernodes: what a reader may call each value of each variable."""

from __future__ import annotations

from tracescribe.evals.gold import GoldRole
from tracescribe.tracer.embedded.training import templates, world
from tracescribe.tracer.embedded.training.causal_model import ANSWER
from tracescribe.tracer.embedded.training.corpus import UNKNOWN_SPORT

_OPERATION_NAMES = {"antonym": ("antonym", "opposite"), "translation": ("translation", "translate")}
_LANGUAGE_NAMES = {"English": ("English",), "French": ("French", "français"), "Spanish": ("Spanish", "español")}


def label_of(variable: str, value: str) -> str:
    """The name that the gold itself uses."""
    return accepted_labels(variable, value)[0]


def accepted_labels(variable: str, value: str) -> tuple[str, ...]:
    """Every name that counts as right, the plainest first.

    A meaning can be called by its words in any language or by its concept, a number by either numeral, an operation by
    the words that ask for it.
    """
    if variable == "meaning":
        concept, pole = value[:-1], value[-1]
        names = [world.LEXICON[concept, pole, language] for language in world.LANGUAGES]
        names.append(concept)
    elif variable in ("a", "b", "number", "sum"):
        names = [world.DIGITS[int(value)], world.NUMBER_WORDS[int(value)]]
    elif variable == "operation":
        asked = [word for (kind, _), word in templates.OPERATION_WORDS.items() if kind == value]
        names = [*_OPERATION_NAMES[value], *asked]
    elif variable == "language":
        names = list(_LANGUAGE_NAMES[value])
    elif value == UNKNOWN_SPORT:
        names = [UNKNOWN_SPORT, "unknown name", "unknown person", "stranger"]
    else:
        names = [value]
    if variable == ANSWER:
        names = [f"say {names[0]}", *names]
    return tuple(dict.fromkeys(names))


def role_of(variable: str, value: str, word: str) -> GoldRole:
    """The part that a variable plays.

    Args:
        variable: its name in the causal model.
        value: its value.
        word: the word at its home; a place that is named by itself is an input, since nothing had to be looked up.
    """
    if variable == ANSWER:
        return "output"
    if variable in ("relation", "operation"):
        return "relation"
    return "input" if variable in ("state", "country") and word == value else "intermediate"
