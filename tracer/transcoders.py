"""Transcoders: sparse stand-ins for MLPs, of every kind and format that `transcoder_formats` reads.

A cross-layer transcoder (CLT) reads one layer and writes to it and all above; a per-layer transcoder (PLT) writes to
the layer that it reads. Encoders come into memory one layer at a time, and stay as far as a number of bytes allows;
decoders of large sets stay on disk, and only the rows of active features are read.

Source: Ameisen et al. 2025, "Circuit Tracing" (transformer-circuits.pub); Dunefsky et al. 2024, "Transcoders find
interpretable LLM feature circuits" (arXiv 2406.11944).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import torch
from torch import Tensor

from tracescribe.tracer.errors import SettingError
from tracescribe.tracer.fingerprints import sha256_named
from tracescribe.tracer.transcoder_fit import check_fit, fit_warnings
from tracescribe.tracer.transcoder_formats.layers import StoredLayer, StoredTranscoders, TranscoderKind
from tracescribe.tracer.transcoder_formats.locate import find_set
from tracescribe.tracer.transcoder_formats.resident import ResidentWeights, finite
from tracescribe.tracer.transcoder_formats.stored_array import StoredArray, TransposedArray

__all__ = ["TranscoderSet", "check_fit", "fit_warnings", "load_transcoders"]

RESIDENT_BYTES = 2 << 30
"""Encoders and skip paths that stay in memory, bytes, unless the caller says otherwise: every layer of a small model's set, a few of a
large one's."""

FULL_CHECK_BYTES = 64 << 20
"""Sets up to this size are read and checked in full on opening, and stay in memory with their decoders. Of larger ones
each layer's encoder and each decoder row is checked when it is read: to read a public CLT through takes minutes."""

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


class _Digest:
    """The hash of a set's files, worked out when it is first asked for: that reads every byte."""

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> _Digest: ...

    @overload
    def __get__(self, instance: TranscoderSet, owner: type[Any]) -> str: ...

    def __get__(self, instance: TranscoderSet | None, owner: type[Any]) -> str | _Digest:
        if instance is None:
            raise AttributeError("no default")  # so that the dataclass asks for a value
        value: str | Callable[[], str] = instance.__dict__["_sha256"]
        if not isinstance(value, str):
            value = instance.__dict__["_sha256"] = value()
        return value

    def __set__(self, instance: TranscoderSet, value: str | Callable[[], str]) -> None:
        instance.__dict__["_sha256"] = value


