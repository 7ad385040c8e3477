"""Weight files of any container, told apart by their first bytes and never by their names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tracescribe.tracer.errors import TranscoderFormatError
from tracescribe.tracer.transcoder_formats.npz_file import open_npz
from tracescribe.tracer.transcoder_formats.safetensors_file import open_safetensors
from tracescribe.tracer.transcoder_formats.stored_array import StoredArray

_MAX_CONFIG_BYTES = 1 << 20


Container = Literal["safetensors", "npz"]


def container_of(path: Path) -> Container:
    """What kind of file it is, by its first bytes.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as handle:
        return "npz" if handle.read(4) == b"PK\x03\x04" else "safetensors"


def open_arrays(path: Path, shown: str, faults: list[str]) -> dict[str, StoredArray]:
    """The arrays of a weight file by name; none, and a fault, if it cannot be read.

    Args:
        path: the file.
        shown: what messages call it.
        faults: what is wrong is added here.
    """
    try:
        return open_npz(path) if container_of(path) == "npz" else open_safetensors(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        faults.append(f"{shown} cannot be read ({' '.join(str(reason).split())})")
        return {}


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


def _parse(text: str, kind: str) -> Any:
    import json

    import yaml

    if kind == "json":
        return json.loads(text)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
