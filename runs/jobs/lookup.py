"""Reads a store by plain DB-API, so that `jobs list` and `jobs show` answer before an ORM would be imported.

Nothing here can write: SQLite is opened read-only, PostgreSQL in a read-only session. Whoever wants to change a store
opens it with `runs.store.database.open_store`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import quote

from tracescribe.runs.store.errors import (
    StoreAddressError,
    StoreBusyError,
    StoreDamagedError,
    StoreError,
    StoreUnreachableError,
    StoreVersionError,
)
from tracescribe.runs.store.versions import SCHEMA_VERSION, refuse_unknown
from tracescribe.tracer.errors import UnknownIdError

if TYPE_CHECKING:
    from tracescribe.runs.store.addresses import StoreAddress

LAST = "last"
"""Names the job that was submitted last."""
_NEAR = 3
_LOOKED_AT = 500
"""Ids among which near ones are looked for; older jobs are hardly what was meant."""
_LONGEST_WAIT = 10.0
"""Seconds that a look-up waits for a busy database: people wait for the answer."""
_LAST_CHARACTER = "\U0010ffff"


class _Cursor(Protocol):
    def fetchall(self) -> list[tuple[Any, ...]]: ...


class _Connection(Protocol):
    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> _Cursor: ...
    def rollback(self) -> None: ...
    def close(self) -> None: ...


class StoreReader:
    """Runs queries that only read; parameters are written as `?` for both databases."""

    def __init__(self, connection: _Connection, where: str, *, postgres: bool) -> None:
        self.where = where
        self._connection = connection
        self._postgres = postgres

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query.

        Raises:
            StoreError: the narrower kind says why it could not be answered.
        """
        if self._postgres:
            sql = sql.replace("%", "%%").replace("?", "%s")
        try:
            return self._connection.execute(sql, tuple(parameters)).fetchall()
        except Exception as error:
            with suppress(Exception):
                self._connection.rollback()
            raise _told(error, self.where) from error

    def begins(self, column: str, beginning: str) -> tuple[str, tuple[str, ...]]:
        """A term that holds where a column begins so, character by character, and its parameters."""
        if self._postgres:
            return f"starts_with({column}, ?)", (beginning,)
        return f"{column} >= ? AND {column} < ?", (beginning, beginning + _LAST_CHARACTER)  # by the index

    def close(self) -> None:
        """Give back the connection."""
        self._connection.close()


@contextmanager
def open_reader(address: StoreAddress) -> Iterator[StoreReader]:
    """Open a store for reading.

    Raises:
        StoreAddressError: there is no store.
        StoreVersionError: a newer version made it, whose tables may mean something else.
        StoreError: it cannot be opened; the narrower kind says why.
    """
    patience = min(address.patience, _LONGEST_WAIT)
    file = address.database_file
    reader = _open_postgres(address, patience) if file is None else _open_sqlite(file, patience)
    try:
        (found,) = reader.rows("SELECT version_num FROM alembic_version")[:1] or [(None,)]
        if found[0] != SCHEMA_VERSION:  # what it knows is asked for only then: that looks into a folder
            refuse_unknown(found[0], address.shown)
        yield reader
    finally:
        reader.close()


def find_job(reader: StoreReader, name: str) -> str:
    """The id of a job by its id, by a beginning that no other job has, or by `last`.

    Raises:
        UnknownIdError: no job is called so, or several begin so; near ones are named.
    """
    if name == LAST:
        found = reader.rows("SELECT job_id FROM jobs ORDER BY created_at DESC, job_id DESC LIMIT 1")
        if not found:
            raise UnknownIdError(f"{reader.where} holds no job yet; submit one with 'tracescribe jobs submit FILE'")
        return cast(str, found[0][0])
    return _find(reader, "jobs", "job_id", name, (), "job", "tracescribe jobs list")


def find_case(reader: StoreReader, job_id: str, name: str) -> str:
    """The id of a case of a job by its id, its number in the job, or a beginning that no other case of the job has.

    Raises:
        UnknownIdError: no case is called so, or several begin so; near ones are named.
    """
    if name.isascii() and name.isdigit() and len(name) < 10:
        found = reader.rows("SELECT case_id FROM cases WHERE job_id = ? AND position = ?", (job_id, int(name)))
        if found:
            return cast(str, found[0][0])
    look = f"tracescribe jobs show {job_id} --cases"
    return _find(reader, "cases", "case_id", name, (job_id,), "case", look)


