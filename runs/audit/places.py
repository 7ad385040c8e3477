"""Which store this machine has known at which place, so that a whole log put there under another id does not pass for new.

Kept beside the anchors, one file for each folder or URL: whoever can write the database cannot write here.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from tracescribe.runs.audit.anchors import anchor_path
from tracescribe.runs.audit.locked_folder import held_folder_of
from tracescribe.tracer.errors import OutputError
from tracescribe.tracer.provenance import write_text_atomic

MAX_ID_CHARS = 100


def known_at(place: str) -> str | None:
    """The id of the store that was made at a place, or first sealed there, by this machine; None if none was.

    Args:
        place: the folder or URL, as `StoreAddress.shown` has it.
    """
    try:
        with place_file(place).open(encoding="utf-8") as handle:
            return handle.read(MAX_ID_CHARS).strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def remember(place: str, store_id: str, *, made: bool = False) -> None:
    """Keep which store is at a place. What cannot be written is left: verifying then knows less, and says so.

    Args:
        made: it was made there just now, in place of whatever was there before; else what is known stays.
    """
    if not made and known_at(place) is not None:
        return
    path = place_file(place)
    try:
        with held_folder_of(path):
            write_text_atomic(path, store_id + "\n")
    except (OSError, OutputError):
        return


def place_file(place: str) -> Path:
    """Where this machine keeps which store is at a place."""
    name = hashlib.sha256(place.encode(errors="surrogatepass")).hexdigest()
    return anchor_path("0").parent.parent / "places" / f"{name}.txt"
