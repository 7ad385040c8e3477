"""Content hashes, versions and atomic writes: what every artefact is identified by, and how it reaches the disk."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tracescribe.tracer.errors import OutputError

_CHUNK = 1 << 20


def version() -> str:
    """Version of the installed product, or `0+unknown` when it runs from a tree that was never installed."""
    from importlib import metadata  # a tenth of what the command line takes to start

    try:
        return metadata.version("tracescribe")
    except metadata.PackageNotFoundError:
        return "0+unknown"


def sha256_files(paths: Iterable[Path]) -> str:
    """SHA-256 over the names and contents of files, in name order.

    Args:
        paths: files; only their base names enter the hash, so that a moved folder keeps its hash.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda p: p.name):
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as handle:
            while chunk := handle.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spare space: the form that is hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_json(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def write_bytes_atomic(path: Path, content: bytes, *, flush: bool = True) -> None:
    """Write a file so that readers, and a kill at any moment, see the old content or the new, never a part.

    Args:
        flush: that also holds after a loss of power.

    Raises:
        OutputError: the folder cannot be created or written to.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(content)
            handle.flush()
            if flush:
                os.fsync(handle.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; choose a folder that you can write to"
        ) from error
    finally:  # after an interrupt too; where the file took its place there is nothing left to remove
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)


def write_text_atomic(path: Path, text: str, *, flush: bool = True) -> None:
    """`write_bytes_atomic` for text, encoded as UTF-8.

    Raises:
        OutputError: the folder cannot be created or written to.
    """
    write_bytes_atomic(path, text.encode(), flush=flush)


def write_json_atomic(path: Path, value: Any, *, flush: bool = True) -> None:
    """Write a JSON value, indented, keys in the order given, ending in a newline.

    Raises:
        OutputError: the folder cannot be created or written to.
    """
    write_text_atomic(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", flush=flush)