def _find(
    reader: StoreReader, table: str, column: str, name: str, within: tuple[str, ...], what: str, look: str
) -> str:
    """An id by itself, else by its beginning; rows may be held to those of one job."""
    also = " AND job_id = ?" if within else ""
    if reader.rows(f"SELECT 1 FROM {table} WHERE {column} = ?{also}", (name, *within)):
        return name
    term, bounds = reader.begins(column, name)
    sql = f"SELECT {column} FROM {table} WHERE {term}{also} LIMIT {_NEAR + 1}"
    found = [row[0] for row in reader.rows(sql, (*bounds, *within))] if name else []
    if found:
        return _only(name, found, what)
    from difflib import get_close_matches

    known = reader.rows(
        f"SELECT {column} FROM {table}{' WHERE job_id = ?' if within else ''} LIMIT {_LOOKED_AT}", within
    )
    near = get_close_matches(name, [row[0] for row in known], n=_NEAR, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"see '{look}'"
    raise UnknownIdError(f"there is no {what} {name!r}; {hint}")


def _only(name: str, found: list[str], what: str) -> str:
    if len(found) == 1:
        return found[0]
    several = ", ".join(found[:_NEAR]) + (", ..." if len(found) > _NEAR else "")
    raise UnknownIdError(f"several {what}s begin with {name!r}: {several}; give more of the id")


def _open_sqlite(file: Path, patience: float) -> StoreReader:
    where = f"store {file.parent}"
    if not file.is_file():
        raise StoreAddressError(
            f"there is no store in {file.parent}; name one with --store, or submit a job, which makes it"
        )
    uri = "file:" + quote(str(file.absolute()))
    wal = Path(f"{file}-wal")
    modes = ["?mode=ro"] if wal.exists() else ["?mode=ro", "?mode=ro&immutable=1"]
    # on a disk that cannot be written to SQLite cannot make the files of its log, and must be told that nobody writes
    for last, mode in enumerate(modes, start=1 - len(modes)):
        connection = sqlite3.connect(uri + mode, uri=True, timeout=patience, isolation_level=None)
        try:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
            connection.execute("PRAGMA mmap_size = 268435456")
        except sqlite3.Error as error:
            connection.close()
            if last == 0 or "unable to open" not in str(error):
                raise _told(error, where) from error
            continue
        return StoreReader(cast(_Connection, connection), where, postgres=False)
    raise AssertionError("the last mode either opens or raises")


def _open_postgres(address: StoreAddress, patience: float) -> StoreReader:
    try:
        import psycopg
    except ImportError as error:
        raise StoreAddressError(
            "a store in PostgreSQL needs the postgres extra; install it with: pip install 'tracescribe[postgres]'"
        ) from error
    plain = "postgresql:" + address.url.partition(":")[2]  # without the name of SQLAlchemy's driver
    where = f"store {address.shown}"
    try:
        connection = psycopg.connect(plain, autocommit=True, connect_timeout=max(1, int(patience)))
        connection.read_only = True
    except psycopg.Error as error:
        raise _told(error, where) from error
    return StoreReader(cast(_Connection, connection), where, postgres=True)


def _told(error: Exception, where: str) -> StoreError:
    """A driver's error as ours, by what it says: drivers share no error tree."""
    text = " ".join(str(error).split()) or type(error).__name__
    name = type(error).__name__
    if "locked" in text or "busy" in text:
        return StoreBusyError(f"{where} is locked by others; try again in a moment")
    if "no such table" in text or "no such column" in text or name in ("UndefinedTable", "UndefinedColumn"):
        return StoreVersionError(f"{where} has other tables than this version knows ({text}); use the version it is of")
    if "malformed" in text or "not a database" in text or "disk image" in text:
        return StoreDamagedError(f"{where} is damaged: {text}; see docs/runbooks/")
    if not isinstance(error, sqlite3.Error) and name in ("OperationalError", "InterfaceError", "AdminShutdown"):
        return StoreUnreachableError(f"{where} cannot be reached: {text}; is the server up?")
    return StoreError(f"{where} cannot be read: {text}")
