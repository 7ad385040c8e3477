"""A corpus after the scan, as arrays: sentences, tokens, and every activation of every feature, kept sparsely."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tracescribe.tracer.errors import UnknownIdError
from tracescribe.tracer.feature_evidence import TopEffects
from tracescribe.tracer.graph import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class EvidenceOrigin:
    """What was scanned with what.

    Attributes:
        model_id, model_sha256: the model.
        transcoder_id, transcoder_sha256: the transcoder set.
        corpus_sha256: hash of the sentences in order.
        tracer_version: version of the product that scanned.
        zero_positions: leading positions at which no feature counts as active.
        test_share: share of the sentences that the hash puts into the test half.
        split_salt: what is hashed with each sentence.
    """

    model_id: str
    model_sha256: str
    transcoder_id: str
    transcoder_sha256: str
    corpus_sha256: str
    tracer_version: str
    zero_positions: int
    test_share: float
    split_salt: str


@dataclass(frozen=True, eq=False)
class ScannedCorpus:
    """What a scan found. Tokens of all sentences lie in one row; `offsets` tells where each sentence begins.

    Attributes:
        origin: what was scanned with what.
        corpus: the sentences.
        token_texts: text of every token id that occurs anywhere in it.
        offsets: `[n_sentences + 1]`.
        token_ids: `[n_tokens]`, each sentence led by BOS.
        next_token_ids: the model's most probable next token, `[n_tokens]`.
        is_test: by sentence, whether it lies in the test half, `[n_sentences]`.
        n_features: features per layer.
        entries: by layer: token index, feature and value of every activation, sorted by token, then feature.
        effects: by layer: the strongest direct logit effects of every feature.
    """

    origin: EvidenceOrigin
    corpus: tuple[str, ...]
    token_texts: Mapping[int, str]
    offsets: IntArray
    token_ids: IntArray
    next_token_ids: IntArray
    is_test: BoolArray
    n_features: tuple[int, ...]
    entries: tuple[tuple[IntArray, IntArray, FloatArray], ...]
    effects: tuple[TopEffects, ...]

    @property
    def n_sentences(self) -> int:
        """Sentences in the corpus."""
        return len(self.corpus)

    @property
    def n_tokens(self) -> int:
        """Tokens of all sentences, BOS included."""
        return len(self.token_ids)

    @cached_property
    def token_sentence(self) -> IntArray:
        """Sentence of each token, `[n_tokens]`."""
        return np.repeat(np.arange(self.n_sentences), np.diff(self.offsets)).astype(np.int64)

    @cached_property
    def token_position(self) -> IntArray:
        """Position of each token in its sentence, `[n_tokens]`."""
        return (np.arange(self.n_tokens) - self.offsets[self.token_sentence]).astype(np.int64)

    @cached_property
    def token_counts(self) -> BoolArray:
        """Tokens at which features may fire (BOS may not), `[n_tokens]`: the denominator of densities."""
        return self.token_position >= self.origin.zero_positions

    @cached_property
    def token_in_test(self) -> BoolArray:
        """Whether each token lies in the test half, `[n_tokens]`."""
        return self.is_test[self.token_sentence]

    def sentence_token_ids(self, sentence: int) -> IntArray:
        """Token ids of a sentence, BOS first.

        Raises:
            UnknownIdError: no such sentence.
        """
        return self.token_ids[self.span(sentence)]

    def sentence_tokens(self, sentence: int) -> tuple[str, ...]:
        """Tokens of a sentence as text, BOS first.

        Raises:
            UnknownIdError: no such sentence.
        """
        return self.texts(self.sentence_token_ids(sentence))

    def next_token(self, sentence: int) -> IntArray:
        """The model's most probable next token at each position of a sentence.

        Raises:
            UnknownIdError: no such sentence.
        """
        return self.next_token_ids[self.span(sentence)]

    def span(self, sentence: int) -> slice:
        """Where a sentence's tokens lie.

        Raises:
            UnknownIdError: no such sentence.
        """
        if not 0 <= sentence < self.n_sentences:
            raise UnknownIdError(f"no sentence s{sentence}: the corpus has s0 to s{self.n_sentences - 1}")
        return slice(int(self.offsets[sentence]), int(self.offsets[sentence + 1]))

    def texts(self, ids: IntArray) -> tuple[str, ...]:
        """Texts of token ids that occur in the corpus."""
        return tuple(self.token_texts[int(i)] for i in ids)
