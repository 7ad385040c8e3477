"""Names of the oracle gold's supernodes: what a reader may call each value of each variable."""

from __future__ import annotations

from tracescribe.evals.gold import GoldRole
from tracescribe.tracer.embedded.training import templates, world
from tracescribe.tracer.embedded.training.causal_model import ANSWER
from tracescribe.tracer.embedded.training.corpus import UNKNOWN_SPORT

_OPERATION_NAMES = {
    "antonym": ("antonym", "opposite", "opposite of"),
    "translation": ("translation", "translate", "same meaning"),
}
_LANGUAGE_NAMES = {
    "English": ("English", "anglais", "inglés"),
    "French": ("French", "français", "francés", "française"),
    "Spanish": ("Spanish", "espagnol", "español", "española"),
}
_VARIABLE_NAMES = {
    "a": ("number", "operand"),
    "b": ("number", "operand"),
    "repeated_name": ("repeated name", "repeated"),
}
"""How a variable may be called; the others by their own name."""


def label_of(variable: str, value: str) -> str:
    """The name that the gold itself uses."""
    return accepted_labels(variable, value)[0]


def accepted_labels(variable: str, value: str) -> tuple[str, ...]:
    """Every name that counts as right, the plainest first.

    The rule: a name is right if it means this value of this variable, whoever says it. A value is called by its words in
    every language of the corpus, a number by either numeral, a meaning by its concept too, an operation by the words that
    ask for it; and each may stand with the name of its variable, on either side. What merely goes with a value (the
    capital of a state) is no name of it.
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
        names = [f"say {value}", *names, f"answer {value}", f"the answer is {value}"]
    elif variable != "meaning":  # its values are called by words, of which there are many
        kinds = _VARIABLE_NAMES.get(variable, (variable,))
        names += [phrase for kind in kinds for name in names for phrase in (f"{kind} {name}", f"{name} {kind}")]
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
