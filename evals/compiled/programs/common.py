"""What all programs are made of: a program's type, and the units and heads that several of them need."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tracescribe.evals.compiled.network import (
    BOS,
    REST,
    SPECIAL,
    Concept,
    Head,
    Match,
    PlantedNetwork,
    out_channel,
    position_channel,
    token_channel,
)
from tracescribe.evals.gold import GoldRole

Slots = Mapping[str, str]
"""Everything that decides one sentence."""
DOUBT, PLAIN = "perhaps", "surely"
"""How sentences begin: the first lowers every answer of every program, the second does nothing."""
LOGIT = 12.0
"""Logit that a unit of an answer's activation adds: one in 1 e^12 weighs more than all other words together."""
_HALF = 0.5


@dataclass(frozen=True, eq=False)
class Program:
    """An algorithm with its sentences.

    Attributes:
        name: file-name safe.
        title: what it does, in words.
        network: what carries it out.
        domains: values of each slot.
        sentence: the words of slots, without `<bos>`, up to the one before the answer.
        answer: the algorithm itself: the answer of slots, computed without the network.
        valid: whether slots make a sentence.
        cross_layer: whether its transcoder writes across layers.
    """

    name: str
    title: str
    network: PlantedNetwork
    domains: Mapping[str, tuple[str, ...]]
    sentence: Callable[[Slots], tuple[str, ...]]
    answer: Callable[[Slots], str]
    valid: Callable[[Slots], bool] = lambda slots: True
    cross_layer: bool = False

    def draw(self, rng: random.Random) -> dict[str, str]:
        """Slots of a random sentence."""
        while True:
            slots = {name: rng.choice(values) for name, values in self.domains.items()}
            if self.valid(slots):
                return slots


def vocabulary(*groups: Iterable[str]) -> tuple[str, ...]:
    """All words of a program, each once, those that every vocabulary begins with left out."""
    words = dict.fromkeys((DOUBT, PLAIN, *(word for group in groups for word in group)))
    return tuple(word for word in words if word not in SPECIAL)


def lookup(
    variable: str,
    value: str,
    words: Sequence[str],
    *,
    labels: Sequence[str] = (),
    role: GoldRole = "input",
    writes: Mapping[str, float] | None = None,
    spread: bool = False,
    delay: int = 0,
    name: str = "",
) -> Concept:
    """A unit of the first layer that fires, with 1, where one of some words stands."""
    return Concept(
        name=name or f"{variable}={value}",
        variable=variable,
        value=value,
        layer=0,
        reads={token_channel(word): 2 * _HALF + _HALF for word in words},
        bias=-_HALF,
        labels=tuple(labels) or (value,),
        role=role,
        writes=writes or {},
        spread=spread,
        delay=delay,
    )


def say(layer: int, word: str, reads: Mapping[str, float], bias: float = -0.3) -> Concept:
    """A unit that raises the logit of an answer, less so in doubt."""
    return Concept(
        name=f"say={word}",
        variable="answer",
        value=word,
        layer=layer,
        reads={**reads, DOUBT_HERE: -0.25},
        bias=bias,
        labels=(f"say {word}", word),
        role="output",
        writes={out_channel(word): LOGIT},
    )


DOUBT_HERE = "doubt here"
"""Channel of the doubt at the words that follow."""


def doubt(delay: int = 0) -> Concept:
    """The unit that reads the word of doubt."""
    return lookup("doubt", DOUBT, (DOUBT,), labels=(DOUBT, "doubt"), role="suppressor", delay=delay)


def doubt_head(layer: int) -> Head:
    """The head that carries the doubt to every later word."""
    return Head(layer, (Match("", token_channel(DOUBT)), _rest()), {f"doubt={DOUBT}": DOUBT_HERE})


def fetch(layer: int, at: str, words: Iterable[str], moves: Mapping[str, str]) -> Head:
    """A head that looks, from one word, at some words, all of them alike."""
    matches = tuple(Match(token_channel(at), token_channel(word)) for word in words)
    return Head(layer, (*matches, _rest()), dict(moves))


def fetch_from(layer: int, at: Iterable[str], key: Iterable[str], moves: Mapping[str, str]) -> Head:
    """A head that looks from any of some words at any of others."""
    asking, asked = tuple(at), tuple(key)
    matches = tuple(Match(token_channel(a), token_channel(k)) for a in asking for k in asked)
    return Head(layer, (*matches, _rest()), dict(moves))


def previous(layer: int, max_positions: int, moves: Mapping[str, str]) -> Head:
    """A head that looks at the word before."""
    pairs = ((position_channel(p), position_channel(p - 1)) for p in range(1, max_positions))
    return Head(layer, tuple(Match(query, key) for query, key in pairs), dict(moves))


def by_content(layer: int, pairs: Iterable[tuple[str, str]], moves: Mapping[str, str]) -> Head:
    """A head that looks where a key channel fits a query channel."""
    return Head(layer, (*(Match(query, key) for query, key in pairs), _rest()), dict(moves))


def _rest() -> Match:
    return Match("", token_channel(BOS), REST)


def counters(
    layer: int, most: int, count: Mapping[str, float], noun: str, variable: str, least: int = 1
) -> tuple[Concept, ...]:
    """Units that fire where a count is at least k, with how far it is above k - 1, for k from `least` to `most`."""
    return tuple(
        Concept(
            name=f"{variable}>={k}",
            variable=f"{variable} at least {k}",
            value="yes",
            layer=layer,
            reads=dict(count),
            bias=-(k - 1) - 0.05,
            labels=(f"at least {k} {noun}".strip(), f"at least {k}", f"{k} or more", f">= {k}"),
        )
        for k in range(least, most + 1)
    )
