"""Words that a language model proposes, matched to tokens that the studied model has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tracescribe.agents.survey import Survey

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools


@dataclass(frozen=True)
class Vocabulary:
    """Token texts that a proposed word may mean.

    Attributes:
        tokens: as the tokenizer writes them, some with a space in front.
    """

    tokens: frozenset[str]

    def find(self, word: str) -> str | None:
        """The token that a word means: itself, or the one token that equals it but for space around it."""
        if word in self.tokens:
            return word
        alike = self._bare.get(word.strip(), ())
        return alike[0] if len(alike) == 1 else None

    def split(self, words: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Known words as tokens, each once, and the words that are none."""
        found: dict[str, None] = {}
        unknown: list[str] = []
        for word in words:
            token = self.find(word)
            if token is None:
                unknown.append(word)
            else:
                found[token] = None
        return tuple(found), tuple(unknown)

    @cached_property
    def _bare(self) -> dict[str, tuple[str, ...]]:
        bare: dict[str, tuple[str, ...]] = {}
        for token in sorted(self.tokens):
            bare[token.strip()] = (*bare.get(token.strip(), ()), token)
        return bare


def vocabulary_of(tools: CaseTools, survey: Survey) -> Vocabulary:
    """The words of the corpus scan and of the prompt, and the outputs: what evidence and claims can speak about."""
    words = set(survey.full.tokens) | {target.token for target in survey.targets}
    if tools.store is not None:
        words |= set(tools.store.token_texts.values())
    return Vocabulary(frozenset(words))
