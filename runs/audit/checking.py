"""What `tracescribe audit` does with a store or an exported log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs.audit.anchors import Anchor, anchor_path, write_anchor
from tracescribe.runs.audit.chain import AuditEntry
from tracescribe.runs.audit.damage import Damage
from tracescribe.runs.audit.key_keeping import KeyRing, export_public, key_ring, trust_file
from tracescribe.runs.audit.keys import read_public
from tracescribe.runs.audit.log import append
from tracescribe.runs.audit.looking import Wanted, find_entries
from tracescribe.runs.audit.places import known_at, place_file
from tracescribe.runs.audit.restoring import accept_restored
from tracescribe.runs.audit.sealing import rotate, seal
from tracescribe.runs.audit.sources import LogSource, export_log, open_export, source_of
from tracescribe.runs.audit.verifying import Trust, Verification, local_trust, trust_anchor, verify_log

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store


def verify_store(store: str | None, anchors: tuple[Path, ...], public_keys: tuple[Path, ...]) -> Verification:
    """Verify the log of a store.

    Args:
        store: folder or URL, as `--store` has it.
        anchors: that were exported before, beside the one that this machine keeps.
        public_keys: files with keys that may have signed, beside those that this machine trusts.

    Raises:
        StoreError, StoreAddressError: it cannot be opened.
        AuditInputError: an anchor or a key cannot be used.
    """
    with _opened(store) as opened:
        return _verify(source_of(opened), anchors, public_keys, place=opened.address.shown)


def verify_opened(store: Store) -> Verification:
    """Verify the log of an open store, silently.

    Raises:
        StoreError: it cannot be read.
        AuditInputError: a key or the anchor that this machine keeps cannot be used.
    """
    source = source_of(store)
    return verify_log(source, _trust(store.store_id, store.address.shown))


def verify_file(file: Path, anchors: tuple[Path, ...], public_keys: tuple[Path, ...]) -> Verification:
    """Verify a log that was exported.

    Raises:
        AuditInputError: file, anchor or key cannot be used.
    """
    with open_export(file) as source:
        return _verify(source, anchors, public_keys)


def show_of_store(store: str | None, wanted: Wanted) -> list[AuditEntry]:
    """Entries of a store's log.

    Raises:
        StoreError, StoreAddressError: it cannot be opened.
    """
    with _opened(store) as opened:
        return find_entries(opened, wanted)


def export_store(store: str | None, out: Path) -> int:
    """Write the log of a store to a file, and log that; returns the number of entries.

    Raises:
        StoreError, StoreAddressError: it cannot be opened.
        OutputError: the file cannot be written.
    """
    with _opened(store) as opened:
        details = {"form": "audit log", "to": str(out)}
        opened.write(lambda connection: append(connection, act="export", subject=opened.store_id, details=details))
        return export_log(source_of(opened), out)


def anchor_store(store: str | None, out: Path | None, *, after_restore: bool = False) -> tuple[Anchor | None, Path]:
    """Sign the end of a store's log; returns the anchor and where it is kept.

    Args:
        after_restore: the store was put back from a backup: log that the end is lost, and go on from there.

    Raises:
        StoreError, StoreAddressError: it cannot be opened.
        AuditError, AuditInputError: as `seal` has it.
    """
    with _opened(store) as opened:
        anchor = accept_restored(opened) if after_restore else seal(opened)
        if anchor is not None and out is not None:
            write_anchor(out, anchor)
        return anchor, out if out is not None else anchor_path(opened.store_id)


def keep_keys(store: str | None, *, rotation: bool, trusted: tuple[Path, ...], out: Path | None) -> KeyRing:
    """Replace, trust and export keys of a store's log, and tell which there are.

    Raises:
        StoreError, StoreAddressError: it cannot be opened.
        AuditError, AuditInputError: a key cannot be used or written.
    """
    with _opened(store) as opened:
        for path in trusted:
            trust_file(opened, path)
        if rotation:
            rotate(opened)
        if out is not None:
            export_public(opened, out)
        return key_ring(opened)


def _verify(
    source: LogSource, anchors: tuple[Path, ...], public_keys: tuple[Path, ...], place: str | None = None
) -> Verification:
    from tracescribe.runs import terminal

    trust = _trust(source.store_id, place)
    keys = tuple(read_public(path) for path in public_keys)
    trust = Trust((*trust.keys, *keys), trust.anchors, trust.damages)
    for path in anchors:
        trust = trust_anchor(trust, path, source.store_id)
    with terminal.progress_bars() as bars:
        if not bars.console.is_terminal:
            return verify_log(source, trust)
        task = bars.add_task("verify", total=source.last_number() + 1)
        return verify_log(source, trust, lambda n: bars.update(task, completed=n))


def _trust(store_id: str, place: str | None) -> Trust:
    """What this machine knows of a store's log, and of the place that it is at."""
    trust = local_trust(store_id)
    return Trust(trust.keys, trust.anchors, (*trust.damages, *_replaced(store_id, place)))


def _replaced(store_id: str, place: str | None) -> tuple[Damage, ...]:
    """That another store was here when this machine last signed at the place."""
    known = None if place is None else known_at(place)
    if known is None or known == store_id:
        return ()
    told = f"here was store {known[:40]}, and now it is {store_id[:40]}: the whole log, or its id, was replaced"
    way = f"if you put another store there yourself, remove {place_file(str(place))}"
    return (Damage("origin", 0, 0, f"{told}; {way}"),)


@contextmanager
def _opened(store: str | None) -> Iterator[Store]:
    from tracescribe.runs.store.database import open_store, parse_address

    opened = open_store(parse_address(store))
    try:
        yield opened
    finally:
        opened.close()
