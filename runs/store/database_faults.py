"""What an error of the database means: try again, or which of the store's errors it is."""

from __future__ import annotations

import errno
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tracescribe.runs.store.addresses import StoreAddress
from tracescribe.runs.store.errors import (
    StoreAddressError,
    StoreBusyError,
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
    StoreUnreachableError,
)

_RETRIED_STATES = {
    "40001": "another transaction came between",
    "40P01": "two transactions waited for each other",
    "55P03": "locked by another transaction",
    "53300": "the server has too many connections",
    "57014": "the server cancelled the statement",
}
_NO_SUCH_STATES = ("3D000", "28000", "28P01", "3F000")
_REFUSALS = ("does not exist", "authentication failed", "no pg_hba.conf entry", "no password supplied", "not permitted")
"""What a server says that refuses a connection for good; the driver hands over no state with it."""


@dataclass(frozen=True)
class Fault:
    """What an error of the database means.

    Attributes:
        error: what to raise.
        passing: it may be gone in a moment: the transaction is worth another try.
    """

    error: StoreError | StoreAddressError
    passing: bool = False


def fault_of(error: BaseException, address: StoreAddress) -> Fault | None:
    """What an error means; None for one that is not the database's state but a mistake in a statement."""
    where = f"the store {address.shown}"
    if isinstance(error, PoolTimeoutError):
        return Fault(StoreBusyError(f"{where} has no free connection; too many threads use it at once"), True)
    if isinstance(error, OSError):
        return of_os_error(error, where)
    if not isinstance(error, DBAPIError) or isinstance(error, IntegrityError) or error.orig is None:
        return None
    if isinstance(error.orig, sqlite3.Error):
        return _of_sqlite(error.orig, where, address.database_file)
    return _of_server(error, where)


def of_os_error(error: OSError, where: str) -> Fault:
    """What an error of the file system means."""
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Fault(_full(where))
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return Fault(_read_only(where))
    return Fault(StoreUnreachableError(f"{where} cannot be used: {reason}; look at its disk"))


def _full(where: str) -> StoreFullError:
    return StoreFullError(
        f"the disk of {where} is full; nothing that was finished is lost: make room (tracescribe store gc), then resume"
    )


def _read_only(where: str) -> StoreReadOnlyError:
    return StoreReadOnlyError(f"{where} cannot be written to; change its permissions, or use another with --store")


def _of_sqlite(error: sqlite3.Error, where: str, file: Path | None) -> Fault | None:
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else None
    message = str(error)
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
        return Fault(StoreBusyError(f"{where} is locked by another process; try again when it is done"), True)
    if primary == sqlite3.SQLITE_FULL:
        return Fault(_full(where))
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return Fault(_read_only(where))
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "not a database" in message:
        return Fault(
            StoreDamagedError(
                f"{where} is damaged ({message}); see tracescribe store check, and go back to a backup if it must be"
            )
        )
    if primary in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR):
        return Fault(_of_files(message, where, file), passing=False)
    return None


def _of_files(message: str, where: str, file: Path | None) -> StoreError:
    """SQLite says of many things only that a file could not be opened or written: the file system knows more."""
    if file is not None and file.exists():
        if not os.access(file, os.W_OK) or not os.access(file.parent, os.W_OK):
            return _read_only(where)
        space = os.statvfs(file.parent)
        if space.f_bavail * space.f_frsize < 1 << 16 or space.f_files and not space.f_favail:
            return _full(where)
    return StoreUnreachableError(f"{where} cannot be read or written ({message}); look at its disk")


def _of_server(error: DBAPIError, where: str) -> Fault | None:
    state: str | None = getattr(error.orig, "sqlstate", None)
    text = str(error.orig).strip()
    reason = " ".join(text.splitlines()[0].split()) if text else type(error.orig).__name__
    if state is None:
        # raised by the driver before or after the server spoke: no address, no connection, a connection that went away
        if "FATAL:" in text and any(refusal in text for refusal in _REFUSALS):
            return Fault(_refused(where, reason))
        if error.connection_invalidated or type(error.orig).__name__ in ("OperationalError", "ConnectionTimeout"):
            return Fault(_unreachable(where, reason), True)
        return None
    if state in _RETRIED_STATES:
        return Fault(StoreBusyError(f"{where} is busy: {_RETRIED_STATES[state]}; try again later"), True)
    if state.startswith("08") or state in ("57P01", "57P02", "57P03", "57P05", "25P03"):
        return Fault(_unreachable(where, reason), True)
    if state in _NO_SUCH_STATES:
        return Fault(_refused(where, reason))
    if state == "53100":
        return Fault(_full(where))
    if state in ("25006", "42501"):
        return Fault(_read_only(where))
    if state in ("XX001", "XX002"):
        return Fault(StoreDamagedError(f"{where} is damaged ({reason}); go back to a backup of the server"))
    if state.startswith(("53", "58")):
        return Fault(_unreachable(where, reason), True)
    return None


def _refused(where: str, reason: str) -> StoreAddressError:
    return StoreAddressError(f"{where} cannot be entered: {reason}; look at user, password and database")


def _unreachable(where: str, reason: str) -> StoreUnreachableError:
    return StoreUnreachableError(f"{where} cannot be reached ({reason}); start its server, then resume")
