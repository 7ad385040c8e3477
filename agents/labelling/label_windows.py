"""Contexts that a label's words are judged on: windows in which its feature fires, and two kinds in which it does not.

Random negatives come from any sentence in which the feature is silent; near misses from sentences in which the features
nearest to it fire and it does not. For fuzzing, each window has tokens marked: where the feature fires, or as many wrong
ones.

Source: windows, counts and marks as in Delphi (arXiv 2410.13928).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tracescribe.agents.labelling.unseen import Part
from tracescribe.tracer.graph import BoolArray, FeatureRef, FloatArray, IntArray

if TYPE_CHECKING:
    from tracescribe.agents.labelling.corpus_facts import CorpusFacts
    from tracescribe.agents.labelling.label_test_settings import LabelTestSettings
    from tracescribe.tracer.evidence_store import EvidenceStore

Kind = Literal["positive", "random", "near_miss"]
_STRONG = 0.3
"""Tokens are marked from this share of the window's largest activation, as in Delphi."""
MAX_CONTEXT_CHARS = 600
"""Where a context is cut that a model is shown: 32 tokens need some 200; only a hostile corpus reaches this."""


@dataclass(frozen=True, eq=False)
class Window:
    """A stretch of a sentence.

    Attributes:
        sentence: its number.
        at: its tokens in the corpus, ascending, BOS left out.
        kind: `positive` where the feature fires in it.
        marked: the tokens of it that fuzzing marks; of a positive, where the feature fires.
    """

    sentence: int
    at: IntArray
    kind: Kind
    marked: IntArray


def draw_windows(
    corpus: CorpusFacts,
    ref: FeatureRef,
    part: Part,
    settings: LabelTestSettings,
    min_positive: int,
    rng: np.random.Generator,
) -> tuple[Window, ...]:
    """Windows of one part of the test half, positives first; empty where the feature fires in too few sentences of it.

    Where near misses are too few, random negatives take their place.

    Args:
        min_positive: fewest sentences in which the feature fires, and in which it does not.
    """
    store = corpus.store
    positive, negative = corpus.unseen.pools(ref, part, min_positive)
    if len(positive) < min_positive or len(negative) < min_positive:
        return ()
    activation = store.dense(ref)
    fires = activation > 0
    near, lure = _near_misses(corpus, ref, negative, settings, rng)
    # chance may bring near misses among the random ones; what is drawn as one kind is not drawn as the other again
    others = rng.permutation(np.setdiff1d(negative, near))[: settings.n_random + settings.n_near_miss - len(near)]
    firing = rng.permutation(positive)[: settings.n_positive]
    found = [_around(store, s, "positive", fires, activation, settings.window, rng) for s in firing]
    n_wrong = math.ceil(np.mean([len(window.marked) for window in found]))
    nothing = np.zeros(store.n_tokens, dtype=np.bool_)
    silent = [_around(store, s, "near_miss", lure, None, settings.window, rng) for s in near]
    silent += [_around(store, s, "random", nothing, None, settings.window, rng) for s in others]
    return (*found, *(_wrongly_marked(window, n_wrong, rng) for window in silent))


def _near_misses(
    corpus: CorpusFacts, ref: FeatureRef, negative: IntArray, settings: LabelTestSettings, rng: np.random.Generator
) -> tuple[IntArray, BoolArray]:
    """Sentences of `negative` in which a near feature fires, drawn from each in turn; and where in the corpus they fire."""
    store = corpus.store
    lure = np.zeros(store.n_tokens, dtype=np.bool_)
    pools: list[IntArray] = []
    for other in corpus.firing_places(ref.layer).nearest(ref.feature, settings.n_neighbours):
        fires = store.dense(FeatureRef(ref.layer, other)) > 0
        lure |= fires
        pools.append(rng.permutation(np.intersect1d(store.token_sentence[fires], negative)))
    drawn: dict[int, None] = {}
    for turn in range(max((len(pool) for pool in pools), default=0)):
        for pool in pools:
            if turn < len(pool) and len(drawn) < settings.n_near_miss:
                drawn[int(pool[turn])] = None
        if len(drawn) >= settings.n_near_miss:
            break
    return np.array(list(drawn), dtype=np.int64), lure


def _around(
    store: EvidenceStore,
    sentence: int,
    kind: Kind,
    of_interest: BoolArray,
    activation: FloatArray | None,
    width: int,
    rng: np.random.Generator,
) -> Window:
    """A window of a sentence, around a token of interest if it has one, at a random place within the window.

    Args:
        of_interest: by token of the corpus; these tokens become the marks.
        activation: where given, the window holds its largest value in the sentence, and weak tokens are not marked.
    """
    span = np.arange(store.offsets[sentence] + store.origin.zero_positions, store.offsets[sentence + 1])
    if len(span) > width:
        here = np.flatnonzero(of_interest[span])
        centre = int(rng.choice(here)) if len(here) else int(rng.integers(len(span)))
        if activation is not None:
            centre = int(np.argmax(activation[span]))
        first = centre - int(rng.integers(width))
        first = min(max(first, 0), len(span) - width)
        span = span[first : first + width]
    marked = span[of_interest[span]]
    if activation is not None and len(marked):
        marked = marked[activation[marked] > _STRONG * float(activation[marked].max())]
    return Window(int(sentence), span, kind, marked)


def _wrongly_marked(window: Window, n_wrong: int, rng: np.random.Generator) -> Window:
    """The window with so many tokens marked, those of interest first."""
    first = rng.permutation(window.marked)
    rest = rng.permutation(np.setdiff1d(window.at, window.marked))
    return Window(window.sentence, window.at, window.kind, np.sort(np.concatenate([first, rest])[:n_wrong]))


def as_text(store: EvidenceStore, at: IntArray, marked: IntArray | Sequence[int] = ()) -> str:
    """Tokens of the corpus as text, the marked ones as `<<token>>`; marks that stand in the corpus are broken up."""
    chosen = frozenset(int(token) for token in marked)
    words = []
    for token in at:
        word = store.token_texts[int(store.token_ids[token])].replace("<<", "< <").replace(">>", "> >")
        words.append(f"<<{word}>>" if int(token) in chosen else word)
    return " ".join(words)[:MAX_CONTEXT_CHARS]
