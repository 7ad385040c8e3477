"""Connections to SQLite and PostgreSQL, set so that a commit is what its transaction promised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import ArgumentError

from tracescribe.runs.store.errors import StoreAddressError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.runs.store.addresses import StoreAddress

_BUSY_SECONDS = 2.0
"""How long SQLite itself waits for a lock, in one go; after that we look at our own patience."""
_CONNECT_SECONDS = 5
_POOL_SECONDS = 30.0
_SILENT_SECONDS = 15
"""After which a server's machine that does not even take what is sent counts as gone; else one would wait for hours."""


def make_engine(address: StoreAddress) -> Engine:
    """An engine for an address; nothing is connected yet.

    Raises:
        StoreAddressError: the address cannot be used, or its driver is not installed.
    """
    try:
        if address.database_file is not None:
            engine = create_engine(address.url, connect_args={"timeout": min(_BUSY_SECONDS, address.patience)})
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            return engine
        engine = create_engine(
            address.url,
            pool_size=4,
            max_overflow=8,
            pool_timeout=min(_POOL_SECONDS, address.patience),
            connect_args={
                "connect_timeout": _CONNECT_SECONDS,
                "application_name": "tracescribe",
                "keepalives_idle": _SILENT_SECONDS,
                "keepalives_interval": _CONNECT_SECONDS,
                "keepalives_count": 3,
                "tcp_user_timeout": 1000 * _SILENT_SECONDS,
            },
        )
    except (ArgumentError, ValueError) as error:
        raise StoreAddressError(
            f"the store's address {address.shown} cannot be read; write postgresql://user@host:port/database"
        ) from error
    except ImportError as error:
        raise StoreAddressError(
            f"the store {address.shown} needs a driver that is not installed; run: pip install 'tracescribe[postgres]'"
        ) from error
    milliseconds = max(1, round(1000 * address.patience))

    def prepare(connection: Any, _record: Any) -> None:
        connection.autocommit = True
        connection.execute(f"SET lock_timeout = {milliseconds}")
        connection.autocommit = False

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", _begin_postgresql)
    return engine


def _prepare_sqlite(connection: Any, record: Any) -> None:
    # we begin transactions ourselves: the driver would begin one that reads, and turning it into one that writes may
    # fail at any later moment
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")
    record.info["durable"] = False


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    writes, durable = options.get("tracescribe_writes", True), options.get("tracescribe_durable", False)
    if writes and connection.info.get("durable") != durable:
        connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.info["durable"] = durable
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get("tracescribe_durable", False):
        # a server may be set to answer before a commit is on its disk
        connection.exec_driver_sql("SET LOCAL synchronous_commit = on")
