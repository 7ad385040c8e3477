"""One per-layer transcoder out of one weight file: whose arrays are these, and which way do they lie?

| array names | format | encoder | decoder | skip |
|---|---|---|---|---|
| `W_enc`, `W_dec`, `activation_function.threshold`, `W_skip`, `k` | circuit-tracer | `[F, d]` | `[F, d]` | `out += x W_skip^T` |
| `W_enc`, `W_dec`, `threshold` in an `.npz` | Gemma Scope 1 | `[d, F]` | `[F, d]` | none |
| `w_enc`, `w_dec`, `threshold`, `affine_skip_connection` | Gemma Scope 2 | `[d, F]` | `[F, d]` | `out += x affine_skip_connection` |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tracescribe.tracer.transcoder_formats.activation import Activation
from tracescribe.tracer.transcoder_formats.files import Container
from tracescribe.tracer.transcoder_formats.layers import StoredLayer
from tracescribe.tracer.transcoder_formats.stored_array import StoredArray, TransposedArray


@dataclass(frozen=True)
class _Names:
    """What one format calls its arrays, and which of them lie transposed."""

    encoder: str
    encoder_bias: str
    decoder: str
    decoder_bias: str
    threshold: str
    skip: str
    encoder_transposed: bool
    skip_transposed: bool


_CIRCUIT_TRACER = _Names("W_enc", "b_enc", "W_dec", "b_dec", "activation_function.threshold", "W_skip", False, False)
_SCOPE_1 = _Names("W_enc", "b_enc", "W_dec", "b_dec", "threshold", "W_skip", True, False)
_SCOPE_2 = _Names("w_enc", "b_enc", "w_dec", "b_dec", "threshold", "affine_skip_connection", True, True)
_K = "k"


def layer_of_arrays(
    where: str, container: Container, arrays: Mapping[str, StoredArray], given: Activation | None, faults: list[str]
) -> StoredLayer | None:
    """The layer that a file's arrays make up.

    Args:
        where: what messages call the file.
        container: of the file.
        arrays: by name.
        given: the activation that the configuration names; None where what is stored decides.
        faults: what is wrong is added here.
    """
    names = _SCOPE_2 if "w_enc" in arrays else _SCOPE_1 if container == "npz" else _CIRCUIT_TRACER
    wanted = (names.encoder, names.encoder_bias, names.decoder, names.decoder_bias)
    missing = [key for key in wanted if key not in arrays]
    faults.extend(f"{where}: no {key}" for key in missing)
    unknown = arrays.keys() - {*wanted, names.threshold, names.skip, _K}
    faults.extend(f"{where}: unknown array {key!r:.80}" for key in sorted(unknown))
    if missing or unknown:
        return None
    threshold, skip = arrays.get(names.threshold), arrays.get(names.skip)
    decoder = arrays[names.decoder]
    if len(decoder.shape) == 2:  # one layer is written to
        decoder = decoder.reshaped((decoder.shape[0], 1, decoder.shape[1]))
    return StoredLayer(
        where=where,
        encoder=_turned(arrays[names.encoder], names.encoder_transposed),
        encoder_bias=arrays[names.encoder_bias],
        decoder=decoder,
        decoder_bias=arrays[names.decoder_bias],
        threshold=threshold,
        skip=None if skip is None else _turned(skip, names.skip_transposed),
        activation=given or _stored_activation(where, arrays, threshold, faults),
    )


def _turned(array: StoredArray, is_transposed: bool) -> StoredArray:
    if not is_transposed or len(array.shape) != 2:
        return array
    return array.base if isinstance(array, TransposedArray) else TransposedArray(array)


def _stored_activation(
    where: str, arrays: Mapping[str, StoredArray], threshold: StoredArray | None, faults: list[str]
) -> Activation:
    """JumpReLU where thresholds are stored, TopK where a scalar `k` is, else ReLU."""
    stored = arrays.get(_K)
    if threshold is not None:
        return Activation("jumprelu")
    if stored is None:
        return Activation("relu")
    value = stored.read().reshape(-1).double() if stored.shape in ((), (1,)) else None
    if value is None or not value.isfinite().all() or float(value) != int(value):
        faults.append(f"{where}: k has shape {list(stored.shape)}, expected one whole number")
        return Activation("relu")
    return Activation("topk", int(value))