@dataclass(frozen=True, eq=False, repr=False)
class TranscoderSet:
    """A transcoder for every layer of one model.

    Attributes:
        transcoder_id: `embedded`, or the name of its folder.
        path: the folder.
        stored: shapes, hook names and arrays, as the format's reader found them.
        dtype: of every tensor that comes out.
        device: of every tensor that comes out.
        resident: the weights that are in memory.
        keeps_decoders: whether decoders stay in memory too (small sets).
        sha256: hash of its files; given as text, or as a function that works it out when it is asked for.
    """

    transcoder_id: str
    path: Path
    stored: StoredTranscoders
    dtype: torch.dtype
    device: torch.device
    resident: ResidentWeights
    keeps_decoders: bool
    sha256: _Digest = _Digest()

    def __repr__(self) -> str:
        """Without the hash, which would read every byte."""
        return f"TranscoderSet({self.transcoder_id!r}, {self.kind}, {self.n_layers} layers, d_model {self.d_model})"

    @property
    def kind(self) -> TranscoderKind:
        """Cross-layer, or one transcoder per layer."""
        return self.stored.kind

    @property
    def format(self) -> str:
        """Name of the layout on disk."""
        return self.stored.format

    @property
    def reads(self) -> str:
        """Read point by hook name (`architectures.base.READ_POINTS`)."""
        return self.stored.reads

    @property
    def writes(self) -> str:
        """Write point by hook name (`architectures.base.WRITE_POINTS`)."""
        return self.stored.writes

    @property
    def model_name(self) -> str:
        """The model that its configuration names; "" if none."""
        return self.stored.model_name

    @property
    def n_layers(self) -> int:
        """Layers."""
        return len(self.stored.layers)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.stored.layers[0].encoder.shape[1]

    @cached_property
    def n_features(self) -> tuple[int, ...]:
        """Features per layer; widths may differ."""
        return tuple(layer.n_features for layer in self.stored.layers)

    @property
    def is_token_wise(self) -> bool:
        """Whether each token's activations depend on that token alone: all but BatchTopK without a threshold."""
        return all(layer.activation.kind != "batchtopk" for layer in self.stored.layers)

    def describe(self) -> dict[str, Any]:
        """What can be said of the set without reading its weights: plain values, for reports."""
        return {
            "transcoder_id": self.transcoder_id,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": str(self.device),
            "keeps_decoders": self.keeps_decoders,
            "is_token_wise": self.is_token_wise,
            "resident_bytes": self.resident.limit,
            **self.stored.describe(),
        }

    def n_written(self, layer: int) -> int:
        """Layers that a feature of this layer writes to, itself first: all above for a CLT, one per layer otherwise."""
        return self.stored.n_written(layer)

    def skip_weight(self, layer: int) -> Tensor | None:
        """`W` of the linear skip path `out += x @ W.T` from the read point to the write point of the same layer,
        `[d_model, d_model]`; None where there is none."""
        stored = self.stored.layers[layer]
        return None if stored.skip is None else self._matrix("skip", layer, stored.skip)

    def encode(self, layer: int, x: Tensor) -> Tensor:
        """Activations of one layer's features: `[..., n_tokens, d_model]` to `[..., n_tokens, n_features[layer]]`.

        A BatchTopK set without a threshold chooses over all tokens of one prompt together, so that there every prompt
        must come whole.
        """
        stored = self.stored.layers[layer]
        weight = self._matrix("encoder", layer, stored.encoder)
        threshold = None if stored.threshold is None else self._vector("threshold", layer, stored.threshold)
        pre = x.to(device=self.device, dtype=self.dtype) @ weight.T
        pre += self.encoder_bias(layer)
        return stored.activation.apply(pre, threshold)

    def encoder_rows(self, layer: int, features: Tensor) -> Tensor:
        """Encoder vectors of some features, `[n, d_model]`; of a layer that is not in memory, only these are read."""
        stored = self.stored.layers[layer]
        if isinstance(stored.encoder, TransposedArray) or self.resident.holds(("encoder", layer)):
            return self._matrix("encoder", layer, stored.encoder)[features.to(self.device)]
        return self._rows(stored, stored.encoder, features)

    def encoder_bias(self, layer: int) -> Tensor:
        """Encoder bias of one layer, `[n_features[layer]]`."""
        return self._vector("encoder bias", layer, self.stored.layers[layer].encoder_bias)

    def decoder_bias(self, layer: int) -> Tensor:
        """Bias of what is written to one layer, `[d_model]`."""
        return self._vector("decoder bias", layer, self.stored.layers[layer].decoder_bias)

    def decoder_rows(self, layer: int, features: Tensor) -> Tensor:
        """Decoder vectors of some features; of large sets, read from disk.

        Args:
            layer: the layer that the features read.
            features: `[n]` indices, in any order, repeats allowed.

        Returns:
            `[n, n_written(layer), d_model]`; entry `k` of the middle axis writes to layer `layer + k`. It is the
            caller's own copy.

        Raises:
            TranscoderFormatError: a row is not finite, or the file is gone.
        """
        stored = self.stored.layers[layer]
        if not self.keeps_decoders:
            return self._rows(stored, stored.decoder, features, stored.skipped_writes)
        every = torch.arange(stored.n_features)
        size = self.dtype.itemsize * stored.n_features * self.n_written(layer) * self.d_model
        whole = self.resident.matrix(
            ("decoder", layer), size, lambda: self._rows(stored, stored.decoder, every, stored.skipped_writes)
        )
        return whole[features.to(self.device)]

    def _rows(self, stored: StoredLayer, array: StoredArray, features: Tensor, start: int = 0) -> Tensor:
        """Rows of an array from disk, each read once, in the order asked for."""
        unique, inverse = torch.unique(features.to("cpu", torch.int64), return_inverse=True)
        rows = finite(array, stored.where, self._here(array.rows(unique.tolist(), start)))
        return rows if len(unique) == len(features) and _ascends(inverse) else rows[inverse.to(self.device)]

    def _matrix(self, name: str, layer: int, array: StoredArray) -> Tensor:
        where = self.stored.layers[layer].where
        size = self.dtype.itemsize * math.prod(array.shape)
        return self.resident.matrix((name, layer), size, lambda: finite(array, where, self._here(array.read())))

    def _vector(self, name: str, layer: int, array: StoredArray) -> Tensor:
        where = self.stored.layers[layer].where
        return self.resident.vector((name, layer), lambda: finite(array, where, self._here(array.read())))

    def _here(self, tensor: Tensor) -> Tensor:
        return tensor.to(device=self.device, dtype=self.dtype)


