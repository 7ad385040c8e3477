"""Residual streams that probes are made from: sentences of the corpus's labelling half, and the prompt itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tracescribe.agents.labelling.corpus_facts import CorpusFacts
from tracescribe.tracer.graph import IntArray

if TYPE_CHECKING:
    from torch import Tensor

    from tracescribe.agents.case_tools import CaseTools

Array = NDArray[np.float64]
BATCH = 64
"""Sentences of one forward pass."""
NEGATIVES = 4
"""Tokens of other sentences for each token on the way to a concept."""
ASIDE = 0.3
"""Share of the sentences that a probe is not made from."""


@dataclass(frozen=True, eq=False)
class Streams:
    """Examples of one concept.

    Attributes:
        values: by layer, the residual stream behind it, `[n, d_model]`.
        positive: whether the token stands on the way to the concept, `[n]`.
        aside: whether its sentence is kept aside, `[n]`.
    """

    values: Mapping[int, Array]
    positive: NDArray[np.bool_]
    aside: NDArray[np.bool_]


def training_data(
    tools: CaseTools,
    corpus: CorpusFacts,
    words: Sequence[str],
    n_sentences: int,
    layers: Sequence[int],
    rng: np.random.Generator,
) -> dict[str, Streams]:
    """Examples of every word that stands in at least two sentences of the labelling half.

    Args:
        n_sentences: with each word, at most; other sentences are shared by all words.

    Raises:
        BudgetExceededError: the forward passes are used up.
    """
    store = corpus.store
    counted = np.unique(store.token_sentence[corpus.labelling])
    common = rng.permutation(counted)[: NEGATIVES * n_sentences]
    with_word = {word: rng.permutation(corpus.sentences_with(word))[:n_sentences] for word in words}
    with_word = {word: found for word, found in with_word.items() if len(found) >= 2}
    if not with_word:
        return {}
    read = np.unique(np.concatenate([common, *with_word.values()]))
    place = np.full(store.n_sentences, -1)
    starts = np.searchsorted(store.token_sentence, read)
    ends = np.searchsorted(store.token_sentence, read, side="right")
    place[read] = np.concatenate([[0], np.cumsum(ends - starts)[:-1]]) - starts  # of a token: its own number plus this
    values = _streams(tools, [store.token_ids[s:e] for s, e in zip(starts, ends, strict=True)], layers)
    return {word: _examples(corpus, word, found, common, place, values, rng) for word, found in with_word.items()}


def prompt_streams(tools: CaseTools, layers: Sequence[int]) -> dict[int, Array]:
    """The case's own residual stream behind each layer, `[n_pos, d_model]`."""
    return _streams(tools, [tools.clean().tokens.cpu().numpy()], layers)


def _examples(
    corpus: CorpusFacts,
    word: str,
    sentences: IntArray,
    common: IntArray,
    place: IntArray,
    values: Mapping[int, Array],
    rng: np.random.Generator,
) -> Streams:
    """Tokens up to the word that name something, and the one before it; against any token of sentences without it."""
    store = corpus.store
    ids, frame = corpus.ids_of(word), list(corpus.frame)
    positive: list[int] = []
    for sentence in sentences:
        tokens = np.flatnonzero(store.token_sentence == sentence)
        first = int(np.flatnonzero(np.isin(store.token_ids[tokens], ids))[0])
        telling = ~np.isin(store.token_ids[tokens], frame)
        chosen = [i for i in range(first + 1) if telling[i] or i == first - 1]
        positive += [int(tokens[i]) for i in chosen if corpus.labelling[tokens[i]]]
    others = np.setdiff1d(common, corpus.sentences_with(word))
    pool = np.flatnonzero(np.isin(store.token_sentence, others) & corpus.labelling)
    negative = rng.permutation(pool)[: NEGATIVES * len(positive)]
    chosen_tokens = np.concatenate([np.array(positive, dtype=np.int64), negative])
    of = store.token_sentence[chosen_tokens]
    parts = rng.permutation(np.unique(of))
    # sentences with and without the word are kept aside alike, so that both parts know both
    aside = np.concatenate([half[: round(ASIDE * len(half))] for half in _split(parts, sentences)])
    rows = place[of] + chosen_tokens
    return Streams(
        values={layer: stream[rows] for layer, stream in values.items()},
        positive=np.arange(len(chosen_tokens)) < len(positive),
        aside=np.isin(of, aside),
    )


def _split(parts: IntArray, sentences: IntArray) -> tuple[IntArray, IntArray]:
    inside = np.isin(parts, sentences)
    return parts[inside], parts[~inside]


def _streams(tools: CaseTools, sentences: Sequence[IntArray], layers: Sequence[int]) -> dict[int, Array]:
    """The residual stream behind each layer at every token, sentence after sentence, `[n_tokens, d_model]`.

    Raises:
        BudgetExceededError: the forward passes are used up.
    """
    import torch

    from tracescribe.tracer.module_hooks import hooked

    model = tools.model
    tools.charge_passes(len(sentences))
    found: dict[int, list[Array]] = {layer: [] for layer in layers}
    last: list[Any] = []

    def keep_last(x: Tensor | None, output: Any) -> None:
        last.append(x)

    for start in range(0, len(sentences), BATCH):
        part = sentences[start : start + BATCH]
        width = max(map(len, part))
        batch = torch.zeros(len(part), width, dtype=torch.int64)  # causal: what stands behind changes nothing
        for row, ids in enumerate(part):
            batch[row, : len(ids)] = torch.as_tensor(np.asarray(ids, dtype=np.int64))
        last.clear()
        hf: Any = model.hf
        with torch.inference_mode(), hooked([(model.architecture.final_norm.module, keep_last)]):
            states = hf(input_ids=batch.to(model.device), output_hidden_states=True, use_cache=False).hidden_states
        for layer in layers:
            # entry i is the stream before layer i; what comes last has passed the final norm
            stream = last[0] if layer == model.n_layers - 1 else states[layer + 1]
            values = stream.double().cpu().numpy()
            found[layer] += [values[row, : len(ids)] for row, ids in enumerate(part)]
    return {layer: np.concatenate(rows) for layer, rows in found.items()}
