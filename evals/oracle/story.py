"""What the causal model of a task says about which end moves which: the story that measured edges are held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tracescribe.tracer.embedded.training.causal_model import ANSWER
from tracescribe.tracer.embedded.training.corpus import Sample

_TOLD_BY: Mapping[str, tuple[str, ...]] = {
    "meaning": ("word",),
    "operation": ("operation",),
    "language": ("operation",),  # and every word of the frame: both are of the sentence's language
    "state": ("state", "city"),
    "country": ("country", "city"),
    "relation": ("relation",),
    "a": ("a",),
    "b": ("b",),
    "sum": (),
    "repeated_name": ("first_name", "second_name", "subject"),
    "sport": ("first", "last"),
}
"""Roles of the words that determine a variable, by themselves."""


@dataclass(frozen=True)
class Story:
    """Pairs that the causal model connects.

    Attributes:
        words: (position of a word, variable that it tells).
        variables: (variable, variable that is computed from it).
        by_pattern: those of `variables` that act on *where* attention looks.
    """

    words: frozenset[tuple[int, str]]
    variables: frozenset[tuple[str, str]]
    by_pattern: frozenset[tuple[str, str]]


def story_of(target: Sample, variables: tuple[str, ...]) -> Story:
    """The story of one prompt.

    Args:
        target: the prompt.
        variables: those of its causal model that have a home, `answer` among them.
    """
    words: set[tuple[int, str]] = set()
    for variable in variables:
        words |= {(target.roles[role], variable) for role in _TOLD_BY.get(variable, ()) if role in target.roles}
    if "language" in variables:
        drawn = {position for role, position in target.roles.items() if role != "final"}
        words |= {(position, "language") for position in range(1, target.answer) if position not in drawn}
    if target.task == "addition":  # whether the sum is said in digits or in words is read off the numerals
        words |= {(target.roles[role], ANSWER) for role in ("a", "b")}
    if target.task == "indirect_objects":  # the name that is not repeated is copied
        names = {target.words[target.roles[role]]: target.roles[role] for role in ("first_name", "second_name")}
        words.add((names[target.value("other_name")], ANSWER))
    pairs = {
        (variable, "sum" if variable in ("a", "b") and "sum" in variables else ANSWER)
        for variable in variables
        if variable != ANSWER
    }
    return Story(frozenset(words), frozenset(pairs), frozenset(pair for pair in pairs if pair[0] == "repeated_name"))
