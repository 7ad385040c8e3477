"""Which weights are in memory: every vector, and the matrices that were used last, up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

import torch
from torch import Tensor

from tracescribe.tracer.errors import TranscoderFormatError
from tracescribe.tracer.transcoder_formats.stored_array import StoredArray

Key = tuple[str, int]
"""What it is, and of which layer."""


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


class ResidentWeights:
    """Keeps what was used last; safe to share between threads.

    Args:
        limit: bytes of matrices. The one in use is always kept, however large.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._matrices: OrderedDict[Key, Tensor] = OrderedDict()
        self._vectors: dict[Key, Tensor] = {}
        self._lock = Lock()

    @property
    def n_bytes(self) -> int:
        """Bytes of matrices held now."""
        return sum(matrix.nbytes for matrix in self._matrices.values())

    def holds(self, key: Key) -> bool:
        """Whether a matrix is in memory."""
        return key in self._matrices

    def vector(self, key: Key, read: Callable[[], Tensor]) -> Tensor:
        """A bias or threshold, from memory or by `read`; kept for good."""
        with self._lock:
            if key not in self._vectors:
                self._vectors[key] = read()
            return self._vectors[key]

    def matrix(self, key: Key, size: int, read: Callable[[], Tensor]) -> Tensor:
        """An encoder, decoder or skip path, from memory or by `read`.

        Args:
            key: what it is.
            size: bytes that it will take.
            read: gives it.
        """
        with self._lock:
            if key in self._matrices:
                self._matrices.move_to_end(key)
                return self._matrices[key]
            # room is made first, so that old and new are never held together
            while self._matrices and self.n_bytes + size > self.limit:
                self._matrices.popitem(last=False)
            self._matrices[key] = read()
            return self._matrices[key]
