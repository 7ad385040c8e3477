"""Safetensors files: which arrays they hold and where, every size held against the file's before it is believed.

Source: the format is described at github.com/huggingface/safetensors: eight bytes with the header's length, a JSON
header with dtype, shape and byte range of each tensor, then the bytes.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, cast

import torch

from tracescribe.tracer.transcoder_formats.stored_array import MappedArray, StoredArray

_MAX_HEADER = 100_000_000  # the limit of the reference implementation

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def open_safetensors(path: Path) -> dict[str, StoredArray]:
    """The arrays of a file, by name.

    Raises:
        ValueError: not a safetensors file, or one whose header does not fit its size; the text says what is wrong.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as handle:
        start = handle.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > min(size - 8, _MAX_HEADER):
            raise ValueError(f"its header is said to have {length} bytes, the file has {size}")
        text = handle.read(length)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its header is no JSON ({str(error)[:80]})") from None
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")  # noqa: TRY004
    entries = cast(dict[str, Any], header)
    begin = 8 + length
    return {name: _array(path, name, entry, begin, size) for name, entry in entries.items() if name != "__metadata__"}


def _array(path: Path, name: str, entry: Any, begin: int, size: int) -> StoredArray:
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise ValueError(f"{name!r:.80} lacks dtype, shape or data_offsets")
    dtype = _DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise ValueError(f"{name!r:.80} has dtype {entry['dtype']!r:.40}, expected one of {', '.join(_DTYPES)}")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        raise ValueError(f"{name!r:.80} has a shape or data_offsets that are no lists of counts")
    n_bytes = math.prod(shape) * dtype.itemsize
    if offsets[1] - offsets[0] != n_bytes or begin + offsets[1] > size:
        raise ValueError(
            f"{name!r:.80} with shape {shape!s:.80} needs {n_bytes:.6g} bytes at {offsets!s:.80}, which the "
            f"file of {size} bytes does not hold"
        )
    return MappedArray(path, name, begin + offsets[0], tuple(shape), dtype)


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 8 and all(type(n) is int and 0 <= n < 1 << 48 for n in value)
