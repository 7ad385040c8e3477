"""Evidence as it may be shown: what a redactor cuts is cut from contexts and token texts; activations stay.

Whoever reads evidence through these sees no more than is allowed to be written: labels, prompts and reports need no care
of their own.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

import numpy as np

from tracescribe.tracer.evidence_store import EvidenceStore
from tracescribe.tracer.feature_evidence import Context, FeatureEvidence, TokenEffect

if TYPE_CHECKING:
    from tracescribe.tracer.evidence_source import FeatureEvidenceSource
    from tracescribe.tracer.graph import FeatureRef, IntArray
    from tracescribe.tracer.models import LanguageModel
    from tracescribe.tracer.redaction import Redactor
    from tracescribe.tracer.transcoders import TranscoderSet


def redacted_store(store: EvidenceStore, redactor: Redactor) -> EvidenceStore:
    """A corpus scan without what must not be shown; the same object where there is nothing to cut.

    A token whose own text is cut keeps its id. Tokens that only together make what is cut get the id of a token that
    stands nowhere in the corpus, so that whoever runs their ids through the model can still do so.
    """
    texts = {token: redactor.text(text) for token, text in store.token_texts.items()}
    touched: list[int] = []
    if redactor.touches(store.corpus):
        touched = [number for number, sentence in enumerate(store.corpus) if redactor.found(sentence)]
    if not touched and texts == store.token_texts:
        return store
    corpus = list(store.corpus)
    token_ids, next_ids = store.token_ids.copy(), store.next_token_ids.copy()
    spare = _SpareIds(store)
    for number in touched:
        span = store.span(number)
        shown = redactor.tokens(store.texts(store.token_ids[span]), corpus[number])
        corpus[number] = redactor.text(corpus[number])
        for place, (token, text) in enumerate(zip(store.token_ids[span], shown, strict=True), span.start):
            if text != texts[int(token)]:
                token_ids[place] = spare.id_of(text, texts)
                # what the model expected here is what stands here, where it expected well
                if place > span.start and store.next_token_ids[place - 1] == token:
                    next_ids[place - 1] = token_ids[place]
    kept = {field.name: getattr(store, field.name) for field in fields(store)}
    changed = {"corpus": tuple(corpus), "token_texts": texts, "token_ids": token_ids, "next_token_ids": next_ids}
    return EvidenceStore(**(kept | changed))


class _SpareIds:
    """Ids of tokens that stand nowhere in a corpus, one for each placeholder."""

    def __init__(self, store: EvidenceStore) -> None:
        used = np.array(sorted(store.token_texts), dtype=np.int64)
        self._free: IntArray = np.setdiff1d(np.arange(used.max(initial=0) + 1), used)
        self._first = int(store.token_ids[0]) if store.n_tokens else 0
        self._taken: dict[str, int] = {}

    def id_of(self, placeholder: str, texts: dict[int, str]) -> int:
        """The id that stands for a placeholder; where every id is used, that of the corpus's first token (BOS)."""
        if placeholder not in self._taken:
            if len(self._taken) == len(self._free):
                return self._first
            self._taken[placeholder] = int(self._free[len(self._taken)])
            texts[self._taken[placeholder]] = placeholder
        return self._taken[placeholder]


class RedactedSource:
    """A source of evidence on single features, its contexts and effects redacted.

    Args:
        source: of any kind.
        redactor: what must not be shown.
    """

    def __init__(self, source: FeatureEvidenceSource, redactor: Redactor) -> None:
        self._source = source
        self._redactor = redactor

    def feature(self, ref: FeatureRef, /) -> FeatureEvidence:
        """Everything known about one feature; contexts from the labelling half only.

        Raises:
            UnknownIdError: no such feature.
            EvidenceError: its record is damaged.
        """
        found = self._source.feature(ref)
        return replace(
            found,
            contexts=tuple(map(self._context, found.contexts)),
            promoted=tuple(map(self._effect, found.promoted)),
            suppressed=tuple(map(self._effect, found.suppressed)),
        )

    def test_contexts(
        self, ref: FeatureRef, n_positive: int, n_negative: int, rng: np.random.Generator
    ) -> tuple[Context, ...]:
        """Random contexts that labellers never see, as the source draws them.

        Raises:
            UnknownIdError: no such feature.
            EvidenceError: its record is damaged.
        """
        return tuple(map(self._context, self._source.test_contexts(ref, n_positive, n_negative, rng)))

    def density(self, ref: FeatureRef) -> float:
        """Share of tokens on which a feature fires.

        Raises:
            UnknownIdError: no such feature.
        """
        return self._source.density(ref)

    def live(self, layer: int) -> IntArray:
        """Features of a layer that fire often enough to be told from accident, ascending.

        Raises:
            UnknownIdError: no such layer.
        """
        return self._source.live(layer)

    def check(self, model: LanguageModel, transcoders: TranscoderSet) -> None:
        """Refuse evidence of another model or transcoder set, as far as the evidence tells.

        Raises:
            EvidenceError: a hash or a shape differs.
        """
        self._source.check(model, transcoders)

    def _context(self, context: Context) -> Context:
        tokens, following = self._redactor.tokens(context.tokens), self._redactor.tokens(context.next_tokens)
        if tokens == context.tokens and following == context.next_tokens:
            return context
        return replace(context, tokens=tokens, next_tokens=following)

    def _effect(self, effect: TokenEffect) -> TokenEffect:
        return effect._replace(token=self._redactor.text(effect.token))
