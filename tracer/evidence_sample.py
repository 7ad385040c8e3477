"""The reference sample: a random part of the corpus with every activation, small enough to be held in memory.

What only a full scan can tell (where a feature is silent, how often a word occurs, what a feature does on every token)
is asked of the sample, an `EvidenceStore`. It holds the windows of lowest priority, a hash of their tokens; a corpus
that fits is all of it.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracescribe.tracer.evidence_checkpoint import Checkpoint
from tracescribe.tracer.evidence_store import EvidenceStore
from tracescribe.tracer.feature_evidence import TopEffects
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.scanned_corpus import EvidenceOrigin
from tracescribe.tracer.transcoders import TranscoderSet

_WINDOWS_AT_ONCE = 1 << 16


class SampleChoice:
    """The windows of the reference sample: those of lowest priority, as many as the token limit allows."""

    def __init__(self, most_tokens: int) -> None:
        """Args:
        most_tokens: limit for all windows together.
        """
        self._most = most_tokens
        self._chosen: NDArray[Any] = np.zeros((0, 3), dtype=np.uint64)

    @property
    def windows(self) -> NDArray[np.int64]:
        """Numbers of the chosen windows, ascending."""
        return np.sort(self._chosen[:, 1].astype(np.int64))

    def choose(self, priority: NDArray[Any], window: NDArray[Any], length: NDArray[Any]) -> NDArray[np.bool_]:
        """Add windows to the candidates.

        What drops out never comes back: a longer list only moves the limit to lower priorities.

        Returns:
            Which of them are in the sample as it now stands, `[n]`.
        """
        for start in range(0, len(window), _WINDOWS_AT_ONCE):
            part = slice(start, start + _WINDOWS_AT_ONCE)
            rows = np.stack([np.asarray(column[part]).astype(np.uint64) for column in (priority, window, length)], 1)
            rows = np.concatenate([self._chosen, rows])
            rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
            self._chosen = rows[np.cumsum(rows[:, 2]) <= self._most]
        return np.isin(np.asarray(window), self.windows)


def write_sample(
    model: LanguageModel,
    transcoders: TranscoderSet,
    checkpoint: Checkpoint,
    most_tokens: int,
    effects: tuple[TopEffects, ...],
    folder: Path,
    plan: dict[str, Any],
) -> int:
    """Write the reference sample as an `EvidenceStore`.

    Args:
        model, transcoders: what was scanned with.
        checkpoint: the scan, all of the corpus done.
        most_tokens: of the sample.
        effects: by layer, the strongest logit effects of every feature.
        folder: where it goes.
        plan: all that the result depends on.

    Returns:
        How many windows it has; 0 writes nothing.

    Raises:
        EvidenceError: the checkpoint is damaged.
        OutputError: the folder cannot be written to.
    """
    log = checkpoint.windows()
    choice = SampleChoice(most_tokens)
    choice.choose(log.windows["priority"], np.arange(len(log.windows)), log.windows["length"])
    numbers = choice.windows
    if not len(numbers):
        return 0
    chosen = log.windows[numbers]
    lengths = chosen["length"].astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = np.concatenate([log.tokens[w["offset"] : w["offset"] + w["length"]] for w in chosen])
    entries = [_sample_entries(checkpoint, layer, numbers, offsets) for layer in range(model.n_layers)]
    lead = len(plan["settings"]["rules"]["lead"])
    ids = tokens["id"].astype(np.int64)
    texts = tuple(str(model.tokenizer.decode(ids[start + lead : stop])) for start, stop in pairwise(offsets))
    store = EvidenceStore(
        origin=EvidenceOrigin(
            model_id=model.model_id,
            model_sha256=model.weights_sha256,
            transcoder_id=transcoders.transcoder_id,
            transcoder_sha256=transcoders.sha256,
            corpus_sha256=checkpoint.state.digest,
            tracer_version=str(plan["tracer_version"]),
            zero_positions=int(plan["settings"]["zero_positions"]),
            test_share=float(plan["settings"]["rules"]["test_share"]),
            split_salt=str(plan["settings"]["rules"]["split_salt"]),
        ),
        corpus=texts,
        token_texts=_mentioned(model, [ids, tokens["next"].astype(np.int64)], effects),
        offsets=offsets,
        token_ids=ids,
        next_token_ids=tokens["next"].astype(np.int64),
        is_test=chosen["test"].astype(np.bool_),
        n_features=transcoders.n_features,
        entries=tuple(entries),
        effects=effects,
    )
    store.save(folder)
    return len(numbers)


def _sample_entries(
    checkpoint: Checkpoint, layer: int, numbers: NDArray[np.int64], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Token of the sample, feature and value of a layer's activations, sorted by token, then feature."""
    found = []
    for rows in checkpoint.sample_layer(layer):
        place = np.searchsorted(numbers, rows["window"]).clip(max=len(numbers) - 1)
        mine = numbers[place] == rows["window"]
        token = offsets[place[mine]] + rows["position"][mine]
        found.append((token, rows["feature"][mine].astype(np.int64), rows["value"][mine]))
    if not found:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    token, feature, value = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((feature, token))
    return token[order], feature[order], value[order]


def _mentioned(model: LanguageModel, ids: list[NDArray[np.int64]], effects: tuple[TopEffects, ...]) -> dict[int, str]:
    every = [*ids, *(e.promoted.ravel() for e in effects), *(e.suppressed.ravel() for e in effects)]
    return {int(i): model.token_text(int(i)) for i in np.unique(np.concatenate(every))}
