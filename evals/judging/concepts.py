"""Words of every value of every variable, as the causal model has them: true labels, and near misses."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tracescribe.agents.claims import Predicate
from tracescribe.tracer.embedded.training.causal_model import code_name, sites, state_of
from tracescribe.tracer.embedded.training.corpus import TASKS, draw

SENTENCES_PER_TASK = 1500
"""Drawn to see which words stand for which value; every pair of a value and a word then occurs several times."""
ON: tuple[Literal["token", "next"], ...] = ("token", "next")
"""What a predicate may look at, in the order of `ConceptWords`' tables."""


@dataclass(frozen=True)
class ConceptWords:
    """Words by concept.

    Attributes:
        here: words that stand at the home of each value, most frequent first, by (variable, value).
        said: answers that follow from each value.
    """

    here: Mapping[tuple[str, str], tuple[str, ...]]
    said: Mapping[tuple[str, str], tuple[str, ...]]

    @classmethod
    def draw(cls, seed: int = 0) -> ConceptWords:
        """From freshly drawn sentences, whose variables are known."""
        rng = random.Random(f"concept words {seed}")
        here: dict[tuple[str, str], Counter[str]] = {}
        said: dict[tuple[str, str], Counter[str]] = {}
        for task in TASKS:
            for _ in range(SENTENCES_PER_TASK):
                sample = draw(rng, task, {})
                for site in sites(sample, state_of(sample)):
                    code = code_name(site.variable, site.value)
                    here.setdefault(code, Counter())[sample.words[sample.roles[site.role]]] += 1
                    said.setdefault(code, Counter())[sample.answer_word] += 1
        return cls({code: _first(words) for code, words in here.items()}, {c: _first(w) for c, w in said.items()})

    def predicates(self, variable: str, value: str) -> tuple[Predicate, ...]:
        """What may describe a feature that carries a value: the words it stands on, or the words that are said."""
        code = code_name(variable, value)
        tables = (self.here, self.said)
        return tuple(Predicate(on=on, words=table[code]) for on, table in zip(ON, tables, strict=True) if code in table)

    def neighbours(self, variable: str, value: str) -> tuple[str, ...]:
        """Other values of the same variable."""
        name = code_name(variable, value)[0]
        return tuple(sorted(other for kind, other in self.here if kind == name and other != value))


def _first(words: Counter[str]) -> tuple[str, ...]:
    return tuple(sorted(words, key=lambda word: (-words[word], word)))
