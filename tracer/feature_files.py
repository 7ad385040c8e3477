"""A finished scan of any size, looked up feature by feature: one block is read for each question, and kept for the next.

See `evidence_manifest` for the files.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracescribe.tracer.errors import EvidenceError, UnknownIdError
from tracescribe.tracer.evidence_manifest import (
    FEATURE_KINDS,
    FEATURES_PER_BLOCK,
    SAMPLE,
    SUMMARY,
    SUMMARY_KINDS,
    TEST_BAND,
    TEXT_KINDS,
    TOKEN_TEXTS,
    Manifest,
    feature_block,
    layer_file,
    read_manifest,
)
from tracescribe.tracer.evidence_store import MIN_ACTIVE_TOKENS, EvidenceStore
from tracescribe.tracer.feature_evidence import BANDS, Context, FeatureEvidence, TokenEffect
from tracescribe.tracer.graph import FeatureRef, FloatArray, IntArray
from tracescribe.tracer.parquet_files import BlockReader, Columns, take

if TYPE_CHECKING:
    from tracescribe.tracer.models import LanguageModel
    from tracescribe.tracer.transcoders import TranscoderSet

BLOCKS_KEPT = 64
"""Blocks that stay in memory, the latest used ones: graphs ask for neighbouring features again and again."""


@dataclass(frozen=True)
class ActivationCounts:
    """How a feature's activations are spread.

    Attributes:
        bins: strength bins (`evidence_rows.bins`) that occur, ascending.
        tokens: tokens in each.
    """

    bins: IntArray
    tokens: IntArray


@dataclass(frozen=True, eq=False)
class FeatureFiles:
    """A finished scan.

    Attributes:
        folder: where it lies.
        manifest: what it covers.
    """

    folder: Path
    manifest: Manifest
    _readers: dict[int, BlockReader] = field(default_factory=dict, repr=False)
    _blocks: OrderedDict[tuple[int, str], Columns] = field(default_factory=OrderedDict, repr=False)

    @staticmethod
    def load(
        folder: Path, *, model: LanguageModel | None = None, transcoders: TranscoderSet | None = None
    ) -> FeatureFiles:
        """Open a scan; files are opened as they are needed, and stay open.

        Args:
            folder: what `evidence_scan.build` wrote.
            model, transcoders: where both are given, the evidence must be theirs.

        Raises:
            EvidenceError: no scan there, a damaged one, or one of other weights.
        """
        files = FeatureFiles(folder, read_manifest(folder))
        if model is not None and transcoders is not None:
            files.check(model, transcoders)
        return files

    @cached_property
    def sample(self) -> EvidenceStore:
        """The reference sample.

        Raises:
            EvidenceError: it is missing or damaged, or the scan was made without one.
        """
        return EvidenceStore.load(self.folder / SAMPLE)

    @property
    def n_features(self) -> tuple[int, ...]:
        """Features by layer."""
        return self.manifest.n_features

    def feature(self, ref: FeatureRef) -> FeatureEvidence:
        """Everything that the scan kept of one feature; contexts from the labelling half only.

        Raises:
            UnknownIdError: no such feature.
            EvidenceError: a file is damaged.
        """
        row = self._row(ref)
        n_active, largest = self._summary(ref.layer)
        return FeatureEvidence(
            layer=ref.layer,
            feature=ref.feature,
            density=self.density(ref),
            n_active=int(n_active[ref.feature]),
            max_activation=max(0.0, float(largest[ref.feature])),
            contexts=self._contexts(row, test=False),
            promoted=self._effects(row["promoted"], row["promoted_effect"]),
            suppressed=self._effects(row["suppressed"], row["suppressed_effect"]),
        )

    def test_contexts(
        self, ref: FeatureRef, n_positive: int, n_negative: int, rng: np.random.Generator
    ) -> tuple[Context, ...]:
        """Random windows of the test half: of those kept in which the feature fires, then of the sample's in which it
        does not. Fewer come back where fewer were kept.

        Raises:
            UnknownIdError: no such feature.
            EvidenceError: a file is damaged.
        """
        known = self._contexts(self._row(ref), test=True)
        positive = [known[i] for i in rng.permutation(len(known))[:n_positive]]
        silent = self.sample.test_contexts(ref, 0, n_negative, rng) if self.manifest.n_sample_windows else ()
        return (*positive, *silent)

    def density(self, ref: FeatureRef) -> float:
        """Share of tokens on which a feature fires.

        Raises:
            UnknownIdError: no such feature.
        """
        n_active, _ = self._summary(self._known(ref).layer)
        return int(n_active[ref.feature]) / max(1, self.manifest.n_counted_tokens)

    def densities(self, layer: int) -> FloatArray:
        """Share of tokens on which each feature of a layer fires, `[n_features]`.

        Raises:
            UnknownIdError: no such layer.
        """
        return (self.n_active(layer) / max(1, self.manifest.n_counted_tokens)).astype(np.float32)

    def n_active(self, layer: int) -> IntArray:
        """Tokens on which each feature of a layer fires, `[n_features]`.

        Raises:
            UnknownIdError: no such layer.
        """
        return self._summary(layer)[0]

    def live(self, layer: int, min_active: int = MIN_ACTIVE_TOKENS) -> IntArray:
        """Features of a layer that fire on at least `min_active` tokens, ascending.

        Raises:
            UnknownIdError: no such layer.
        """
        return np.flatnonzero(self.n_active(layer) >= min_active).astype(np.int64)

    def activation_counts(self, ref: FeatureRef) -> ActivationCounts:
        """How a feature's activations are spread over all tokens.

        Raises:
            UnknownIdError: no such feature.
            EvidenceError: a file is damaged.
        """
        row = self._row(ref)
        return ActivationCounts(row["bins"].astype(np.int64), row["bin_tokens"])

    def check(self, model: LanguageModel, transcoders: TranscoderSet) -> None:
        """Refuse evidence of another model or transcoder set.

        Raises:
            EvidenceError: a hash differs.
        """
        plan = self.manifest.plan
        pairs = {
            "model": (str(plan.get("model_sha256")), model.weights_sha256),
            "transcoders": (str(plan.get("transcoder_sha256")), str(transcoders.sha256)),
        }
        other = [f"{k} {a[:12]}, expected {b[:12]}" for k, (a, b) in pairs.items() if a != b]
        if other:
            raise EvidenceError(
                f"the evidence was scanned with other weights ({'; '.join(other)}); "
                "scan again with: tracescribe evidence build"
            )

    def _row(self, ref: FeatureRef) -> Columns:
        """Columns of one feature."""
        block = self._block(self._known(ref).layer, feature_block(ref.feature))
        place = ref.feature % FEATURES_PER_BLOCK
        if place >= len(block["feature"]) or int(block["feature"][place]) != ref.feature:
            raise self._damaged(ref.layer, f"row of feature {ref.feature} is not where it must be")
        row = take(block, FEATURE_KINDS, np.array([place]))
        if (
            len({len(row[name]) for name in ("token", "next_token", "activation")} | {int(row["context_tokens"].sum())})
            > 1
        ):
            raise self._damaged(ref.layer, f"contexts of feature {ref.feature} do not add up")
        return row

    def _block(self, layer: int, name: str) -> Columns:
        key = (layer, name)
        if key in self._blocks:
            self._blocks.move_to_end(key)
            return self._blocks[key]
        if layer not in self._readers:
            self._readers[layer] = BlockReader(self.folder / layer_file(layer), FEATURE_KINDS)
        block = self._readers[layer].read(name)
        if block is None:
            raise self._damaged(layer, f"no block {name}")
        self._blocks[key] = block
        if len(self._blocks) > BLOCKS_KEPT:
            self._blocks.popitem(last=False)
        return block

    def _contexts(self, row: Columns, *, test: bool) -> tuple[Context, ...]:
        bands = row["context_band"]
        ends = np.cumsum(row["context_tokens"])
        found = []
        for place in np.flatnonzero((bands == TEST_BAND) == test):
            span = slice(int(ends[place] - row["context_tokens"][place]), int(ends[place]))
            found.append(
                Context(
                    context_id=f"w{int(row['context_window'][place])}",
                    tokens=self._tokens(row["token"][span]),
                    activations=tuple(float(value) for value in row["activation"][span]),
                    next_tokens=self._tokens(row["next_token"][span]),
                    quantile="test" if test else BANDS[int(bands[place])],
                )
            )
        return tuple(found)

    def _tokens(self, ids: NDArray[np.int32]) -> tuple[str, ...]:
        texts = self._texts
        return tuple(texts[i] for i in ids.tolist())

    def _effects(self, tokens: NDArray[np.int32], effects: NDArray[np.float32]) -> tuple[TokenEffect, ...]:
        return tuple(
            TokenEffect(int(token), self._texts[int(token)], float(effect))
            for token, effect in zip(tokens, effects, strict=True)
        )

    @cached_property
    def _texts(self) -> tuple[str, ...]:
        """Text of every token id."""
        reader = BlockReader(self.folder / TOKEN_TEXTS, TEXT_KINDS)
        found: list[str] = []
        for name in reader.names:
            block = reader.read(name)
            assert block is not None
            whole, ends = block["text"].tobytes(), np.cumsum(block["text.lengths"])
            starts = ends - block["text.lengths"]
            found += [whole[a:b].decode("utf-8", "surrogatepass") for a, b in zip(starts, ends, strict=True)]
        reader.close()
        return tuple(found)

    @cached_property
    def _summaries(self) -> dict[int, tuple[IntArray, FloatArray]]:
        reader = BlockReader(self.folder / SUMMARY, SUMMARY_KINDS)
        found: dict[int, tuple[IntArray, FloatArray]] = {}
        for layer, width in enumerate(self.n_features):
            block = reader.read(str(layer))
            if block is None or len(block["n_active"]) != width:
                raise EvidenceError(f"{self.folder / SUMMARY}: layer {layer} is damaged; scan again")
            found[layer] = (block["n_active"], block["largest"])
        reader.close()
        return found

    def _summary(self, layer: int) -> tuple[IntArray, FloatArray]:
        if not 0 <= layer < len(self.n_features):
            raise UnknownIdError(f"no layer {layer}: the evidence has layers 0 to {len(self.n_features) - 1}")
        return self._summaries[layer]

    def _known(self, ref: FeatureRef) -> FeatureRef:
        width = len(self._summary(ref.layer)[0])
        if not 0 <= ref.feature < width:
            raise UnknownIdError(f"no feature {ref}: layer {ref.layer} has features 0 to {width - 1}")
        return ref

    def _damaged(self, layer: int, what: str) -> EvidenceError:
        return EvidenceError(
            f"{self.folder / layer_file(layer)}: {what}; scan again with: tracescribe evidence build --force"
        )
