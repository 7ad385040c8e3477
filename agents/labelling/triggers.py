"""Counting what a feature responds to: the words it fires on, the words it foretells, the words it follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from tracescribe.tracer.graph import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from tracescribe.agents.labelling.corpus_facts import CorpusFacts
    from tracescribe.tracer.evidence_store import EvidenceStore

Float64Array = NDArray[np.float64]


MIN_HUB_WORDS = 4
"""Fewest words among which a hub is looked for."""
MIN_ENDINGS = 3
"""Fewest sentences that can show what a feature's sentences end in."""
ALWAYS = 0.9
"""Share of sentences that counts as all of them: corpora have slips."""


@dataclass(frozen=True, eq=False)
class Firing:
    """One feature in the labelling half of the corpus; arrays over the half's tokens (BOS left out), `[n]`.

    Attributes:
        token: ids.
        following: the model's most probable next token.
        sentence: sentence of each token.
        activation: of the feature.
        fires: whether it fires strongly.
    """

    token: IntArray
    following: IntArray
    sentence: IntArray
    activation: FloatArray
    fires: BoolArray


@dataclass(frozen=True)
class Triggers:
    """Words that tell where a feature fires.

    Attributes:
        on: what of a token is looked at; as in `Predicate`.
        words: token ids, by activation mass, largest first.
        mass: share of the feature's activation on each word, among these words, `len(words)`.
        f1: of the best set of words as a detector of firing, on what was counted.
        kept_f1: of these words, which are fewer where the best set was cut short.
    """

    on: Literal["token", "previous", "next"]
    words: tuple[int, ...]
    mass: tuple[float, ...]
    f1: float
    kept_f1: float


def read_firing(store: EvidenceStore, activation: FloatArray, strong_share: float, shown: Sequence[int] = ()) -> Firing:
    """Cut a feature's activations, `[n_tokens]` of the whole corpus, down to the labelling half.

    Args:
        strong_share: a firing counts as strong from this share of the feature's largest activation there.
        shown: sentences of the test half that count as well: counter-examples, with which a label came back.
    """
    mine = store.token_counts & ~store.token_in_test
    if shown:
        mine |= store.token_counts & np.isin(store.token_sentence, list(shown))
    here = activation[mine]
    fires = here > strong_share * float(here.max(initial=0.0))
    return Firing(store.token_ids[mine], store.next_token_ids[mine], store.token_sentence[mine], here, fires)


def word_triggers(
    firing: Firing, on: Literal["token", "next"], vocabulary: int, max_words: int, min_precision: float
) -> Triggers:
    """The set of words with the best F1 score as a detector.

    For disjoint sets the best F1 is reached by taking words in order of precision; the best prefix is kept.

    Source: Lipton, Elkan and Naryanaswamy 2014, arXiv 1402.1892 (thresholding for F1).
    """
    word = firing.token if on == "token" else firing.following
    count = np.bincount(word, minlength=vocabulary)
    hits = np.bincount(word[firing.fires], minlength=vocabulary)
    mass = np.bincount(word, weights=firing.activation * firing.fires, minlength=vocabulary).astype(np.float64)
    found = np.flatnonzero(hits)
    precision = hits[found] / count[found]
    found, precision = found[precision >= min_precision], precision[precision >= min_precision]
    order = np.lexsort((found, -hits[found], -precision))
    ranked = found[order]
    n_fires = int(firing.fires.sum())
    tp, taken = np.cumsum(hits[ranked]), np.cumsum(count[ranked])
    f1 = 2.0 * tp / np.maximum(taken + n_fires, 1)
    best = int(np.argmax(f1)) + 1 if len(ranked) else 0
    words = sorted((int(w) for w in ranked[:best]), key=lambda w: (-mass[w], w))[:max_words]
    total = float(mass[words].sum()) if words else 0.0
    share = tuple(float(mass[w]) / total for w in words) if total > 0 else tuple(1 / len(words) for _ in words)
    kept = 2.0 * float(hits[words].sum()) / max(1.0, float(count[words].sum()) + n_fires) if words else 0.0
    return Triggers(on, tuple(words), share, float(f1[best - 1]) if best else 0.0, kept)


def previous_triggers(firing: Firing, window: int, max_words: int, n_candidates: int = 16) -> Triggers:
    """Words that stand among the `window` tokens before the feature fires, and seldom elsewhere; greedy by F1."""
    n = len(firing.token)
    at = np.flatnonzero(firing.fires)
    if not len(at):
        return Triggers("previous", (), (), 0.0, 0.0)
    back = at[:, None] - np.arange(1, window + 1)[None, :]
    inside = (back >= 0) & (firing.sentence[np.maximum(back, 0)] == firing.sentence[at][:, None])
    before = np.bincount(firing.token[back[inside]])
    lift = before / np.maximum(np.bincount(firing.token, minlength=len(before))[: len(before)], 1)
    candidates = np.lexsort((np.arange(len(lift)), -lift * np.sqrt(before)))[:n_candidates]
    masks = {int(w): _seen_before(firing, int(w), window) for w in candidates if before[w]}
    chosen: list[int] = []
    union = np.zeros(n, dtype=np.bool_)
    best = 0.0
    while len(chosen) < max_words:
        gains = {w: _f1(firing.fires, union | mask) for w, mask in masks.items() if w not in chosen}
        word = max(gains, key=lambda w: (gains[w], -w), default=None)
        if word is None or gains[word] <= best + 0.01:
            break
        best, union = gains[word], union | masks[word]
        chosen.append(word)
    mass = [float(firing.activation[masks[w]].sum()) for w in chosen]
    order = sorted(range(len(chosen)), key=lambda i: (-mass[i], chosen[i]))
    total = sum(mass) or 1.0
    return Triggers("previous", tuple(chosen[i] for i in order), tuple(mass[i] / total for i in order), best, best)


