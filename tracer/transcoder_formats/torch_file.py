"""PyTorch state dicts (`.pt`), without unpickling: a machine of our own that knows nothing but tensors, texts and numbers.

A file of `torch.save` is an archive with one pickle, which describes tensors, and one plain member per storage. The
pickle's instructions are interpreted here, one by one. The only names that they may call are those by which torch
describes a tensor, and here these make a note of where its numbers lie: no class is looked up, and no code of the file,
or named by it, can run. Numbers stay in the file until they are asked for.

Source: the layout is that of torch.save since version 1.6 (docs.pytorch.org/docs/stable/notes/serialization.html).
"""

from __future__ import annotations

import math
import pickletools
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from tracescribe.tracer.transcoder_formats.stored_array import MappedArray, StoredArray, TransposedArray
from tracescribe.tracer.transcoder_formats.zip_member import MAX_MEMBERS, ZIP_ERRORS, begin_of_data

_MAX_PICKLE = 16 << 20
_STATE_KEYS = ("state_dict", "model_state_dict", "model")

_STORAGES = {
    "torch DoubleStorage": torch.float64,
    "torch FloatStorage": torch.float32,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch LongStorage": torch.int64,
    "torch IntStorage": torch.int32,
    "torch ShortStorage": torch.int16,
    "torch CharStorage": torch.int8,
    "torch ByteStorage": torch.uint8,
    "torch BoolStorage": torch.bool,
}
_TENSOR, _PARAMETER = "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"
_ORDERED = "collections OrderedDict"


@dataclass(frozen=True)
class _Name:
    """A global that the file names."""

    text: str


@dataclass(frozen=True)
class _Storage:
    """A member of the archive that holds the numbers of tensors."""

    offset: int
    n_bytes: int
    dtype: torch.dtype