def _ascends(inverse: Tensor) -> bool:
    return bool((inverse == torch.arange(len(inverse))).all())


def load_transcoders(
    name_or_path: str | Path,
    *,
    dtype: str = "float32",
    device: str | torch.device = "cpu",
    resident_bytes: int = RESIDENT_BYTES,
) -> TranscoderSet:
    """Open a transcoder set; see `docs/transcoders.md` for the formats.

    Args:
        name_or_path: `embedded`; a folder; a pattern with `*` that names one folder per layer; or a place on the hub,
            `org/name` or `hf://org/name/path?revision=rev`.
        dtype: `float32` or `float64`: what stored weights are converted to on reading.
        device: where tensors come out.
        resident_bytes: encoders that may stay in memory; at least one layer always does.

    Raises:
        TranscoderFormatError: no such folder, a format that is not known, or a folder with faults (all are listed).
        SettingError: a dtype or device that cannot be used.
    """
    if dtype not in _DTYPES:
        raise SettingError(f"transcoder dtype is {dtype!r:.40}, expected one of {', '.join(_DTYPES)}")
    where = _device(device)
    transcoder_id, path, stored = find_set(name_or_path)
    n_bytes = sum(_n_bytes(layer) for layer in stored.layers)
    opened = TranscoderSet(
        transcoder_id=transcoder_id,
        path=path,
        sha256=lambda: sha256_named(stored.files),
        stored=stored,
        dtype=_DTYPES[dtype],
        device=where,
        resident=ResidentWeights(resident_bytes),
        keeps_decoders=n_bytes <= min(FULL_CHECK_BYTES, resident_bytes // 2),
    )
    if n_bytes <= FULL_CHECK_BYTES:
        _check_numbers(opened)
    return opened


def _device(device: str | torch.device) -> torch.device:
    try:
        found = torch.device(device)
        return torch.empty(0, device=found).device  # "cuda" becomes "cuda:0", which models have too
    except (RuntimeError, AssertionError, TypeError) as error:
        first = next(iter(str(error).splitlines()), "")
        raise SettingError(f"device {str(device)!r:.40} cannot be used ({first[:120]}); choose cpu") from error


def _n_bytes(layer: StoredLayer) -> int:
    """Bytes of a layer in float32, decoder included."""
    return 4 * (layer.n_numbers + math.prod(layer.decoder.shape))


def _check_numbers(opened: TranscoderSet) -> None:
    """Read a small set once; the first number that is not finite is an error."""
    for layer in range(opened.n_layers):
        opened.encode(layer, torch.zeros(1, opened.d_model))
        opened.decoder_bias(layer)
        opened.skip_weight(layer)
        opened.decoder_rows(layer, torch.arange(opened.n_features[layer]))
