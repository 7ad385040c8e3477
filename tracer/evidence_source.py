"""Where evidence on features comes from: one interface, whatever the scan's size and whoever made it.

A scan of a small corpus is held in memory with every activation (`EvidenceStore`); of a large one only what was kept of
each feature is on the disk (`FeatureFiles`), beside a reference sample that is again an `EvidenceStore`; and others'
scans come as feature files in circuit-tracer's format (`CircuitTracerFeatures`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tracescribe.tracer.errors import EvidenceError
from tracescribe.tracer.evidence_manifest import MANIFEST
from tracescribe.tracer.feature_evidence import Context, FeatureEvidence
from tracescribe.tracer.graph import FeatureRef, IntArray

if TYPE_CHECKING:
    from tracescribe.tracer.models import LanguageModel
    from tracescribe.tracer.transcoders import TranscoderSet


class FeatureEvidenceSource(Protocol):
    """Answers questions about single features."""

    def feature(self, ref: FeatureRef, /) -> FeatureEvidence:
        """Everything known about one feature; contexts from the labelling half only.

        Raises:
            UnknownIdError: no such feature.
            EvidenceError: its record is damaged.
        """
        ...

    def test_contexts(
        self, ref: FeatureRef, n_positive: int, n_negative: int, rng: np.random.Generator
    ) -> tuple[Context, ...]:
        """Random contexts that labellers never see: first those in which the feature fires, then those in which it does
        not. Fewer come back where fewer are known.

        Raises:
            UnknownIdError: no such feature.
            EvidenceError: its record is damaged.
        """
        ...

    def density(self, ref: FeatureRef) -> float:
        """Share of tokens on which a feature fires.

        Raises:
            UnknownIdError: no such feature.
        """
        ...

    def live(self, layer: int) -> IntArray:
        """Features of a layer that fire often enough to be told from accident, ascending.

        Raises:
            UnknownIdError: no such layer.
        """
        ...

    def check(self, model: LanguageModel, transcoders: TranscoderSet) -> None:
        """Refuse evidence of another model or transcoder set, as far as the evidence tells.

        Raises:
            EvidenceError: a hash or a shape differs.
        """
        ...


def open_evidence(folder: Path) -> FeatureEvidenceSource:
    """Evidence of any kind, known by its files.

    Args:
        folder: what `tracescribe evidence build` wrote, or feature files in circuit-tracer's format.

    Raises:
        EvidenceError: no evidence there, or damaged files.
    """
    from tracescribe.tracer.evidence_files import INDEX_FILE

    if (folder / MANIFEST).is_file():
        from tracescribe.tracer.feature_files import FeatureFiles

        return FeatureFiles.load(folder)
    if (folder / INDEX_FILE).is_file():
        from tracescribe.tracer.evidence_store import EvidenceStore

        return EvidenceStore.load(folder)
    from tracescribe.tracer.circuit_tracer_features import CircuitTracerFeatures, holds_features

    if holds_features(folder):
        return CircuitTracerFeatures(folder)
    raise EvidenceError(
        f"no evidence in {folder} (no {MANIFEST}, no {INDEX_FILE}, no feature files); "
        "scan with: tracescribe evidence build"
    )