def open_torch(path: Path) -> dict[str, StoredArray]:
    """The tensors of a state dict, by name; one that lies under `state_dict`, `model_state_dict` or `model` is found too.

    Raises:
        ValueError: no file of `torch.save`, or one with anything but tensors, texts, numbers, lists and dicts.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as handle, zipfile.ZipFile(handle) as archive:
            members = {member.filename: member for member in archive.infolist()}
            pickles = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
            if len(pickles) != 1 or len(members) > MAX_MEMBERS:
                raise ValueError(f"it holds {len(pickles)} pickles among {len(members)} members, expected one")
            if any(member.compress_type != zipfile.ZIP_STORED for member in members.values()):
                raise ValueError("it has compressed members, which torch.save never writes")
            if members[pickles[0]].file_size > _MAX_PICKLE:
                raise ValueError(
                    f"its pickle has {members[pickles[0]].file_size} bytes, expected at most {_MAX_PICKLE}"
                )
            prefix = pickles[0].removesuffix("data.pkl")
            order = members.get(f"{prefix}byteorder")
            if order is not None and order.file_size <= 16 and archive.read(order) != b"little":
                raise ValueError("its numbers are not little-endian")

            def storage(key: str, dtype: torch.dtype) -> _Storage:
                member = members.get(f"{prefix}data/{key}")
                if member is None:
                    raise ValueError(f"it names a storage {key!r:.80} that it does not hold")
                begin = begin_of_data(handle, member)
                if begin + member.file_size > size:
                    raise ValueError(f"storage {key!r:.80} reaches past the end of the file")
                return _Storage(begin, member.file_size, dtype)

            with archive.open(pickles[0]) as stream:
                text = stream.read(_MAX_PICKLE + 1)
            found = _Machine(path, storage).run(text)
    except ZIP_ERRORS as error:
        raise ValueError(f"it is no archive that can be read ({str(error)[:80]})") from None
    return _state(found)


def _state(found: Any) -> dict[str, StoredArray]:
    for _ in _STATE_KEYS:
        inner = [found[key] for key in _STATE_KEYS if isinstance(found, dict) and isinstance(found.get(key), dict)]
        if not inner:
            break
        found = inner[0]
    if not isinstance(found, dict):
        raise ValueError(f"it holds {type(found).__name__}, expected a dict of tensors")  # noqa: TRY004
    state = cast(Mapping[Any, Any], found)
    others = [key for key, value in state.items() if not isinstance(value, MappedArray | TransposedArray)]
    if others or not all(isinstance(key, str) for key in state):
        raise ValueError(f"{others[:1] or list(state)[:1]!r:.80} is no named tensor")
    return {key: _named(value, key) for key, value in state.items()}


def _named(array: MappedArray | TransposedArray, name: str) -> StoredArray:
    plain = cast(MappedArray, array.base if isinstance(array, TransposedArray) else array)
    named = MappedArray(plain.path, name, plain.offset, plain.shape, plain.dtype)
    return TransposedArray(named) if isinstance(array, TransposedArray) else named


class _Machine:
    """Interprets the instructions of one pickle.

    Args:
        path: the file.
        storage: finds a storage by its key.
    """

    def __init__(self, path: Path, storage: Callable[[str, torch.dtype], _Storage]) -> None:
        self._path = path
        self._storage = storage
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self, text: bytes) -> Any:
        """The object that the pickle describes.

        Raises:
            ValueError: an instruction or a name that no state dict needs, or instructions that make no sense.
        """
        try:
            for opcode, argument, _ in pickletools.genops(text):
                if opcode.name == "STOP":
                    return self._stack.pop()
                self._step(opcode.name, argument)
        except (IndexError, TypeError, KeyError, AttributeError, RecursionError, OverflowError, MemoryError) as error:
            raise ValueError(f"its pickle makes no sense ({type(error).__name__})") from None
        raise ValueError("its pickle has no end")

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in ("PROTO", "FRAME"):
            return
        if name in ("BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"):
            stack.append(argument)
        elif name in ("NONE", "NEWTRUE", "NEWFALSE"):
            stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
            stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[name]())
        elif name == "MARK":
            self._marks.append(len(stack))
        elif name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
            count = len(stack) - self._marks.pop() if name == "TUPLE" else int(name[-1])
            stack.append(tuple(self._take(count)))
        elif name in ("SETITEM", "SETITEMS"):
            pairs = self._take(2 if name == "SETITEM" else len(stack) - self._marks.pop())
            target = stack[-1]
            if not isinstance(target, dict):
                raise TypeError
            target.update(zip(pairs[::2], pairs[1::2], strict=True))
        elif name in ("APPEND", "APPENDS"):
            values = self._take(1 if name == "APPEND" else len(stack) - self._marks.pop())
            if not isinstance(stack[-1], list):
                raise TypeError
            stack[-1].extend(values)
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name == "GLOBAL":
            stack.append(_known(argument))
        elif name == "STACK_GLOBAL":
            module, attribute = self._take(2)
            stack.append(_known(f"{module} {attribute}"))
        elif name == "BINPERSID":
            stack.append(self._persistent(stack.pop()))
        elif name == "REDUCE":
            called, arguments = self._take(2)
            stack.append(self._call(called, arguments))
        elif name == "BUILD":  # a state dict's notes on versions: of no use here
            stack.pop()
        else:
            raise ValueError(f"its pickle has the instruction {name}, which no state dict needs; nothing was run")

    def _take(self, count: int) -> list[Any]:
        if count < 0 or count > len(self._stack):
            raise IndexError
        taken = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return taken

    def _persistent(self, described: Any) -> _Storage:
        kind, dtype, key, _, n_numbers = described
        if kind != "storage" or not isinstance(dtype, _Name) or not isinstance(key, str):
            raise TypeError
        storage = self._storage(key, _STORAGES[dtype.text])
        if type(n_numbers) is not int or n_numbers * storage.dtype.itemsize > storage.n_bytes:
            raise ValueError(
                f"storage {key!r:.80} is said to hold {n_numbers!r:.40} numbers in {storage.n_bytes} bytes"
            )
        return storage

    def _call(self, called: Any, arguments: Any) -> Any:
        if not isinstance(called, _Name) or not isinstance(arguments, tuple):
            raise TypeError
        if called.text == _ORDERED and not arguments:
            return {}
        if called.text == _PARAMETER and isinstance(arguments[0], MappedArray | TransposedArray):
            return arguments[0]
        if called.text == _TENSOR and isinstance(arguments[0], _Storage):
            return self._tensor(arguments[0], arguments[1], arguments[2], arguments[3])
        raise TypeError

    def _tensor(self, storage: _Storage, offset: Any, shape: Any, strides: Any) -> StoredArray:
        numbers = [offset, *shape, *strides]
        if (
            len(shape) != len(strides)
            or len(shape) > 8
            or not all(type(n) is int and 0 <= n < 1 << 48 for n in numbers)
        ):
            raise TypeError
        itemsize = storage.dtype.itemsize
        if (offset + math.prod(shape)) * itemsize > storage.n_bytes:
            raise ValueError(f"a tensor of shape {shape!s:.80} does not fit its storage of {storage.n_bytes} bytes")
        begin = storage.offset + offset * itemsize
        if _is_packed(shape, strides):
            return MappedArray(self._path, "", begin, tuple(shape), storage.dtype)
        if _is_packed(shape[::-1], strides[::-1]):
            return TransposedArray(MappedArray(self._path, "", begin, tuple(shape[::-1]), storage.dtype))
        raise ValueError(f"a tensor of shape {shape!s:.80} has strides {strides!s:.80}; save it contiguous")


def _known(name: str) -> _Name:
    if name not in _STORAGES and name not in (_TENSOR, _PARAMETER, _ORDERED):
        raise ValueError(f"its pickle names {name!r:.120}, which no state dict needs; nothing was run")
    return _Name(name)


def _is_packed(shape: Any, strides: Any) -> bool:
    """Whether numbers follow one another row by row."""
    expected = 1
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        if length != 1 and stride != expected:
            return False
        expected *= max(length, 1)
    return True
