"""Which layers' weights are in memory: those used last, up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import torch
from torch import Tensor

from tracescribe.tracer.errors import TranscoderFormatError
from tracescribe.tracer.transcoder_formats.layers import StoredLayer
from tracescribe.tracer.transcoder_formats.stored_array import StoredArray


@dataclass(frozen=True, eq=False)
class EncoderLayer:
    """One layer's weights in memory, all but the decoder, in one dtype on one device.

    Attributes:
        weight: `[n_features, d_model]`.
        bias: `[n_features]`.
        threshold: `[n_features]` for JumpReLU, else None.
        decoder_bias: `[d_model]`, added to what is written to this layer.
        skip: `[d_model, d_model]` or None.
    """

    weight: Tensor
    bias: Tensor
    threshold: Tensor | None
    decoder_bias: Tensor
    skip: Tensor | None


def finite(array: StoredArray, where: str, tensor: Tensor) -> Tensor:
    """The tensor, if all its numbers are finite.

    Raises:
        TranscoderFormatError: one is not.
    """
    if not torch.isfinite(tensor).all():
        raise TranscoderFormatError(
            f"{array.path.parent}: {where}: {array.name} is not finite; copy or download the folder again"
        )
    return tensor


def read_encoder(layer: StoredLayer, dtype: torch.dtype, device: torch.device) -> EncoderLayer:
    """One layer from disk.

    Raises:
        TranscoderFormatError: a number is not finite, or the file is gone.
    """

    def read(array: StoredArray) -> Tensor:
        return finite(array, layer.where, array.read().to(device=device, dtype=dtype))

    threshold = None if layer.threshold is None else read(layer.threshold)
    return EncoderLayer(
        weight=read(layer.encoder),
        bias=read(layer.encoder_bias),
        threshold=None if threshold is None else threshold.expand(layer.n_features),
        decoder_bias=read(layer.decoder_bias),
        skip=None if layer.skip is None else read(layer.skip),
    )


class ResidentLayers:
    """Keeps what was used last; safe to share between threads.

    Args:
        limit: bytes. One layer is always kept, however large.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: OrderedDict[tuple[str, int], tuple[EncoderLayer | Tensor, int]] = OrderedDict()
        self._lock = Lock()

    @property
    def n_bytes(self) -> int:
        """Bytes held now."""
        return sum(size for _, size in self._held.values())

    def encoder(self, layer: int, size: int, read: Callable[[], EncoderLayer]) -> EncoderLayer:
        """A layer's encoder, from memory or by `read`, which takes `size` bytes."""
        found = self._get(("encoder", layer), size, read)
        assert isinstance(found, EncoderLayer)
        return found

    def decoder(self, layer: int, size: int, read: Callable[[], Tensor]) -> Tensor:
        """A layer's decoder, from memory or by `read`; for sets that are small as a whole."""
        found = self._get(("decoder", layer), size, read)
        assert isinstance(found, Tensor)
        return found

    def _get(self, key: tuple[str, int], size: int, read: Callable[[], EncoderLayer | Tensor]) -> EncoderLayer | Tensor:
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key][0]
            # room is made first, so that old and new are never held together
            while self._held and self.n_bytes + size > self.limit:
                self._held.popitem(last=False)
            value = read()
            self._held[key] = (value, size)
            return value
