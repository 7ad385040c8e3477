"""Which features are nearest to one: those that fire in places alike, and so on texts that a loose label takes for its own.

A place is known by three words: the one that a feature fires on, the one before it, and the one that the model is about
to say. A feature's places are counted over the labelling half; the likeness of two features is the mean cosine of their
counts. Features that share trigger words are near, and so are those that fire on other words between the same neighbours
(a city of another state). Decoders are not compared: what two features write says little about what they are mixed up on.

Source: 'hard' negatives from neighbouring latents, as in Delphi (arXiv 2410.13928); the likeness is this module's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracescribe.tracer.graph import IntArray

if TYPE_CHECKING:
    from tracescribe.tracer.evidence_store import EvidenceStore

Float64Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Slot:
    """How often each feature of a layer fires with each word in one slot of its place; one entry per pair, `[n_pairs]`.

    Attributes:
        feature, word, count: of each pair.
        norm: of each feature's counts, `[n_features]`.
    """

    feature: IntArray
    word: IntArray
    count: Float64Array
    norm: Float64Array


@dataclass(frozen=True, eq=False)
class FiringPlaces:
    """The places of all features of one layer.

    Attributes:
        n_features: of the layer.
        slots: of the word, the word before, and the word that the model is about to say.
    """

    n_features: int
    slots: tuple[_Slot, ...]

    def nearest(self, feature: int, n: int) -> tuple[int, ...]:
        """At most `n` features that fire in places most like those of this one, nearest first; none that shares none."""
        likeness = np.zeros(self.n_features)
        for slot in self.slots:
            if slot.norm[feature] == 0:
                continue
            mine = np.zeros(int(slot.word.max()) + 1)
            own = slot.feature == feature
            mine[slot.word[own]] = slot.count[own]
            dots = np.bincount(slot.feature, weights=slot.count * mine[slot.word], minlength=self.n_features)
            norms = slot.norm * slot.norm[feature]
            likeness += np.divide(dots, norms, out=np.zeros(self.n_features), where=norms > 0)
        likeness[feature] = 0.0
        order = np.lexsort((np.arange(self.n_features), -likeness))[:n]
        return tuple(int(other) for other in order if likeness[other] > 0)


def firing_places(store: EvidenceStore, layer: int) -> FiringPlaces:
    """Count the places of a layer's features over the labelling half.

    Raises:
        UnknownIdError: no such layer.
    """
    sentence, position, feature, _ = store.sparse(layer)
    token = store.offsets[sentence] + position
    mine = ~store.is_test[sentence] & (position > 0)  # BOS has no word before it, and nothing fires on it
    token, feature = token[mine], feature[mine]
    words = (store.token_ids[token], store.token_ids[token - 1], store.next_token_ids[token])
    n_features = store.n_features[layer]
    return FiringPlaces(n_features, tuple(_slot(feature, word, n_features) for word in words))


def _slot(feature: IntArray, word: IntArray, n_features: int) -> _Slot:
    width = int(word.max(initial=0)) + 1
    pairs, count = np.unique(feature.astype(np.int64) * width + word, return_counts=True)
    of_feature, weight = pairs // width, count.astype(np.float64)
    norm = np.sqrt(np.bincount(of_feature, weights=weight**2, minlength=n_features))
    return _Slot(of_feature, pairs % width, weight, norm)
