"""Versions that a store's tables may have; imports no database library, for those who only look."""

from __future__ import annotations

from pathlib import Path

from tracescribe.runs.store.errors import StoreVersionError

SCHEMA_VERSION = "0002"
"""Of the tables that this version works with: the last migration."""


def refuse_unknown(found: str | None, shown: str) -> None:
    """Refuse tables that no migration of this version leads to or from.

    Raises:
        StoreVersionError: they are of a version that is not known here.
    """
    if found is not None and found not in known_versions():
        raise StoreVersionError(
            f"the store {shown} has version {found}, this program knows up to {SCHEMA_VERSION}: it was made by a newer "
            "tracescribe; update this one, or use another store with --store"
        )


def known_versions() -> tuple[str, ...]:
    """Every version that a store may have, in order."""
    files = (Path(__file__).parent / "migrations" / "versions").glob("[0-9]*.py")
    return tuple(sorted(file.name.partition("_")[0] for file in files))
