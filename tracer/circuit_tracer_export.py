"""Writes feature files in circuit-tracer's format: one JSON document for each feature, named by its Cantor number.

Source: circuit-tracer 0.4.1 (github.com/decoderesearch/circuit-tracer); it reads such files, and has nothing to make
them from a scan of one's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tracescribe.tracer.circuit_tracer_features import SUB_FOLDER
from tracescribe.tracer.errors import EvidenceError
from tracescribe.tracer.evidence_rows import bin_edges, bins
from tracescribe.tracer.evidence_source import FeatureEvidenceSource
from tracescribe.tracer.evidence_store import EvidenceStore
from tracescribe.tracer.feature_evidence import Context, FeatureEvidence
from tracescribe.tracer.feature_files import ActivationCounts, FeatureFiles
from tracescribe.tracer.graph import FeatureRef
from tracescribe.tracer.graph_json import cantor_number
from tracescribe.tracer.provenance import write_text_atomic

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
"""Of the activations, as `quantile_values` gives them."""
_TOP = "Top"


def write_features(
    source: FeatureEvidenceSource,
    refs: Sequence[FeatureRef] | None,
    folder: Path,
    transcoder_id: str | None = None,
    progress: Callable[[str, int, int, str], object] | None = None,
) -> int:
    """Write features of a scan as files below `features/`.

    Args:
        source: the scan.
        refs: the features; None takes all that are live.
        folder: where `features/` is made.
        transcoder_id: what the files call the transcoders; the scan's name for them if None.
        progress: called after each file.

    Returns:
        How many files were written.

    Raises:
        EvidenceError: the source is no scan of this product, or damaged.
        UnknownIdError: no such feature.
        OutputError: the folder cannot be written to.
    """
    if not isinstance(source, (FeatureFiles, EvidenceStore)):
        raise EvidenceError("these are feature files already; export from what tracescribe evidence build wrote")
    named = _transcoder_id(source) if transcoder_id is None else transcoder_id
    chosen = _all_live(source) if refs is None else list(refs)
    for done, ref in enumerate(chosen, 1):
        evidence, counts = source.feature(ref), _counts(source, ref)
        text = _text(feature_document(evidence, counts, named))
        write_text_atomic(folder / SUB_FOLDER / f"{cantor_number(ref.layer, ref.feature)}.json", text)
        if progress is not None:
            progress("export", done, len(chosen), "")
    return len(chosen)


def feature_document(evidence: FeatureEvidence, counts: ActivationCounts, transcoder_id: str) -> dict[str, Any]:
    """One feature's document.

    `histogram` counts the tokens of strength bins half an octave wide, from the lowest that occurs to the highest;
    `quantile_values` are worked out from the same bins, between whose edges the activations are taken to lie evenly.

    Args:
        evidence: what is known of the feature.
        counts: how its activations are spread.
        transcoder_id: what the document calls the transcoders.
    """
    by_band: dict[str, list[Context]] = {}
    for context in evidence.contexts:
        by_band.setdefault(_TOP if context.quantile == "top" else context.quantile, []).append(context)
    return {
        "transcoder_id": transcoder_id,
        "index": evidence.feature,
        "layer": evidence.layer,
        "examples_quantiles": [
            {"quantile_name": name, "examples": [_example(context) for context in contexts]}
            for name, contexts in by_band.items()
        ],
        "top_logits": [effect.token for effect in evidence.promoted],
        "bottom_logits": [effect.token for effect in evidence.suppressed],
        "act_min": 0.0,
        "act_max": evidence.max_activation,
        "quantile_values": _quantiles(counts, evidence.max_activation),
        "histogram": _histogram(counts),
        "activation_frequency": evidence.density,
    }


def _example(context: Context) -> dict[str, Any]:
    return {
        "tokens": list(context.tokens),
        "tokens_acts_list": list(context.activations),
        "train_token_ind": context.peak,
        "is_repeated_datapoint": False,
    }


def _histogram(counts: ActivationCounts) -> list[int]:
    if not len(counts.bins):
        return []
    histogram = np.zeros(int(counts.bins[-1] - counts.bins[0]) + 1, dtype=np.int64)
    histogram[counts.bins - counts.bins[0]] = counts.tokens
    return [int(n) for n in histogram]


def _quantiles(counts: ActivationCounts, largest: float) -> list[float]:
    total = int(counts.tokens.sum())
    if not total:
        return [0.0 for _ in QUANTILES]
    edges = [bin_edges(int(number)) for number in counts.bins]
    ends = np.cumsum(counts.tokens)
    values = []
    for share in QUANTILES:
        place = int(np.searchsorted(ends, share * total))
        place = min(place, len(edges) - 1)
        low, high = edges[place]
        inside = (share * total - (ends[place] - counts.tokens[place])) / counts.tokens[place]
        values.append(float(min(low + (high - low) * inside, largest)))
    return values


def _counts(source: FeatureFiles | EvidenceStore, ref: FeatureRef) -> ActivationCounts:
    if isinstance(source, FeatureFiles):
        return source.activation_counts(ref)
    values = source.dense(ref)
    number, tokens = np.unique(bins(values[values > 0]), return_counts=True)
    return ActivationCounts(number.astype(np.int64), tokens.astype(np.int64))


def _all_live(source: FeatureFiles | EvidenceStore) -> list[FeatureRef]:
    return [
        FeatureRef(layer, int(feature)) for layer in range(len(source.n_features)) for feature in source.live(layer)
    ]


def _transcoder_id(source: FeatureFiles | EvidenceStore) -> str:
    if isinstance(source, FeatureFiles):
        return str(source.manifest.plan.get("transcoder_id", ""))
    return source.origin.transcoder_id


def _text(document: dict[str, Any]) -> str:
    import json

    return json.dumps(document, ensure_ascii=True, allow_nan=False) + "\n"
