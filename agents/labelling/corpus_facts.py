"""Facts about the scanned corpus that every label needs and no label changes; counted once, on the labelling half.

The other half is here only as what it is dealt into (`unseen`): it tests labels, and is never counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from tracescribe.agents.labelling.near_misses import FiringPlaces, firing_places
from tracescribe.agents.labelling.unseen import UnseenHalf
from tracescribe.tracer.evidence_store import EvidenceStore
from tracescribe.tracer.graph import BoolArray, IntArray

FRAME_SHARE = 0.15
"""Words in more than this share of all sentences frame what is said, and name nothing."""


@dataclass(frozen=True, eq=False)
class CorpusFacts:
    """Counts over the labelling half of a corpus.

    Attributes:
        store: the scanned corpus.
    """

    store: EvidenceStore
    _places: dict[int, FiringPlaces] = field(default_factory=dict, repr=False)

    @cached_property
    def unseen(self) -> UnseenHalf:
        """The half that labels are tested on."""
        return UnseenHalf(self.store)

    @cached_property
    def labelling(self) -> BoolArray:
        """Tokens that count: of the labelling half, BOS aside, `[n_tokens]`."""
        return self.store.token_counts & ~self.store.token_in_test

    @cached_property
    def n_sentences(self) -> int:
        """Sentences of the labelling half."""
        return int((~self.store.is_test).sum())

    @cached_property
    def frame(self) -> frozenset[int]:
        """Ids of frame words, a full stop among them."""
        store, width = self.store, int(self.store.token_ids.max()) + 1
        pairs = np.unique(store.token_sentence[self.labelling] * width + store.token_ids[self.labelling])
        count = np.bincount(pairs % width)
        return frozenset(int(word) for word in np.flatnonzero(count > FRAME_SHARE * self.n_sentences))

    @cached_property
    def ends(self) -> IntArray:
        """Last word of every sentence that is no frame word, -1 where there is none, `[n_sentences of the corpus]`.

        Sentences of the test half count as having none.
        """
        store = self.store
        telling = np.flatnonzero(self.labelling & ~np.isin(store.token_ids, list(self.frame)))
        ends = np.full(store.n_sentences, -1, dtype=np.int64)
        ends[store.token_sentence[telling]] = store.token_ids[telling]  # the last assignment of a sentence stays
        return ends

    def firing_places(self, layer: int) -> FiringPlaces:
        """Where the features of a layer fire; kept.

        Raises:
            UnknownIdError: no such layer.
        """
        if layer not in self._places:
            self._places[layer] = firing_places(self.store, layer)
        return self._places[layer]

    def ids_of(self, word: str) -> tuple[int, ...]:
        """Token ids that read as a word."""
        return self._ids_by_text.get(word, ())

    @cached_property
    def _ids_by_text(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for token_id, text in self.store.token_texts.items():
            found[text] = (*found.get(text, ()), token_id)
        return found

    def sentences_with(self, word: str) -> IntArray:
        """Sentences of the labelling half in which a word stands, ascending."""
        here = self.labelling & np.isin(self.store.token_ids, self.ids_of(word))
        return np.unique(self.store.token_sentence[here]).astype(np.int64)

    def neighbours(self, words: tuple[str, ...]) -> IntArray:
        """Left and right neighbours, as one number for each occurrence of the words."""
        store = self.store
        ids = [i for word in words for i in self.ids_of(word)]
        at = np.flatnonzero(self.labelling & np.isin(store.token_ids, ids))
        at = at[(at > 0) & (at < store.n_tokens - 1)]
        width = int(store.token_ids.max()) + 1
        return np.asarray(store.token_ids[at - 1] * width + store.token_ids[at + 1], dtype=np.int64)
