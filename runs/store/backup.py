"""A copy of a SQLite store's database, whole and consistent, taken while others work on it."""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs.store.database_faults import of_os_error
from tracescribe.runs.store.errors import StoreAddressError, StoreDamagedError
from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store


def back_up(store: Store, target: Path) -> int:
    """Copy the database to a new file; returns its size. Artefacts never change and are copied like any files.

    Raises:
        InputError: the file is there already.
        StoreAddressError: the store is on a server, which has tools of its own.
        StoreError: the disk is full, or cannot be written to.
        StoreDamagedError: the database is damaged, and so would be the copy.
    """
    source = store.address.database_file
    if source is None:
        raise StoreAddressError(f"the store {store.address.shown} is on a server; back it up with its own pg_dump")
    target = target.expanduser().absolute()
    if target.exists():
        raise InputError(f"there is a file {target} already; give the name of a new one")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _copy(source, temporary)
            _flush(temporary)
            os.replace(temporary, target)
            _flush(target.parent)
        finally:
            for left in (temporary, temporary.with_name(f"{temporary.name}-journal")):
                with suppress(OSError):  # it took its place
                    left.unlink()
    except OSError as error:
        raise of_os_error(error, f"the backup {target}").error from error
    except sqlite3.Error as error:
        raise StoreDamagedError(
            f"the store {store.address.shown} cannot be copied to {target}: {error}; see tracescribe store check"
        ) from error
    return target.stat().st_size


def _copy(source: Path, temporary: Path) -> None:
    with closing(sqlite3.connect(source, timeout=60)) as original, closing(sqlite3.connect(temporary)) as copy:
        original.backup(copy)  # all pages in one go: nobody's writing makes it begin anew
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
        found = [row[0] for row in copy.execute("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise sqlite3.DatabaseError("; ".join(found))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
