"""The result of a corpus scan: every activation of every feature, kept sparsely, and the questions asked of it.

The corpus is split in two by a hash of each sentence, so that a sentence, however often it stands in the corpus, lies
in one half only. Contexts for labelling come from the one half, contexts for testing labels from the other.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tracescribe.tracer.errors import EvidenceError, UnknownIdError
from tracescribe.tracer.evidence_files import read_scan, write_scan
from tracescribe.tracer.evidence_manifest import MANIFEST, SAMPLE
from tracescribe.tracer.feature_evidence import Context, FeatureEvidence, TokenEffect, sample_by_quantile
from tracescribe.tracer.graph import FeatureRef, FloatArray, IntArray
from tracescribe.tracer.scanned_corpus import ScannedCorpus

if TYPE_CHECKING:
    from tracescribe.tracer.models import LanguageModel
    from tracescribe.tracer.transcoders import TranscoderSet

MIN_ACTIVE_TOKENS = 5
"""Firings in the corpus from which a feature counts as live: fewer could not be told from accident."""


class LayerActivations(NamedTuple):
    """All non-zero activations of a layer, sorted by sentence, position and feature; arrays `[n_entries]`."""

    sentence: IntArray
    position: IntArray
    feature: IntArray
    value: FloatArray


@dataclass(frozen=True, eq=False)
class EvidenceStore(ScannedCorpus):
    """A scanned corpus that answers questions; see `ScannedCorpus` for its arrays."""

    def sparse(self, layer: int) -> LayerActivations:
        """All non-zero activations of a layer.

        Raises:
            UnknownIdError: no such layer.
        """
        token, feature, value = self.entries[self._layer(layer)]
        return LayerActivations(self.token_sentence[token], self.token_position[token], feature, value)

    def dense(self, ref: FeatureRef) -> FloatArray:
        """A feature's activation on every token of the corpus, `[n_tokens]`.

        Raises:
            UnknownIdError: no such feature.
        """
        activations = np.zeros(self.n_tokens, dtype=np.float32)
        token, value = self._firings(ref)
        activations[token] = value
        return activations

    def n_active(self, layer: int) -> IntArray:
        """Tokens on which each feature of a layer fires, `[n_features]`.

        Raises:
            UnknownIdError: no such layer.
        """
        return np.diff(self._by_feature[self._layer(layer)][1]).astype(np.int64)

    def densities(self, layer: int) -> FloatArray:
        """Share of tokens on which each feature of a layer fires, `[n_features]`.

        Raises:
            UnknownIdError: no such layer.
        """
        return (self.n_active(layer) / max(1, int(self.token_counts.sum()))).astype(np.float32)

    def density(self, ref: FeatureRef) -> float:
        """Share of tokens on which a feature fires.

        Raises:
            UnknownIdError: no such feature.
        """
        return float(self.densities(self._known(ref).layer)[ref.feature])

    def live(self, layer: int, min_active: int = MIN_ACTIVE_TOKENS) -> IntArray:
        """Features of a layer that fire on at least `min_active` tokens, ascending.

        Raises:
            UnknownIdError: no such layer.
        """
        return np.flatnonzero(self.n_active(layer) >= min_active).astype(np.int64)

    def feature(self, ref: FeatureRef) -> FeatureEvidence:
        """Everything that the scan found about one feature; contexts from the labelling half only.

        Raises:
            UnknownIdError: no such feature.
        """
        token, value = self._firings(ref)
        sentences, strengths = self._strengths(token, value, test=False)
        effects = self.effects[ref.layer]
        return FeatureEvidence(
            layer=ref.layer,
            feature=ref.feature,
            density=self.density(ref),
            n_active=len(token),
            max_activation=float(value.max(initial=0.0)),
            contexts=tuple(
                self.context(sentence, ref, quantile) for sentence, quantile in sample_by_quantile(sentences, strengths)
            ),
            promoted=self._effects(effects.promoted[ref.feature], effects.promoted_effect[ref.feature]),
            suppressed=self._effects(effects.suppressed[ref.feature], effects.suppressed_effect[ref.feature]),
        )

    def context(self, sentence: int, ref: FeatureRef, quantile: str) -> Context:
        """A sentence seen through a feature.

        Raises:
            UnknownIdError: no such sentence or feature.
        """
        span = self.span(sentence)
        token, value = self._firings(ref)
        inside = slice(*np.searchsorted(token, [span.start, span.stop]))
        activations = np.zeros(span.stop - span.start, dtype=np.float32)
        activations[token[inside] - span.start] = value[inside]
        return Context(
            context_id=f"s{sentence}",
            tokens=self.texts(self.token_ids[span]),
            activations=tuple(float(a) for a in activations),
            next_tokens=self.texts(self.next_token_ids[span]),
            quantile=quantile,
        )

    def test_contexts(
        self, ref: FeatureRef, n_positive: int, n_negative: int, rng: np.random.Generator
    ) -> tuple[Context, ...]:
        """Random sentences of the test half: first those in which the feature fires, then those in which it does not.

        Fewer come back where fewer exist.

        Raises:
            UnknownIdError: no such feature.
        """
        positive, _ = self._strengths(*self._firings(ref), test=True)
        negative = np.setdiff1d(np.flatnonzero(self.is_test), positive)
        drawn = [*rng.permutation(positive)[:n_positive], *rng.permutation(negative)[:n_negative]]
        return tuple(self.context(int(sentence), ref, "test") for sentence in drawn)

    def check(self, model: LanguageModel, transcoders: TranscoderSet) -> None:
        """Refuse evidence of another model or transcoder set.

        Raises:
            EvidenceError: a hash differs.
        """
        found = {"model": self.origin.model_sha256, "transcoders": self.origin.transcoder_sha256}
        expected = {"model": model.weights_sha256, "transcoders": transcoders.sha256}
        other = [f"{k} {found[k][:12]}, expected {expected[k][:12]}" for k in found if found[k] != expected[k]]
        if other:
            raise EvidenceError(
                f"the evidence was scanned with other weights ({'; '.join(other)}); "
                "scan again with: tracescribe evidence build"
            )

    def save(self, folder: Path) -> None:
        """Write the store; see `evidence_files`.

        Raises:
            OutputError: the folder cannot be written to.
        """
        write_scan(self, folder)

    @staticmethod
    def load(
        folder: Path, *, model: LanguageModel | None = None, transcoders: TranscoderSet | None = None
    ) -> EvidenceStore:
        """Read a saved store.

        Args:
            folder: what `save` wrote, or a scan of any size (`evidence_scan`), whose reference sample is read.
            model, transcoders: where both are given, the evidence must be theirs.

        Raises:
            EvidenceError: no evidence there, damaged files, or evidence of other weights.
        """
        sample = folder / SAMPLE
        scanned = read_scan(sample if (folder / MANIFEST).is_file() and sample.is_dir() else folder)
        store = EvidenceStore(**{f.name: getattr(scanned, f.name) for f in fields(scanned)})
        if model is not None and transcoders is not None:
            store.check(model, transcoders)
        return store

    @cached_property
    def _by_feature(self) -> tuple[tuple[IntArray, IntArray], ...]:
        """By layer: the entries' order by feature, then token, and where each feature begins in it."""
        tables = []
        for (_, feature, _), n_features in zip(self.entries, self.n_features, strict=True):
            order = np.argsort(feature, kind="stable")
            tables.append((order, np.searchsorted(feature[order], np.arange(n_features + 1))))
        return tuple(tables)

    def _firings(self, ref: FeatureRef) -> tuple[IntArray, FloatArray]:
        """Tokens on which a feature fires, ascending, and its activations there."""
        order, starts = self._by_feature[self._known(ref).layer]
        token, _, value = self.entries[ref.layer]
        mine = order[starts[ref.feature] : starts[ref.feature + 1]]
        return token[mine], value[mine]

    def _strengths(self, token: IntArray, value: FloatArray, *, test: bool) -> tuple[IntArray, FloatArray]:
        """Sentences of one half in which a feature fires, ascending, and its largest activation in each."""
        mine = self.token_in_test[token] == test
        sentences, inverse = np.unique(self.token_sentence[token[mine]], return_inverse=True)
        strengths = np.zeros(len(sentences), dtype=np.float32)
        np.maximum.at(strengths, inverse, value[mine])
        return sentences, strengths

    def _effects(self, tokens: IntArray, effects: FloatArray) -> tuple[TokenEffect, ...]:
        return tuple(
            TokenEffect(int(token), self.token_texts[int(token)], float(effect))
            for token, effect in zip(tokens, effects, strict=True)
        )

    def _layer(self, layer: int) -> int:
        if not 0 <= layer < len(self.n_features):
            raise UnknownIdError(f"no layer {layer}: the evidence has layers 0 to {len(self.n_features) - 1}")
        return layer

    def _known(self, ref: FeatureRef) -> FeatureRef:
        n_features = self.n_features[self._layer(ref.layer)]
        if not 0 <= ref.feature < n_features:
            raise UnknownIdError(f"no feature {ref}: layer {ref.layer} has features 0 to {n_features - 1}")
        return ref
