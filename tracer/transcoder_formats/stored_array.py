"""One array inside a weight file: shape and place are known, and what is asked for is read through a memory map.

The map lives for one read only, so that a process holds no more of a file than the rows it asked for, and pages that
were touched are given back.
"""

from __future__ import annotations

import io
import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tracescribe.tracer.errors import TranscoderFormatError


class StoredArray(Protocol):
    """An array in a file.

    Attributes:
        name: how the file calls it.
        path: the file.
    """

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> Path: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> torch.dtype: ...

    def read(self) -> Tensor:
        """The whole array, in its own dtype."""
        ...

    def rows(self, indices: Sequence[int], start: int = 0) -> Tensor:
        """Rows along the first axis, each without its first `start` entries along the second.

        Args:
            indices: `[n]`, each below `shape[0]`.
            start: entries of the second axis that are left out.
        """
        ...

    def reshaped(self, shape: tuple[int, ...]) -> StoredArray:
        """The same numbers under another shape of the same size."""
        ...


@dataclass(frozen=True)
class MappedArray:
    """An array that lies in a file as plain little-endian numbers, row by row.

    Attributes:
        path: the file.
        name: how the file calls it.
        offset: of the first number, bytes.
        shape: axes.
        dtype: of the numbers.
    """

    path: Path
    name: str
    offset: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def n_bytes(self) -> int:
        """Bytes on disk."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self) -> Tensor:
        """The whole array, in its own dtype."""
        if not self.n_bytes:
            return torch.empty(self.shape, dtype=self.dtype)
        buffer = bytearray(self.n_bytes)
        with self._open() as handle:
            handle.seek(self.offset)
            if handle.readinto(buffer) != self.n_bytes:
                raise self._shorter()
        return torch.frombuffer(buffer, dtype=self.dtype).reshape(self.shape)

    def rows(self, indices: Sequence[int], start: int = 0) -> Tensor:
        """See `StoredArray.rows`."""
        shape = (len(indices), self.shape[1] - start, *self.shape[2:])
        if not len(indices) or not math.prod(shape):
            return torch.empty(shape, dtype=self.dtype)
        row_bytes = self.n_bytes // self.shape[0]
        skipped = start * (row_bytes // self.shape[1])
        wanted = np.asarray(indices, dtype=np.int64)
        with self._open() as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            if self.offset + self.n_bytes > len(mapped):
                raise self._shorter()
            view: NDArray[np.uint8] = np.frombuffer(mapped, np.uint8, self.n_bytes, self.offset)
            copied = view.reshape(self.shape[0], row_bytes)[wanted, skipped:]
            del view  # a map with views cannot be closed
        return torch.from_numpy(np.ascontiguousarray(copied)).view(self.dtype).reshape(shape)

    def reshaped(self, shape: tuple[int, ...]) -> MappedArray:
        """The same numbers under another shape of the same size."""
        assert math.prod(shape) == math.prod(self.shape)
        return replace(self, shape=shape)

    def _open(self) -> io.BufferedReader:
        try:
            return self.path.open("rb")
        except OSError as error:
            raise TranscoderFormatError(
                f"{self.path} cannot be read any more ({error.strerror or error}); put the file back"
            ) from error

    def _shorter(self) -> TranscoderFormatError:
        return TranscoderFormatError(
            f"{self.path} became shorter than its header says while it was in use; copy or download it again"
        )


@dataclass(frozen=True)
class TransposedArray:
    """A matrix that lies in a file column by column, or with its axes exchanged.

    Attributes:
        base: the array as it lies there, `[columns, rows]`.
    """

    base: StoredArray

    @property
    def name(self) -> str:
        """How the file calls it."""
        return self.base.name

    @property
    def path(self) -> Path:
        """The file."""
        return self.base.path

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes, in the order of use."""
        return tuple(reversed(self.base.shape))

    @property
    def dtype(self) -> torch.dtype:
        """Of the numbers."""
        return self.base.dtype

    def read(self) -> Tensor:
        """The whole matrix, in its own dtype, laid out row by row."""
        whole = self.base.read()
        return whole.permute(*range(whole.dim() - 1, -1, -1)).contiguous()

    def rows(self, indices: Sequence[int], start: int = 0) -> Tensor:
        """See `StoredArray.rows`; the whole matrix passes through memory."""
        return self.read()[torch.as_tensor(indices, dtype=torch.int64), start:]

    def reshaped(self, shape: tuple[int, ...]) -> StoredArray:
        """The same numbers under another shape of the same size; only axes of length 1 may come or go."""
        assert tuple(n for n in shape if n != 1) == tuple(n for n in self.shape if n != 1)
        return TransposedArray(self.base.reshaped(tuple(reversed(shape))))
