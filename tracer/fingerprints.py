"""Content hashes of weight folders, computed once per process and file state."""

from __future__ import annotations

from collections.abc import Iterable
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
