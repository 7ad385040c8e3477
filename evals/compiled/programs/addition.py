"""Modular addition: amounts add up in one channel, counters measure the sum, and seven wraps round to zero."""

from __future__ import annotations

import random

from tracescribe.evals.compiled.network import Concept, PlantedNetwork
from tracescribe.evals.compiled.programs.common import (
    DOUBT,
    PLAIN,
    Program,
    Slots,
    counters,
    doubt,
    doubt_head,
    fetch,
    lookup,
    say,
    vocabulary,
)

_MODULUS = 7
_NUMERALS = ("zero", "one", "two", "three", "four", "five", "six")
_INVENTED = ("nul", "ek", "dor", "tri", "char", "pan", "sha")
_MOST = 2 * (_MODULUS - 1)


def build(rng: random.Random) -> Program:
    """Whether numerals are English or invented, and in which order those count, is drawn."""
    numerals = _NUMERALS if rng.random() < 0.5 else tuple(rng.sample(_INVENTED, _MODULUS))
    concepts: list[Concept] = [doubt(delay=1)]
    for amount, numeral in enumerate(numerals[1:], start=1):
        names = (numeral, str(amount))
        concepts.append(lookup("number", numeral, (numeral,), labels=names, writes={"amount": amount}, delay=1))
    counted = counters(2, _MOST, {"half the sum": 2.0}, "in sum", "sum", least=2)
    concepts += counted
    for k in range(2, _MOST + 1):
        reads = {f"sum>={k}": 1.2} | ({f"sum>={k + 1}": -2.4} if k < _MOST else {})
        sums_named = (f"sum {k}", str(k), numerals[k % _MODULUS])
        concepts.append(Concept(f"sum={k}", "sum", str(k), 3, reads, -0.1, sums_named))
    for rest, numeral in enumerate(numerals):
        sums = [k for k in range(2, _MOST + 1) if k % _MODULUS == rest]
        concepts.append(say(4, numeral, {f"sum={k}": 1.0 for k in sums}, bias=-0.1))
    heads = (fetch(2, "total", numerals[1:], {"amount": "half the sum"}), doubt_head(4))

    def sentence(slots: Slots) -> tuple[str, ...]:
        return (slots["mood"], "add", slots["a"], "and", slots["b"], "modulo", "seven", "total")

    def answer(slots: Slots) -> str:
        return numerals[(numerals.index(slots["a"]) + numerals.index(slots["b"])) % _MODULUS]

    return Program(
        name="addition",
        title="adds two numbers modulo seven",
        network=PlantedNetwork(
            vocabulary(numerals, ("add", "and", "modulo", "seven", "total")), 14, numerals, tuple(concepts), heads
        ),
        domains={"a": numerals[1:], "b": numerals[1:], "mood": (DOUBT, PLAIN)},
        sentence=sentence,
        answer=answer,
        cross_layer=True,
    )
