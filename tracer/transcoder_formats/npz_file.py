"""NumPy archives (`.npz`): plain members are mapped where they lie; compressed ones are unpacked within limits.

An archive written by `numpy.savez` holds its arrays as plain bytes, so rows can be read without the rest. One written
by `numpy.savez_compressed` is unpacked member by member, on first use, into a temporary file that vanishes with the
process, and mapped from there.
"""

from __future__ import annotations

import math
import tempfile
import zipfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from tracescribe.tracer.errors import TranscoderFormatError
from tracescribe.tracer.transcoder_formats.stored_array import MappedArray, StoredArray, TransposedArray
from tracescribe.tracer.transcoder_formats.zip_member import MAX_MEMBERS, ZIP_ERRORS, begin_of_data

_DTYPES = {
    "<f8": torch.float64,
    "<f4": torch.float32,
    "<f2": torch.float16,
    "<i8": torch.int64,
    "<i4": torch.int32,
    "<i2": torch.int16,
    "|i1": torch.int8,
    "|u1": torch.uint8,
    "|b1": torch.bool,
}

MAX_RATIO = 50
"""A compressed member may unpack to this many times its size: trained weights shrink by a tenth, bombs a thousandfold."""

_SLACK = 1 << 20  # constant arrays (all biases zero) may shrink further, as long as they are small
_CHUNK = 1 << 20
_HEADER_ROOM = 1 << 16


def open_npz(path: Path) -> dict[str, StoredArray]:
    """The arrays of an archive, by name.

    Raises:
        ValueError: not an archive of plain arrays, or one whose sizes contradict each other.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    arrays: dict[str, StoredArray] = {}
    try:
        with path.open("rb") as handle, zipfile.ZipFile(handle) as archive:
            members = archive.infolist()
            if len(members) > MAX_MEMBERS:
                raise ValueError(f"it holds {len(members)} members, expected at most {MAX_MEMBERS}")
            for member in members:
                name = member.filename.removesuffix(".npy")
                arrays[name] = _open_member(path, handle, archive, member, name, size)
    except ZIP_ERRORS as error:
        raise ValueError(f"it is no archive that can be read ({str(error)[:80]})") from None
    return arrays


def _open_member(
    path: Path, handle: IO[bytes], archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, size: int
) -> StoredArray:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name!r:.80} is packed by method {member.compress_type}, expected none or deflate")
    if member.compress_size > size or member.file_size > MAX_RATIO * member.compress_size + _SLACK:
        raise ValueError(
            f"{name!r:.80} is said to unpack from {member.compress_size} to {member.file_size} bytes, in a file of {size}"
        )
    with archive.open(member) as stream:
        shape, is_fortran, dtype, header = _read_header(stream, name)
    if header + math.prod(shape) * dtype.itemsize != member.file_size:
        raise ValueError(f"{name!r:.80} with shape {shape!s:.80} does not fill its {member.file_size} bytes")
    laid = tuple(reversed(shape)) if is_fortran else shape
    array: StoredArray
    if member.compress_type == zipfile.ZIP_STORED:
        begin = begin_of_data(handle, member)
        if member.file_size != member.compress_size or begin + member.file_size > size:
            raise ValueError(f"{name!r:.80} reaches past the end of the file")
        array = MappedArray(path, name, begin + header, laid, dtype)
    else:
        array = UnpackedArray(path, name, member, header, laid, dtype)
    return TransposedArray(array) if is_fortran and len(shape) > 1 else array


def _read_header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, torch.dtype, int]:
    """Shape, whether columns lie together, dtype, and the header's length in bytes."""
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, found = read(stream)
        header = stream.tell()
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError, OverflowError, EOFError) as error:
        raise ValueError(f"{name!r:.80} is no NumPy array ({' '.join(str(error).split())[:80]})") from None
    dtype = None if found.hasobject else _DTYPES.get(found.str)
    if dtype is None:
        raise ValueError(f"{name!r:.80} has dtype {found.str!r:.40}, expected one of {', '.join(_DTYPES)}")
    if len(shape) > 8 or not all(type(n) is int and 0 <= n < 1 << 48 for n in shape) or header > _HEADER_ROOM:
        raise ValueError(f"{name!r:.80} has shape {shape!s:.80}, and a header of {header} bytes")
    return tuple(shape), bool(is_fortran), dtype, header


class UnpackedArray:
    """A compressed member, unpacked into a temporary file on first use."""

    def __init__(
        self,
        path: Path,
        name: str,
        member: zipfile.ZipInfo,
        header: int,
        shape: tuple[int, ...],
        dtype: torch.dtype,
    ) -> None:
        self.path = path
        self.name = name
        self.shape = shape
        self.dtype = dtype
        self._member = member
        self._header = header

    def read(self) -> Tensor:
        """The whole array, in its own dtype."""
        return self._mapped.read()

    def rows(self, indices: Sequence[int], start: int = 0) -> Tensor:
        """See `StoredArray.rows`."""
        return self._mapped.rows(indices, start)

    def reshaped(self, shape: tuple[int, ...]) -> StoredArray:
        """The same numbers under another shape of the same size."""
        assert math.prod(shape) == math.prod(self.shape)
        return UnpackedArray(self.path, self.name, self._member, self._header, shape, self.dtype)

    @cached_property
    def _mapped(self) -> MappedArray:
        self._file = tempfile.NamedTemporaryFile(prefix="tracescribe-", suffix=".npy")  # noqa: SIM115
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self._member) as stream:
                remaining = self._member.file_size
                while chunk := stream.read(_CHUNK):
                    remaining -= len(chunk)
                    if remaining < 0:
                        raise ValueError("more bytes than declared")
                    self._file.write(chunk)
            if remaining:
                raise ValueError("fewer bytes than declared")
            self._file.flush()
        except (*ZIP_ERRORS, OSError, ValueError) as error:
            raise TranscoderFormatError(
                f"{self.path}: {self.name} cannot be unpacked ({str(error)[:80]}); copy or download it again, or free "
                f"space in {tempfile.gettempdir()}"
            ) from error
        return MappedArray(Path(self._file.name), self.name, self._header, self.shape, self.dtype)
