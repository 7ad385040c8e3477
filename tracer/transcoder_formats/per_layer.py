"""One per-layer transcoder out of one weight file: whose arrays are these, and which way do they lie?

| array names | format | encoder | decoder | skip |
|---|---|---|---|---|
| `W_enc`, `W_dec`, `activation_function.threshold`, `W_skip`, `k` | circuit-tracer | `[F, d]` | `[F, d]` | `out += x W_skip^T` |
| `W_enc`, `W_dec`, `threshold` in an `.npz` | Gemma Scope 1 | `[d, F]` | `[F, d]` | none |
| `w_enc`, `w_dec`, `threshold`, `affine_skip_connection` | Gemma Scope 2 | `[d, F]` | `[F, d]` | `out += x affine_skip_connection` |
| any of these, `encoder.weight`, `decoder.weight` in a `.pt` | state dict | as the biases' lengths say | likewise | `out += x W_skip^T` |

What another array would do is not known, so that a file with one is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tracescribe.tracer.transcoder_formats.activation import Activation
from tracescribe.tracer.transcoder_formats.files import Container
from tracescribe.tracer.transcoder_formats.layers import StoredLayer
from tracescribe.tracer.transcoder_formats.stored_array import StoredArray, TransposedArray


@dataclass(frozen=True)
class ArrayNames:
    """What one format calls its arrays, and which of them lie transposed ("" for what it does not have)."""

    encoder: str
    encoder_bias: str
    decoder: str
    decoder_bias: str
    threshold: str = ""
    skip: str = ""
    k: str = ""
    is_encoder_transposed: bool = False
    is_skip_transposed: bool = False


_CIRCUIT_TRACER = ArrayNames("W_enc", "b_enc", "W_dec", "b_dec", "activation_function.threshold", "W_skip", "k")
_SCOPE_1 = ArrayNames("W_enc", "b_enc", "W_dec", "b_dec", "threshold", is_encoder_transposed=True)
_SCOPE_2 = ArrayNames(
    "w_enc",
    "b_enc",
    "w_dec",
    "b_dec",
    "threshold",
    "affine_skip_connection",
    is_encoder_transposed=True,
    is_skip_transposed=True,
)
_STATE = {
    "w_enc": "W_enc",
    "encoder.weight": "W_enc",
    "encoder.bias": "b_enc",
    "w_dec": "W_dec",
    "decoder.weight": "W_dec",
    "decoder.bias": "b_dec",
    "threshold": "activation_function.threshold",
}
"""Other names of a state dict's arrays."""


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
    if container == "pt":
        turned = _oriented(where, arrays, faults)
        return None if turned is None else layer_of_names(where, turned, _CIRCUIT_TRACER, given, faults)
    names = _SCOPE_2 if "w_enc" in arrays else _SCOPE_1 if container == "npz" else _CIRCUIT_TRACER
    return layer_of_names(where, arrays, names, given, faults)


def layer_of_names(
    where: str, arrays: Mapping[str, StoredArray], names: ArrayNames, given: Activation | None, faults: list[str]
) -> StoredLayer | None:
    """The layer that arrays of known names make up; parameters as for `layer_of_arrays`."""
    wanted = (names.encoder, names.encoder_bias, names.decoder, names.decoder_bias)
    missing = [key for key in wanted if key not in arrays]
    faults.extend(f"{where}: no {key}" for key in missing)
    unknown = arrays.keys() - {*wanted, names.threshold, names.skip, names.k}
    faults.extend(f"{where}: unknown array {key!r:.80}" for key in sorted(unknown)[:5])
    if missing or unknown:
        return None
    threshold, skip = arrays.get(names.threshold), arrays.get(names.skip)
    decoder = arrays[names.decoder]
    if len(decoder.shape) == 2:  # one layer is written to
        decoder = decoder.reshaped((decoder.shape[0], 1, decoder.shape[1]))
    if threshold is not None and threshold.shape == ():
        threshold = threshold.reshaped((1,))
    return StoredLayer(
        where=where,
        encoder=_turned(arrays[names.encoder]) if names.is_encoder_transposed else arrays[names.encoder],
        encoder_bias=arrays[names.encoder_bias],
        decoder=decoder,
        decoder_bias=arrays[names.decoder_bias],
        threshold=threshold,
        skip=_turned(skip) if skip is not None and names.is_skip_transposed else skip,
        activation=given or _stored_activation(where, arrays.get(names.k), threshold, faults),
    )


def _turned(array: StoredArray) -> StoredArray:
    if len(array.shape) != 2:
        return array
    return array.base if isinstance(array, TransposedArray) else TransposedArray(array)


def _oriented(where: str, arrays: Mapping[str, StoredArray], faults: list[str]) -> dict[str, StoredArray] | None:
    """A state dict under circuit-tracer's names, matrices turned so that features come first."""
    named: dict[str, StoredArray] = {}
    for key, array in arrays.items():
        name = _STATE.get(key, key)
        if name in named:
            faults.append(f"{where}: {name} is there under several names")
            return None
        named[name] = array
    biases = named.get("b_enc"), named.get("b_dec")
    if biases[0] is None or biases[1] is None or len(biases[0].shape) != 1 or len(biases[1].shape) != 1:
        faults.append(f"{where}: expected vectors b_enc and b_dec, found {', '.join(sorted(named)) or 'nothing':.200}")
        return None
    n_features, d_model = biases[0].shape[0], biases[1].shape[0]
    for key, is_linear in (("W_enc", "encoder.weight" in arrays), ("W_dec", "decoder.weight" in arrays)):
        if key not in named or len(named[key].shape) != 2:
            continue
        if n_features == d_model and not is_linear:
            faults.append(
                f"{where}: {key} is square, and nothing says which way it lies; save the set as safetensors "
                "in circuit-tracer's format"
            )
        # a linear module's weight is [outputs, inputs]: features first in the encoder, last in the decoder
        as_linear = key == "W_dec" and is_linear and n_features == d_model
        if as_linear or (named[key].shape == (d_model, n_features) and n_features != d_model):
            named[key] = _turned(named[key])
    return named


def _stored_activation(
    where: str, stored: StoredArray | None, threshold: StoredArray | None, faults: list[str]
) -> Activation:
    """JumpReLU where thresholds are stored, TopK where a scalar `k` is, else ReLU."""
    if threshold is not None:
        return Activation("jumprelu")
    if stored is None:
        return Activation("relu")
    value = float(stored.read().double().reshape(-1)[0]) if stored.shape in ((), (1,)) else -1.0
    if not 1 <= value < 1 << 31 or value != int(value):
        faults.append(f"{where}: k has shape {list(stored.shape)} and value {value:.6g}, expected one positive count")
        return Activation("relu")
    return Activation("topk", int(value))
