"""Names that may be used as file names, and paths that stay inside a folder."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from tracescribe.tracer.errors import GoldFormatError

MAX_NAME = 100


def file_safe(text: str) -> str:
    """A text as a circuit's id: letters, digits, dots and dashes, beginning with a letter or digit."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")
    return plain[:MAX_NAME] or "circuit"


def inside(folder: Path, told: str, where: str) -> Path:
    """A path that a gold file tells, as a file inside the gold's folder; links that lead out of it are refused.

    Args:
        folder: of the gold.
        told: relative to it, `/` between folders.
        where: how error messages call the place that tells it.

    Raises:
        GoldFormatError: the path is absolute, or leads out of the folder.
    """
    cure = "give a path inside the gold's folder"
    plain = PurePosixPath(told)
    if plain.is_absolute() or ".." in plain.parts or "\\" in told or "\0" in told or ":" in told:
        raise GoldFormatError(f"{where}: {told[:100]!r} leads out of the gold's folder; {cure}")
    try:
        path = (folder / plain).resolve()
        root = folder.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise GoldFormatError(f"{where}: {told[:100]!r} cannot be followed; {cure}") from error
    if not path.is_relative_to(root) or path == root:
        raise GoldFormatError(f"{where}: {told[:100]!r} leads out of the gold's folder; {cure}")
    return path