def _seen_before(firing: Firing, word: int, window: int) -> BoolArray:
    """Where a word stands among the `window` tokens before, in the same sentence."""
    seen = np.zeros(len(firing.token), dtype=np.bool_)
    for at in np.flatnonzero(firing.token == word):
        stop = min(at + 1 + window, len(seen))
        seen[at + 1 : stop] |= firing.sentence[at + 1 : stop] == firing.sentence[at]
    return seen


def _f1(truth: BoolArray, told: BoolArray) -> float:
    hit = int((truth & told).sum())
    return 2 * hit / max(1, int(truth.sum()) + int(told.sum()))


def mass_by_word(firing: Firing, min_share: float) -> tuple[int, ...]:
    """Words with at least this share of a feature's strong activation, largest first."""
    mass = np.bincount(firing.token, weights=firing.activation * firing.fires)
    total = float(mass.sum())
    return tuple(int(w) for w in np.argsort(-mass, kind="stable") if total > 0 and mass[w] >= min_share * total)


def last_word(corpus: CorpusFacts, firing: Firing, min_share: float) -> int | None:
    """The word that nearly all sentences end in which the feature fires, unless sentences in general end so.

    A feature that fires on many names, all of them of people whom the corpus calls unknown, is about the unknown.

    Args:
        min_share: share of the sentences that must end in the word; three times the word's share of all sentences is
            needed besides.
    """
    ends = corpus.ends[corpus.ends >= 0]
    here = corpus.ends[np.unique(firing.sentence[firing.fires])]
    here = here[here >= 0]
    if len(here) < MIN_ENDINGS:
        return None
    word = int(np.bincount(here).argmax())
    share, base = float((here == word).mean()), float((ends == word).mean())
    return word if share >= min_share and share >= 3 * base else None


def hub_word(corpus: CorpusFacts, firing: Firing, words: Sequence[int], ratio: float) -> int | None:
    """The word that the others' sentences mention, if one stands out.

    A feature that fires on Dallas, Houston, Lubbock and Texas is about Texas: sentences on each of the cities mention
    Texas, but none mentions two cities. A word scores by the share of the others that it meets, squared, times the root of
    how often the feature fires on it. A word that meets the others only in the company of one further word (Austin, always
    together with 'capital') is what a relation makes of the concept, not the concept; where all words meet in company, that
    tells none of them apart.

    Args:
        corpus: what is counted.
        words: token ids that the feature fires on; fewer than four are too few to tell a hub from a chance meeting.
        ratio: how many times the runner-up's score the hub must reach.
    """
    if len(words) < MIN_HUB_WORDS:
        return None
    store = corpus.store
    token, sentence = store.token_ids[corpus.labelling], store.token_sentence[corpus.labelling]
    present = np.zeros((len(words), store.n_sentences), dtype=np.bool_)
    for row, word in enumerate(words):
        present[row, sentence[token == word]] = True
    scores, alone = np.zeros(len(words)), np.zeros(len(words), dtype=np.bool_)
    for row, word in enumerate(words):
        others = np.delete(np.arange(len(words)), row)
        meetings = present[row] & present[others].any(axis=0)
        met = float((present[others] & present[row]).any(axis=1).mean())
        scores[row] = met**2 * np.sqrt(firing.fires[firing.token == word].mean())
        alone[row] = met > 0 and not _always_with(corpus, meetings, words)
    if alone.any():
        scores[~alone] = 0.0
    order = np.argsort(-scores, kind="stable")
    first, second = float(scores[order[0]]), float(scores[order[1]])
    return int(words[order[0]]) if first > 0 and first >= ratio * second else None


def _always_with(corpus: CorpusFacts, meetings: BoolArray, words: Sequence[int]) -> bool:
    """Whether nearly all these sentences, `[n_sentences]`, share one word that is neither a frame word nor of `words`."""
    store = corpus.store
    inside = corpus.labelling & meetings[store.token_sentence] & ~np.isin(store.token_ids, [*corpus.frame, *words])
    width = int(store.token_ids.max()) + 1
    pairs = np.unique(store.token_sentence[inside] * width + store.token_ids[inside])
    count = np.bincount(pairs % width, minlength=1)
    return bool(count.max() >= ALWAYS * max(1, int(meetings.sum())))
