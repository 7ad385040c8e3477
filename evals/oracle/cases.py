"""Prompts of the oracle gold, and for each of their variables the prompts that give it another value.

Half of the prompts are held out of the embedded model's training text: what it does on them it has computed. Among
the others are distractors, in which a short cut is the truth: facts asked directly, and names of nobody.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from tracescribe.evals.oracle.temptations import Temptation
from tracescribe.evals.oracle.traps import SORTS
from tracescribe.evals.oracle.word_traps import tempting_sports
from tracescribe.tracer.embedded.training import templates, world
from tracescribe.tracer.embedded.training.causal_model import ANSWER, domain, state_of
from tracescribe.tracer.embedded.training.corpus import TASKS, UNKNOWN_SPORT, Sample, Split, draw

FIRST_CASE: Mapping[str, str] = {
    "state": "Texas",
    "city": "Dallas",
    "relation": "capital",
    "kind": "two_hop",
    "template": "the {relation} of the state containing {city} is {answer}",
}
"""The demo's prompt is always among the cases."""


@dataclass(frozen=True)
class Quota:
    """How many prompts of one sort are drawn.

    Attributes:
        kind: of sentence.
        split: from which they come; sorts of traps take no notice of it.
        count: how many.
        distractor: whether a short cut is the truth in them.
        trap: a sort of trap of `SORTS`, in place of the kind.
    """

    kind: str
    split: Split
    count: int
    distractor: bool = False
    trap: str = ""


QUOTAS: Mapping[str, tuple[Quota, ...]] = {
    "states": (
        Quota("two_hop", "held_out", 7),
        Quota("two_hop", "train", 1),
        Quota("direct", "train", 2, distractor=True),
        Quota("city", "train", 1),
    ),
    "countries": (
        Quota("two_hop", "held_out", 7),
        Quota("two_hop", "train", 2),
        Quota("direct", "train", 2, distractor=True),
        Quota("city", "train", 1),
    ),
    "antonyms": (
        Quota("antonym", "held_out", 5),
        Quota("translation", "held_out", 2),
        Quota("antonym", "train", 3),
        Quota("translation", "train", 2),
    ),
    "addition": (
        Quota("digit", "held_out", 4),
        Quota("word", "held_out", 3),
        Quota("digit", "train", 3),
        Quota("word", "train", 2),
    ),
    "indirect_objects": (Quota("indirect_object", "held_out", 7), Quota("indirect_object", "train", 5)),
    "people": (
        Quota("unknown", "held_out", 5, distractor=True),
        Quota("unknown", "train", 1, distractor=True),
        Quota("known", "train", 6),
    ),
}
"""Twelve prompts a task; the first case counts among the two-hop questions on states."""

_SECOND: Mapping[str, tuple[tuple[str, int], ...]] = {
    "states": (("two_hop", 3), ("two_places", 2), ("capital_named", 1), ("city_is_answer", 1), ("shared_answer", 1)),
    "countries": (("two_hop", 2), ("two_places", 2), ("capital_named", 1), ("city_is_answer", 1), ("shared_answer", 2)),
    "antonyms": (("antonym", 2), ("other_language", 3), ("not_opposite", 1), ("own_translation", 2)),
    "addition": (("digit", 2), ("word", 2), ("equal_operands", 2), ("zero_operand", 2)),
    "indirect_objects": (("indirect_object", 2), ("repeated_name", 2), ("third_name", 4)),
    "people": (("known", 2), ("known_surname", 2), ("known_first_name", 1), ("mixed_names", 2), ("shared_name", 1)),
}
SECOND_QUOTAS: Mapping[str, tuple[Quota, ...]] = {
    task: tuple(
        Quota("", "any", count, distractor=True, trap=name)
        if name in SORTS[task]
        else Quota(name, "train" if name == "known" else "held_out", count)
        for name, count in sorts
    )
    for task, sorts in _SECOND.items()
}
"""Eight more a task, drawn after agents had been developed on the first ones."""
SECOND_DRAW = "second_draw"
"""Tag of their cases."""


@dataclass(frozen=True)
class OracleCase:
    """One prompt with everything that its sentence tells, and what tempts in it."""

    sample: Sample
    tags: tuple[str, ...]
    temptations: tuple[Temptation, ...] = ()


def candidate_cases(rng: random.Random, task: str, quota: Quota) -> OracleCase:
    """Draw one prompt of a quota; the caller refuses repeats and prompts that the model answers wrongly."""
    if quota.trap:
        trap = SORTS[task][quota.trap](rng)
        held_out = trap.unread or trap.sample.held_out
        return OracleCase(trap.sample, (*_tags(trap.sample, held_out), "distractor", quota.trap), trap.temptations)
    while True:
        drawn = draw(rng, task, {"kind": quota.kind})
        if drawn.kind == quota.kind and drawn.held_out == (quota.split == "held_out"):
            tags = _tags(drawn, drawn.held_out)
            tempting = tempting_sports(drawn) if quota.kind == "unknown" else ()
            return OracleCase(drawn, (*tags, "distractor") if quota.distractor else tags, tempting)


