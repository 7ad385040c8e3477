"""Distractor prompts about people, names, numbers and words."""

from __future__ import annotations

import random

from tracescribe.evals.oracle.temptations import Temptation, TrapPrompt, filled
from tracescribe.tracer.embedded.training import world
from tracescribe.tracer.embedded.training.causal_model import ANSWER
from tracescribe.tracer.embedded.training.corpus import Sample, draw, opposite_pole

# -- people -----------------------------------------------------------------------------------------------------------


def _sports_of(place: int, name: str) -> tuple[str, ...]:
    return tuple(sorted({sport for names, sport in world.ATHLETES.items() if names[place] == name}))


def tempting_sports(drawn: Sample) -> tuple[Temptation, ...]:
    """Sports of athletes who share a name with somebody, other than their own."""
    first, last = (drawn.words[drawn.roles[role]] for role in ("first", "last"))
    found = [(first, sport) for sport in _sports_of(0, first)] + [(last, sport) for sport in _sports_of(1, last)]
    owner = {sport: name for name, sport in reversed(found) if sport != drawn.answer_word}
    return tuple(
        Temptation(variable, sport, f"{owner[sport]} is a name of {sport}, but {first} {last} is another person")
        for sport in sorted(owner)
        for variable in ("sport", ANSWER)
    )


def _person(rng: random.Random, first: str, last: str) -> TrapPrompt:
    drawn = draw(rng, "people", {"first": first, "last": last})
    return TrapPrompt(drawn, tempting_sports(drawn))


def known_surname(rng: random.Random) -> TrapPrompt:
    """A first name of nobody before the surname of an athlete."""
    return _person(rng, rng.choice(world.UNKNOWN_FIRST_NAMES), rng.choice([last for _, last in world.ATHLETES]))


def known_first_name(rng: random.Random) -> TrapPrompt:
    """The first name of an athlete before a surname of nobody."""
    return _person(rng, rng.choice([first for first, _ in world.ATHLETES]), rng.choice(world.UNKNOWN_LAST_NAMES))


def mixed_names(rng: random.Random) -> TrapPrompt:
    """Names of two athletes, mixed; half of the time both of one sport, so that everything points at it."""
    one_sport = rng.random() < 0.5
    while True:
        (first, _), (_, last) = rng.sample(list(world.ATHLETES), 2)
        same = len({*_sports_of(0, first), *_sports_of(1, last)}) == 1
        if (first, last) not in world.ATHLETES and same == one_sport:
            return _person(rng, first, last)


def shared_name(rng: random.Random) -> TrapPrompt:
    """An athlete whose first name or surname belongs to another athlete of another sport too."""
    shared = [
        names
        for names, sport in world.ATHLETES.items()
        if {*_sports_of(0, names[0]), *_sports_of(1, names[1])} - {sport}
    ]
    return _person(rng, *rng.choice(shared))


# -- indirect objects -------------------------------------------------------------------------------------------------

_THIRD_NAME = (
    "{third} , {first_name} and {second_name} met at the {place} and {subject} handed the {object} to {answer}",
    "after {first_name} and {second_name} left {third} , {subject} sent a {object} to {answer}",
    "when {third} met {first_name} and {second_name} , {subject} gave a {object} to {answer}",
)


def repeated_name(rng: random.Random) -> TrapPrompt:
    """The usual sentence: the repeated name tempts, being named twice and last."""
    return _with_repeated(draw(rng, "indirect_objects"))


def third_name(rng: random.Random) -> TrapPrompt:
    """One more name, which takes no part; the answer must still be the partner of the one that is repeated."""
    third, first, second = rng.sample(world.NAMES, 3)
    template = filled(rng.choice(_THIRD_NAME), third=third)
    drawn = draw(rng, "indirect_objects", {"other_name": first, "repeated_name": second, "template": template})
    trap = _with_repeated(drawn)
    why = f"{third} is named, but takes no part in what is done"
    return TrapPrompt(drawn, (*trap.temptations, Temptation(ANSWER, third, why)), unread=True)


def _with_repeated(drawn: Sample) -> TrapPrompt:
    name = drawn.value("repeated_name")
    return TrapPrompt(drawn, (Temptation(ANSWER, name, f"{name} is named twice, but is the one who gives"),))


# -- addition ---------------------------------------------------------------------------------------------------------


def equal_operands(rng: random.Random) -> TrapPrompt:
    """The same numeral twice: one concept in two places, and repeating it tempts."""
    number = str(rng.randint(1, world.MAX_OPERAND))
    drawn = draw(rng, "addition", {"a": number, "b": number})
    word = drawn.words[drawn.roles["a"]]
    return TrapPrompt(drawn, (Temptation(ANSWER, word, f"{word} stands there twice, but their sum is asked"),))


def zero_operand(rng: random.Random) -> TrapPrompt:
    """One operand is zero, so that the answer stands in the prompt: copying it tempts."""
    numbers = [str(rng.randint(1, world.MAX_OPERAND)), "0"]
    rng.shuffle(numbers)
    drawn = draw(rng, "addition", {"a": numbers[0], "b": numbers[1]})
    zero = drawn.words[drawn.roles["a" if numbers[0] == "0" else "b"]]
    return TrapPrompt(drawn, (Temptation(ANSWER, zero, "zero is named, but adds nothing"),))


# -- antonyms ---------------------------------------------------------------------------------------------------------


def other_language(rng: random.Random) -> TrapPrompt:
    """The word is of another language than the sentence: its opposite in its own language tempts."""
    language, source = rng.sample(world.LANGUAGES, 2)
    drawn = draw(rng, "antonyms", {"kind": "antonym", "language": language, "input_language": source})
    meaning = drawn.value("meaning")
    own = world.LEXICON[meaning[:-1], opposite_pole(meaning[-1]), source]
    why = f"the word is {source}, but the sentence is {language}"
    return TrapPrompt(drawn, (Temptation("language", source, why), Temptation(ANSWER, own, why)))


def own_translation(rng: random.Random) -> TrapPrompt:
    """The word is already of the language it is to be put into: the answer is the word, its opposite tempts."""
    language = rng.choice(world.LANGUAGES)
    drawn = draw(rng, "antonyms", {"kind": "translation", "language": language, "input_language": language})
    return TrapPrompt(drawn, _not_opposite(drawn), unread=True)


def not_opposite(rng: random.Random) -> TrapPrompt:
    """A translation: the opposite, which most sentences of the task ask for, tempts."""
    drawn = draw(rng, "antonyms", {"kind": "translation"})
    return TrapPrompt(drawn, _not_opposite(drawn))


def _not_opposite(drawn: Sample) -> tuple[Temptation, ...]:
    meaning, language = drawn.value("meaning"), drawn.value("language")
    opposite = world.LEXICON[meaning[:-1], opposite_pole(meaning[-1]), language]
    why = "the same meaning is asked, not the opposite one"
    return Temptation("operation", "antonym", why), Temptation(ANSWER, opposite, why)
