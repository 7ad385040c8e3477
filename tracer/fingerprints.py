"""Content hashes of weight files, computed once per process and file state."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from tracescribe.tracer.provenance import sha256_files


def sha256_folder(folder: Path, patterns: Iterable[str]) -> str:
    """SHA-256 over the names and contents of a folder's matching files.

    The result is kept for as long as no file changes its size or modification time: hashing gigabytes of weights
    again for every trace would cost more than the trace.

    Args:
        folder: only files directly inside it count.
        patterns: shell patterns such as `*.safetensors`.
    """
    paths = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    state = tuple((path.resolve(), path.stat().st_mtime_ns, path.stat().st_size) for path in paths)
    return _sha256_of_state(tuple(paths), state)


@lru_cache(maxsize=64)
def _sha256_of_state(paths: tuple[Path, ...], state: tuple[tuple[Path, int, int], ...]) -> str:
    del state  # only part of the cache's key
    return sha256_files(paths)


def sha256_named(files: Mapping[str, Path]) -> str:
    """SHA-256 over the names and contents of files that may lie in several folders.

    Files of one folder under their own names get the hash that `sha256_folder` gives them. The result is kept like there.

    Args:
        files: by the name that enters the hash, such as a path inside a set, so that a moved set keeps its hash.
    """
    if all(name == path.name for name, path in files.items()):
        paths = sorted(files.values())
        return _sha256_of_state(tuple(paths), _state(paths))
    names = tuple(sorted(files))
    return _sha256_of_names(names, _state([files[name] for name in names]))


def _state(paths: Iterable[Path]) -> tuple[tuple[Path, int, int], ...]:
    return tuple((path.resolve(), path.stat().st_mtime_ns, path.stat().st_size) for path in paths)


@lru_cache(maxsize=64)
def _sha256_of_names(names: tuple[str, ...], state: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, (path, _, _) in zip(names, state, strict=True):
        with path.open("rb") as handle:
            content = hashlib.file_digest(handle, "sha256").digest()
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()