def first_case(rng: random.Random) -> OracleCase:
    """The demo's prompt."""
    drawn = draw(rng, TASKS[0], FIRST_CASE)
    return OracleCase(drawn, _tags(drawn, drawn.held_out))


def _tags(drawn: Sample, held_out: bool) -> tuple[str, ...]:
    return (drawn.kind, "held_out" if held_out else "train")


def donor(rng: random.Random, target: Sample, variable: str, value: str) -> Sample | None:
    """A prompt that differs from the target in one variable, or None if the corpus has none.

    Everything else that the causal model knows stays; words that it does not know of (which city stands for a state,
    which object is given) are drawn anew.
    """
    fixed = {name: latent.value for name, latent in target.latents.items() if name != "city"}
    fixed |= {"kind": target.kind, "template": target.template}
    changed: dict[str, str] | None
    if target.task in ("states", "countries"):
        changed = _place_donor(target, fixed, variable, value)
    elif target.task == "antonyms":
        changed = _antonym_donor(fixed, variable, value)
    elif target.task == "addition":
        changed = _addition_donor(rng, fixed, variable, value)
    elif target.task == "indirect_objects":
        order = "repeated_first" if fixed["order"] == "other_first" else "other_first"  # both names keep their places
        changed = {"repeated_name": value, "other_name": fixed["repeated_name"], "order": order}
    else:
        changed = _person_donor(rng, value)
    return None if changed is None else draw(rng, target.task, fixed | changed)


def donors(rng: random.Random, target: Sample, variable: str) -> dict[str, Sample]:
    """Donors for every other value that a variable can take in this prompt, by value.

    `answer` has none of its own, its donors being those of the other variables, which ask for other answers. Only in
    indirect objects, where those are too few, they are prompts with every other name in the answer's place.
    """
    state = state_of(target)
    if variable == ANSWER:
        return _other_names(rng, target) if target.task == "indirect_objects" else {}
    values = (state.values["other_name"],) if variable == "repeated_name" else domain(target.task, variable)
    found = {value: donor(rng, target, variable, value) for value in values if value != state.values[variable]}
    return {value: drawn for value, drawn in found.items() if drawn is not None}


def _other_names(rng: random.Random, target: Sample) -> dict[str, Sample]:
    kept = {name: target.value(name) for name in ("repeated_name", "order")} | {"template": target.template}
    taken = (target.value("repeated_name"), target.value("other_name"))
    return {name: draw(rng, target.task, kept | {"other_name": name}) for name in world.NAMES if name not in taken}


def _place_donor(target: Sample, fixed: Mapping[str, str], variable: str, value: str) -> dict[str, str]:
    if variable == "relation":
        return {"relation": value} | ({"city": target.value("city")} if "city" in target.latents else {})
    return {variable: value}


def _antonym_donor(fixed: dict[str, str], variable: str, value: str) -> dict[str, str]:
    concept, pole = fixed["meaning"][:-1], fixed["meaning"][-1]
    kind, language = fixed["kind"], fixed["language"]
    changed = {"concept": concept, "pole": pole}
    if variable == "meaning":
        return {"concept": value[:-1], "pole": value[-1]}
    if variable == "operation":
        kind = value
        changed |= {"kind": value, "template": _frames(value)[language][0]}
    else:
        frames = _frames(kind)
        changed |= {"language": value, "template": frames[value][frames[language].index(fixed["template"])]}
        language = value
    if kind == "translation" and fixed["input_language"] == language:
        # one does not translate into the language of the word: the word is given in another one
        changed["input_language"] = next(x for x in world.LANGUAGES if x != language)
    return changed


def _frames(kind: str) -> Mapping[str, tuple[str, ...]]:
    return templates.ANTONYM if kind == "antonym" else templates.TRANSLATION


def _addition_donor(rng: random.Random, fixed: Mapping[str, str], variable: str, value: str) -> dict[str, str] | None:
    if variable != "sum":
        return {variable: value}
    total = int(value)
    pairs = [(a, total - a) for a in range(world.MAX_OPERAND + 1) if 0 <= total - a <= world.MAX_OPERAND]
    if not pairs:
        return None
    a, b = rng.choice(pairs)
    return {"a": str(a), "b": str(b)}


def _person_donor(rng: random.Random, value: str) -> dict[str, str] | None:
    if value != UNKNOWN_SPORT:
        athletes = [name for name, sport in world.ATHLETES.items() if sport == value]
        first, last = rng.choice(athletes)
        return {"first": first, "last": last}
    for _ in range(100):  # nearly every pair of names is nobody's
        first, last = rng.choice(world.FIRST_NAMES), rng.choice(world.LAST_NAMES)
        if (first, last) not in world.ATHLETES:
            return {"first": first, "last": last}
    return None
