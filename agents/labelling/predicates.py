"""Predicates as code: where in a text they hold, and where in a scanned corpus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tracescribe.agents.claims import Predicate
from tracescribe.tracer.graph import BoolArray, IntArray

if TYPE_CHECKING:
    from tracescribe.agents.labelling.corpus_facts import CorpusFacts


def holds(predicate: Predicate, tokens: Sequence[str], next_tokens: Sequence[str]) -> BoolArray:
    """Where a predicate holds in one text.

    Args:
        predicate: the condition.
        tokens: of the text, `[n_tokens]`.
        next_tokens: the model's most probable next token after each of them, `[n_tokens]`.

    Returns:
        `[n_tokens]`.
    """
    words = frozenset(predicate.words)
    if predicate.on == "token":
        return np.array([token in words for token in tokens], dtype=np.bool_)
    if predicate.on == "next":
        return np.array([token in words for token in next_tokens], dtype=np.bool_)
    here = np.array([token in words for token in tokens], dtype=np.int64)
    before = np.concatenate([[0], np.cumsum(here)])
    index = np.arange(len(tokens))
    window_start = np.maximum(index - predicate.window, 0)
    return np.asarray(before[index] - before[window_start] > 0, dtype=np.bool_)


def holds_at(corpus: CorpusFacts, predicate: Predicate, at: IntArray) -> BoolArray:
    """Where a predicate holds in the corpus: the same as `holds` on each sentence, for chosen tokens at once.

    Args:
        at: indices of tokens in the corpus, `[n]`.

    Returns:
        `[n]`.
    """
    store = corpus.store
    ids = [i for word in predicate.words for i in corpus.ids_of(word)]
    if predicate.on == "token":
        return np.asarray(np.isin(store.token_ids[at], ids), dtype=np.bool_)
    if predicate.on == "next":
        return np.asarray(np.isin(store.next_token_ids[at], ids), dtype=np.bool_)
    start = store.offsets[store.token_sentence[at]]
    met = np.zeros(len(at), dtype=np.bool_)
    for step in range(
        1, predicate.window + 1
    ):  # one step at a time: a large corpus times a window is too large a table
        back = at - step
        met |= (back >= start) & np.isin(store.token_ids[np.maximum(back, 0)], ids)
    return met


def in_words(predicate: Predicate) -> str:
    """A predicate in plain English."""
    words = " / ".join(f"'{word}'" for word in predicate.words)
    match predicate.on:
        case "token":
            return f"the word is {words}"
        case "previous":
            return f"{words} came among the last {predicate.window} words"
        case "next":
            return f"the model is about to say {words}"
