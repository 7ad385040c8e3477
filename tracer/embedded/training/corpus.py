"""The corpus of the embedded model: sentences drawn from public facts, each with its latent variables.

A sample is one sentence of six tasks. Its *latents* are what a reader must know to continue it (the state behind a
city, the sum of two numbers); they are known exactly because the sentence was generated from them. Some combinations
never reach the training split, see `is_held_out_*`: what the model does on those it has computed, not remembered.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from tracescribe.tracer.embedded.training import templates, world

Split = Literal["train", "held_out", "any"]

BOS = "<bos>"
STOP = "."
SPECIAL_WORDS: tuple[str, ...] = ("<pad>", BOS, "<unk>", STOP)
"""The first four ids of the vocabulary, in this order."""
MAX_WORDS = 18
"""No sentence is longer, `<bos>` and the closing stop included."""

# Shares of the training text: the two geographies need most examples, having most facts.
TASK_SHARES: Mapping[str, float] = MappingProxyType(
    {"states": 0.32, "countries": 0.19, "antonyms": 0.18, "addition": 0.10, "indirect_objects": 0.10, "people": 0.11}
)
TASKS: tuple[str, ...] = tuple(TASK_SHARES)

# Shares of what is kept out of the training split.
STRICT_CITY_SHARE = 0.25  # cities that never occur in any two-hop sentence
HELD_OUT_PAIR_SHARE = 0.30  # (city, relation) pairs of the other cities
HELD_OUT_COMBINATION_SHARE = 0.15  # antonym, addition and indirect-object combinations
HELD_OUT_STRANGER_SHARE = 0.30  # names of nobody; the known athletes are all in the training split

UNKNOWN_SPORT = "unknown"
"""The answer for a name that belongs to none of the athletes."""


@dataclass(frozen=True)
class Latent:
    """One latent variable of a sample: its value, and the position from which on the text determines it."""

    value: str
    position: int


@dataclass(frozen=True)
class Sample:
    """One sentence with everything that is known about it.

    Attributes:
        task: one of `TASKS`.
        kind: the sort of sentence within the task (`two_hop`, `antonym`, `digit`, `known`, ...).
        template: the sentence with its slots open.
        words: all words, `<bos>` first, the answer, then the closing stop.
        answer: position of the answer; the prompt is everything before it.
        roles: role name -> position (`city`, `relation`, `word`, `final`, ...); `final` is the last word of the prompt.
        latents: name -> value and first position at which it is determined.
        held_out: whether this combination is kept out of the training split.
    """

    task: str
    kind: str
    template: str
    words: tuple[str, ...]
    answer: int
    roles: Mapping[str, int]
    latents: Mapping[str, Latent]
    held_out: bool

    @property
    def answer_word(self) -> str:
        """The word that continues the prompt."""
        return self.words[self.answer]

    @property
    def prompt(self) -> str:
        """The words before the answer, without `<bos>`, separated by spaces."""
        return " ".join(self.words[1 : self.answer])

    @property
    def sentence(self) -> str:
        """The whole sentence without `<bos>`, separated by spaces."""
        return " ".join(self.words[1:])

    def value(self, name: str) -> str:
        """Value of a latent.

        Raises:
            KeyError: the sample has no such latent.
        """
        return self.latents[name].value


def _chosen_by_key(share: float, *key: str) -> bool:
    """Deterministic coin: the same key falls on the same side in every process and Python version."""
    return zlib.crc32(repr(key).encode()) % 1000 < share * 1000


def is_strict_city(city: str) -> bool:
    """Whether a city is kept out of every two-hop sentence of the training split."""
    return _chosen_by_key(STRICT_CITY_SHARE, city)


def is_held_out_pair(city: str, relation: str) -> bool:
    """Whether a two-hop question is kept out of the training split."""
    return is_strict_city(city) or _chosen_by_key(HELD_OUT_PAIR_SHARE, city, relation)


def _compose(
    task: str,
    kind: str,
    template: str,
    slots: Mapping[str, str],
    latents: Mapping[str, tuple[str, Sequence[str]]],
    held_out: bool,
) -> Sample:
    """Fill a template. `latents`: name -> (value, roles whose words together determine it)."""
    words, roles = [BOS], {}
    for word in template.split():
        if word.startswith("{"):
            slot = word[1:-1]
            roles[slot] = len(words)
            word = slots[slot]
        words.append(word)
    answer = roles.pop("answer")
    roles["final"] = answer - 1
    known = {
        name: Latent(value, max(roles[role] for role in sources))
        for name, (value, sources) in latents.items()
        if all(role in roles and roles[role] < answer for role in sources)
    }
    return Sample(
        task, kind, template, (*words, STOP), answer, MappingProxyType(roles), MappingProxyType(known), held_out
    )


def _draw_place(rng: random.Random, task: str, fixed: Mapping[str, str]) -> Sample:
    table, variable = (world.STATES, "state") if task == "states" else (world.COUNTRIES, "country")
    relations = world.STATE_RELATIONS if task == "states" else world.COUNTRY_RELATIONS
    name = fixed.get(variable) or rng.choice(list(table))
    place = table[name]
    # The capital is asked twice as often for states: it is the relation with most distinct answers.
    relation = fixed.get("relation") or rng.choice(relations + relations[:1] * (task == "states"))
    kind = fixed.get("kind") or rng.choices(("two_hop", "direct", "city"), (0.6, 0.2, 0.2))[0]
    capital = (place.attributes["capital"],) if kind == "city" else ()
    city = fixed.get("city") or rng.choice(place.cities + capital)
    template = fixed.get("template") or rng.choice(templates.PLACE[task][kind])
    if kind == "city":
        return _compose(
            task,
            kind,
            template,
            {"city": city, "answer": name},
            {variable: (name, ["city"]), "city": (city, ["city"])},
            False,
        )
    answer = place.attributes[relation]
    slots = {variable: name, "city": city, "relation": relation, "answer": answer}
    latents: dict[str, tuple[str, list[str]]] = {"relation": (relation, ["relation"])}
    if kind == "direct":
        return _compose(task, kind, template, slots, latents | {variable: (name, [variable])}, False)
    latents |= {variable: (name, ["city"]), "city": (city, ["city"])}
    return _compose(task, kind, template, slots, latents, is_held_out_pair(city, relation))


def _draw_states(rng: random.Random, fixed: Mapping[str, str]) -> Sample:
    return _draw_place(rng, "states", fixed)


def _draw_countries(rng: random.Random, fixed: Mapping[str, str]) -> Sample:
    return _draw_place(rng, "countries", fixed)


def _draw_antonym(rng: random.Random, fixed: Mapping[str, str]) -> Sample:
    concept = fixed.get("concept") or rng.choice(world.CONCEPTS)
    pole = fixed.get("pole") or rng.choice(world.POLES)
    language = fixed.get("language") or rng.choice(world.LANGUAGES)
    kind = fixed.get("kind") or rng.choices(("antonym", "translation"), (0.7, 0.3))[0]
    sources = [x for x in world.LANGUAGES if kind == "antonym" or x != language]
    source = fixed.get("input_language") or rng.choice(sources)
    frames = templates.ANTONYM if kind == "antonym" else templates.TRANSLATION
    template = fixed.get("template") or rng.choice(frames[language])
    answer_pole = pole if kind == "translation" else opposite_pole(pole)
    slots = {
        "operation": templates.OPERATION_WORDS[kind, language],
        "word": world.LEXICON[concept, pole, source],
        "answer": world.LEXICON[concept, answer_pole, language],
    }
    # A sentence that begins with the word shows its language only at the end of the prompt.
    told_by = ["final"] if template.startswith("{word}") else ["word"]
    latents = {
        "concept": (concept, ["word"]),
        "meaning": (concept + pole, ["word"]),
        "input_language": (source, ["word"]),
        "operation": (kind, ["operation"]),
        "language": (language, told_by),
    }
    held_out = _chosen_by_key(HELD_OUT_COMBINATION_SHARE, concept, pole, source, language, kind)
    return _compose("antonyms", kind, template, slots, latents, held_out)


def _draw_addition(rng: random.Random, fixed: Mapping[str, str]) -> Sample:
    a = int(fixed["a"]) if "a" in fixed else rng.randint(0, world.MAX_OPERAND)
    b = int(fixed["b"]) if "b" in fixed else rng.randint(0, world.MAX_OPERAND)
    kind = fixed.get("kind") or rng.choice(("digit", "word"))
    numerals = world.DIGITS if kind == "digit" else world.NUMBER_WORDS
    template = fixed.get("template") or rng.choice(templates.ADDITION)
    slots = {"a": numerals[a], "b": numerals[b], "answer": numerals[a + b]}
    latents = {"a": (str(a), ["a"]), "b": (str(b), ["b"]), "sum": (str(a + b), ["a", "b"])}
    held_out = _chosen_by_key(HELD_OUT_COMBINATION_SHARE, str(a), str(b))
    return _compose("addition", kind, template, slots, latents, held_out)


def _draw_indirect_object(rng: random.Random, fixed: Mapping[str, str]) -> Sample:
    other, repeated = rng.sample(world.NAMES, 2)
    other, repeated = fixed.get("other_name", other), fixed.get("repeated_name", repeated)
    order = fixed.get("order") or rng.choice(("other_first", "repeated_first"))
    first, second = (other, repeated) if order == "other_first" else (repeated, other)
    template = fixed.get("template") or rng.choice(templates.INDIRECT_OBJECT)
    slots = {
        "first_name": first,
        "second_name": second,
        "subject": repeated,
        "answer": other,
        "place": rng.choice(world.PLACES),
        "object": rng.choice(world.OBJECTS),
    }
    latents = {
        "other_name": (other, ["subject"]),
        "repeated_name": (repeated, ["subject"]),
        "order": (order, ["subject"]),
    }
    held_out = _chosen_by_key(HELD_OUT_COMBINATION_SHARE, other, repeated)
    return _compose("indirect_objects", "indirect_object", template, slots, latents, held_out)


def _draw_person(rng: random.Random, fixed: Mapping[str, str]) -> Sample:
    if "first" in fixed:
        first, last = fixed["first"], fixed["last"]
    elif fixed.get("kind", rng.choice(("known", "unknown"))) == "known":
        first, last = rng.choice(list(world.ATHLETES))
    else:  # mostly strangers; now and then two names that do belong together
        first, last = rng.choice(world.FIRST_NAMES), rng.choice(world.LAST_NAMES)
    known = (first, last) in world.ATHLETES
    sport = world.ATHLETES.get((first, last), UNKNOWN_SPORT)
    template = fixed.get("template") or rng.choice(templates.PEOPLE)
    name = ["first", "last"]
    latents = {"known": ("yes" if known else "no", name), "sport": (sport, name)}
    if known:
        latents["person"] = (f"{first} {last}", name)
    held_out = not known and _chosen_by_key(HELD_OUT_STRANGER_SHARE, first, last)
    kind = "known" if known else "unknown"
    return _compose("people", kind, template, {"first": first, "last": last, "answer": sport}, latents, held_out)


_DRAW: Mapping[str, Callable[[random.Random, Mapping[str, str]], Sample]] = {
    "states": _draw_states,
    "countries": _draw_countries,
    "antonyms": _draw_antonym,
    "addition": _draw_addition,
    "indirect_objects": _draw_indirect_object,
    "people": _draw_person,
}


def opposite_pole(pole: str) -> str:
    """The other of the two poles of a concept."""
    return world.POLES[1 - world.POLES.index(pole)]


def draw(rng: random.Random, task: str, fixed: Mapping[str, str] | None = None) -> Sample:
    """Draw one sample of a task from either split, with some of its choices fixed.

    Args:
        rng: source of every choice that is not fixed.
        task: one of `TASKS`.
        fixed: choices by name: `kind`, `template`, and the task's own (`state`, `city`, `relation`; `concept`, `pole`,
            `input_language`, `language`; `a`, `b`; `other_name`, `repeated_name`, `order`; `first`, `last`). They are
            taken as given and must fit together.
    """
    return _DRAW[task](rng, fixed or {})


def sample(rng: random.Random, split: Split = "train", task: str | None = None) -> Sample:
    """Draw one sample of a split, of any task in the shares of `TASK_SHARES` or of the one named."""
    while True:
        chosen = task or rng.choices(TASKS, list(TASK_SHARES.values()))[0]
        drawn = draw(rng, chosen)
        if split == "any" or drawn.held_out == (split == "held_out"):
            return drawn


def vocabulary() -> tuple[str, ...]:
    """All words of the corpus: the special words, then the others in code-point order. The index is the token id."""
    words: set[str] = {UNKNOWN_SPORT, *world.NAMES, *world.PLACES, *world.OBJECTS, *world.MEANINGS, *world.SPORTS}
    for table in (world.STATES, world.COUNTRIES):
        for place in table.values():
            words |= {place.name, *place.cities, *place.attributes, *place.attributes.values()}
    words |= {
        *world.DIGITS,
        *world.NUMBER_WORDS,
        *world.FIRST_NAMES,
        *world.LAST_NAMES,
        *templates.OPERATION_WORDS.values(),
    }
    for template in templates.every_template():
        words |= {word for word in template.split() if not word.startswith("{")}
    return (*SPECIAL_WORDS, *sorted(words - set(SPECIAL_WORDS)))


def public_sentences(count: int, seed: int) -> list[str]:
    """Plain sentences of the training split, without latents: the text that anyone may read.

    Every sentence once; repeats of the finite world are drawn again.
    """
    rng, seen = random.Random(seed), dict[str, None]()
    while len(seen) < count:
        seen.setdefault(sample(rng, "train").sentence)
    return list(seen)
