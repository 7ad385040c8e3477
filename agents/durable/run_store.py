"""Where one interpretation is kept while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunStore:
    """A folder that one interpretation writes to as it goes.

    Attributes:
        folder: of this run alone.
    """

    folder: Path
