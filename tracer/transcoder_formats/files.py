"""Weight files of any container, told apart by their first bytes and never by their names."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tracescribe.tracer.errors import TranscoderFormatError
from tracescribe.tracer.transcoder_formats.npz_file import open_npz
from tracescribe.tracer.transcoder_formats.safetensors_file import open_safetensors
from tracescribe.tracer.transcoder_formats.stored_array import StoredArray
from tracescribe.tracer.transcoder_formats.torch_file import open_torch
from tracescribe.tracer.transcoder_formats.zip_member import ZIP_ERRORS

_MAX_CONFIG_BYTES = 1 << 18
_MAX_CONFIG_VALUES, _MAX_CONFIG_TEXT = 20_000, 1 << 19


Container = Literal["safetensors", "npz", "pt"]

_PICKLE = b"\x80"  # the first byte of a bare pickle, as old versions of torch.save wrote it


def container_of(path: Path) -> Container:
    """What kind of file it is, by its first bytes and, for an archive, by its members.

    Raises:
        ValueError: an archive that cannot be read, or a bare pickle.
        OSError: the file cannot be read.
    """
    with path.open("rb") as handle:
        start = handle.read(4)
        if start[:1] == _PICKLE and path.stat().st_size > 8 and start[1:2] in b"\x02\x03\x04\x05":
            handle.seek(0)
            if int.from_bytes(handle.read(8), "little") > path.stat().st_size:
                raise ValueError("it is a bare pickle, which is never read; save it again with a present torch.save")
        if start != b"PK\x03\x04":
            return "safetensors"
        try:
            with zipfile.ZipFile(handle) as archive:
                is_torch = any(name.endswith("data.pkl") for name in archive.namelist())
        except ZIP_ERRORS as error:
            raise ValueError(f"it is no archive that can be read ({str(error)[:80]})") from None
    return "pt" if is_torch else "npz"


def open_arrays(path: Path, shown: str, faults: list[str]) -> dict[str, StoredArray]:
    """The arrays of a weight file by name; none, and a fault, if it cannot be read.

    Args:
        path: the file.
        shown: what messages call it.
        faults: what is wrong is added here.
    """
    try:
        return _READERS[container_of(path)](path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        faults.append(f"{shown} cannot be read ({' '.join(str(reason).split())})")
        return {}


_READERS = {"safetensors": open_safetensors, "npz": open_npz, "pt": open_torch}


def read_mapping(path: Path, kind: str) -> Mapping[str, Any]:
    """A small YAML or JSON file that holds a mapping.

    Args:
        path: the file.
        kind: `yaml` or `json`.

    Raises:
        TranscoderFormatError: it cannot be read, or holds something else.
    """
    try:
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise ValueError(f"{path.stat().st_size} bytes, expected at most {_MAX_CONFIG_BYTES}")
        found = _parse(path.read_text(encoding="utf-8"), kind)
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        first = next(iter(str(reason).splitlines()), "")
        raise TranscoderFormatError(f"cannot read {path}: {first[:200]}") from error
    if not isinstance(found, dict):
        raise TranscoderFormatError(f"{path} holds {type(found).__name__}, expected a mapping")
    return found


def text_of(value: object) -> str:
    """A name that a configuration gives, on one line and not longer than a name; "" for what is no text."""
    return " ".join(value.split())[:200] if isinstance(value, str) and value.isprintable() else ""


def _parse(text: str, kind: str) -> Any:
    """The value that a text stands for.

    Raises:
        ValueError: it stands for none, or for far more than it holds (references to references).
    """
    import json

    import yaml

    try:
        found = json.loads(text) if kind == "json" else yaml.safe_load(text)
    except Exception as error:  # for malformed tags the YAML library raises whatever it stumbles over
        raise ValueError(f"{type(error).__name__}: {error}") from error
    n_values, n_characters, waiting = 0, 0, [found]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.keys())
            waiting.extend(value.values())
        elif isinstance(value, list | tuple | set):
            waiting.extend(value)
        n_values += 1
        n_characters += len(value) if isinstance(value, str | bytes) else 0
        if max(n_values, len(waiting)) > _MAX_CONFIG_VALUES or n_characters > _MAX_CONFIG_TEXT:
            raise ValueError("it stands for far more than it holds")
    return found
