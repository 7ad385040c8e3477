"""What every format reader hands over: layers of a transcoder set, with their arrays still on disk."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tracescribe.tracer.transcoder_formats.activation import Activation
from tracescribe.tracer.transcoder_formats.stored_array import StoredArray

TranscoderKind = Literal["cross_layer_transcoder", "transcoder_set"]
"""A cross-layer transcoder (CLT) reads one layer and writes to it and all above; in a transcoder set each layer has a
per-layer transcoder (PLT)."""

CROSS_LAYER: TranscoderKind = "cross_layer_transcoder"
PER_LAYER: TranscoderKind = "transcoder_set"

MAX_LAYERS = 1000
"""Far above any model: a bound for hostile folders."""


@dataclass(frozen=True, eq=False)
class StoredLayer:
    """One layer on disk.

    Attributes:
        where: what messages call it, such as a file's name.
        encoder: `[n_features, d_model]`.
        encoder_bias: `[n_features]`.
        decoder: `[n_features, n_stored, d_model]`.
        decoder_bias: `[d_model]`, added to what is written to this layer.
        threshold: `[n_features]`, or `[1]` for one threshold of all features; None where the activation has none.
        skip: `W` of `out += x @ W.T`, `[d_model, d_model]`, or None.
        activation: from pre-activations to activations.
        skipped_writes: how many entries of the decoder's second axis come before this layer (and are not used).
    """

    where: str
    encoder: StoredArray
    encoder_bias: StoredArray
    decoder: StoredArray
    decoder_bias: StoredArray
    threshold: StoredArray | None = None
    skip: StoredArray | None = None
    activation: Activation = field(default_factory=Activation)
    skipped_writes: int = 0

    @property
    def n_features(self) -> int:
        """Features of this layer."""
        return self.encoder.shape[0]

    @property
    def arrays(self) -> tuple[StoredArray, ...]:
        """Every array but the decoder."""
        found = (self.encoder, self.encoder_bias, self.decoder_bias, self.threshold, self.skip)
        return tuple(array for array in found if array is not None)

    @property
    def n_numbers(self) -> int:
        """Numbers in all arrays but the decoder."""
        return sum(math.prod(array.shape) for array in self.arrays)

    def describe(self) -> dict[str, Any]:
        """Plain values, for reports."""
        return {
            "n_features": self.n_features,
            "n_written": self.decoder.shape[1] - self.skipped_writes,
            "activation": self.activation.kind,
            "k": self.activation.k or None,
            "has_skip": self.skip is not None,
            "stored_dtype": str(self.encoder.dtype).removeprefix("torch."),
            "encoder_bytes": sum(array.dtype.itemsize * math.prod(array.shape) for array in self.arrays),
            "decoder_bytes": self.decoder.dtype.itemsize * math.prod(self.decoder.shape),
        }

    def faults(self, n_written: int) -> list[str]:
        """What is wrong with shapes and dtypes, given how many layers this one writes to."""
        faults: list[str] = []
        expected_rank: tuple[tuple[StoredArray, int], ...] = (
            (self.encoder, 2),
            (self.encoder_bias, 1),
            (self.decoder_bias, 1),
            (self.decoder, 3),
        )
        for ranked, rank in expected_rank:
            if len(ranked.shape) != rank:
                faults.append(f"{self.where}: {ranked.name} has shape {list(ranked.shape)}, expected {rank} axes")
        if faults:
            return faults
        n_features, d_model = self.encoder.shape
        if not n_features or not d_model:
            return [f"{self.where}: {self.encoder.name} has shape {[n_features, d_model]}, expected no empty axis"]
        written = (n_features, self.skipped_writes + n_written, d_model)
        shapes: list[tuple[StoredArray | None, tuple[int, ...]]] = [
            (self.encoder_bias, (n_features,)),
            (self.decoder_bias, (d_model,)),
            (self.threshold, (n_features,)),
            (self.skip, (d_model, d_model)),
            (self.decoder, written),
        ]
        for array, shape in shapes:
            if array is None or array.shape == shape or (array is self.threshold and array.shape == (1,)):
                continue
            faults.append(f"{self.where}: {array.name} has shape {list(array.shape)}, expected {list(shape)}")
        for stored in (*self.arrays, self.decoder):
            if not stored.dtype.is_floating_point:
                name = str(stored.dtype).removeprefix("torch.")
                faults.append(f"{self.where}: {stored.name} holds {name}, expected floating-point numbers")
        return faults + self._activation_faults(n_features)

    def _activation_faults(self, n_features: int) -> list[str]:
        kind, k = self.activation.kind, self.activation.k
        if (kind == "jumprelu") != (self.threshold is not None):
            found = "no thresholds are stored" if self.threshold is None else "thresholds are stored"
            return [f"{self.where}: the activation is {kind}, but {found}"]
        if kind in ("topk", "groupmax", "batchtopk") and not 1 <= k <= n_features:
            return [f"{self.where}: k is {k} for {kind}, expected 1 to {n_features}"]
        if kind == "groupmax" and n_features % k:
            return [f"{self.where}: k is {k} for groupmax, expected a divisor of {n_features} features"]
        return []


@dataclass(frozen=True, eq=False)
class StoredTranscoders:
    """A transcoder set as a reader found it.

    Attributes:
        format: name of the layout on disk.
        kind: cross-layer, or one transcoder per layer.
        reads: read point by hook name.
        writes: write point by hook name.
        model_name: the model that its configuration names; "" if none.
        layers: from the first to the last.
        files: every file that was used, by its name inside the set.
        scan: where the set's feature dashboards are, as its configuration names it; "" if it does not.
    """

    format: str
    kind: TranscoderKind
    reads: str
    writes: str
    model_name: str
    layers: tuple[StoredLayer, ...]
    files: Mapping[str, Path]
    scan: str = ""

    def describe(self) -> dict[str, Any]:
        """Plain values, for reports; per-layer ones in the list `layers`."""
        return {
            "kind": self.kind,
            "format": self.format,
            "reads": self.reads,
            "writes": self.writes,
            "model_name": self.model_name,
            "scan": self.scan,
            "n_layers": len(self.layers),
            "d_model": self.layers[0].encoder.shape[1],
            "file_bytes": sum(path.stat().st_size for path in self.files.values()),
            "layers": [layer.describe() for layer in self.layers],
        }

    def n_written(self, layer: int) -> int:
        """Layers that a feature of this layer writes to, itself first."""
        return len(self.layers) - layer if self.kind == CROSS_LAYER else 1

    def faults(self) -> list[str]:
        """What is wrong between layers; of each alone its reader says it."""
        widths = {layer.encoder.shape[-1] for layer in self.layers if len(layer.encoder.shape) == 2}
        return [f"layers differ in d_model: {sorted(widths)}"] if len(widths) > 1 else []
