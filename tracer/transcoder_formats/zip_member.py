"""Members of a zip archive that lie in it as plain bytes: where do they begin?"""

from __future__ import annotations

import zipfile
import zlib
from typing import IO

ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OverflowError,
    KeyError,
)
"""What the standard library raises for a damaged or hostile archive."""

MAX_MEMBERS = 100_000
"""Far above any weight file: a bound for hostile archives."""


def begin_of_data(handle: IO[bytes], member: zipfile.ZipInfo) -> int:
    """Offset of a member's bytes: its local header names two lengths of its own.

    Raises:
        ValueError: there is no local header where the archive's directory says.
    """
    handle.seek(member.header_offset)
    local = handle.read(30)
    if len(local) < 30 or local[:4] != b"PK\x03\x04":
        raise ValueError(f"{member.filename!r:.80} has no local header")
    return member.header_offset + 30 + int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
