"""Sentences that no labeller sees: the test half of the corpus, dealt for each feature into parts that share none.

* `score`: gives the scores that agents may look at, and the counter-examples of labels that are sent back;
* `rescore`: compares a label with the one that replaces it, on sentences that neither was made from;
* `claim`: kept for registered claims, so that no claim is tested on what suggested it.

Sentences are dealt by a hash of their text, so that a sentence lies in one part, however often it stands in the corpus.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from tracescribe.tracer.graph import BoolArray, FeatureRef, IntArray

if TYPE_CHECKING:
    from tracescribe.tracer.evidence_store import EvidenceStore

Part = Literal["score", "rescore", "claim"]


@dataclass(frozen=True, eq=False)
class UnseenHalf:
    """The test half of a scanned corpus.

    Attributes:
        store: the scanned corpus.
    """

    store: EvidenceStore

    @cached_property
    def _dealt(self) -> tuple[IntArray, IntArray]:
        """One number for each distinct sentence, in the order of hashes, and the part in which it lies as a negative."""
        first: dict[str, int] = {}
        for sentence in np.flatnonzero(self.store.is_test):
            first.setdefault(self.store.corpus[int(sentence)], int(sentence))
        hashed = sorted((hashlib.sha256(f"label part\0{text}".encode()).digest(), text) for text in first)
        parts = [_PARTS.index("claim") if h[0] % 2 else h[1] % 2 for h, _ in hashed]
        return np.array([first[text] for _, text in hashed], dtype=np.int64), np.array(parts, dtype=np.int64)

    @property
    def sentences(self) -> IntArray:
        """One number for each distinct sentence, in the order of the sentences' hashes."""
        return self._dealt[0]

    def pools(self, ref: FeatureRef, part: Part, min_positive: int) -> tuple[IntArray, IntArray]:
        """Sentences of one part: those in which a feature fires, and those in which it is silent.

        Every second of the sentences in which it fires, in the order of their hashes, is kept for the claim; the others
        are dealt in turn to `score` and `rescore`. A feature too rare for two parts is not scored at all: all of its
        sentences are kept for its claim; one too rare for three is scored, but never scored again.

        Args:
            min_positive: fewest sentences that make a part.
        """
        sentences, parts = self._dealt
        fires = self._fires_in(ref)[sentences]
        return deal(sentences[fires], part, min_positive), sentences[~fires & (parts == _PARTS.index(part))]

    def n_sentences(self, ref: FeatureRef) -> tuple[int, int]:
        """How many distinct unseen sentences a feature fires in, and how many it is silent in."""
        fires = int(self._fires_in(ref)[self.sentences].sum())
        return fires, len(self.sentences) - fires

    def _fires_in(self, ref: FeatureRef) -> BoolArray:
        """By sentence of the corpus, whether a feature fires in it."""
        found = np.zeros(self.store.n_sentences, dtype=np.bool_)
        found[self.store.token_sentence[self.store.dense(ref) > 0]] = True
        return found


_PARTS: tuple[Part, ...] = ("score", "rescore", "claim")


def deal(positive: IntArray, part: Part, min_positive: int) -> IntArray:
    """What falls to one part of the sentences in which a feature fires; see `UnseenHalf.pools`."""
    nothing = positive[:0]
    if len(positive) < 2 * min_positive:
        return positive if part == "claim" else nothing
    if part == "claim":
        return positive[1::2]
    rest = positive[0::2]
    if len(rest) < 2 * min_positive:
        return rest if part == "score" else nothing
    return rest[0::2] if part == "score" else rest[1::2]
