"""Makes a store, or finds one and brings its tables to this version."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, insert, select

from tracescribe.runs.store.addresses import DEFAULT_STORE, StoreAddress
from tracescribe.runs.store.artefacts import Artefacts
from tracescribe.runs.store.database_faults import of_os_error
from tracescribe.runs.store.engines import make_engine
from tracescribe.runs.store.errors import StoreAddressError, StoreDamagedError
from tracescribe.runs.store.migrating import is_empty, lock_migrations, migrate, version_of
from tracescribe.runs.store.tables import settings
from tracescribe.runs.store.transactions import run_transaction
from tracescribe.runs.store.versions import SCHEMA_VERSION
from tracescribe.tracer.provenance import canonical_json

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from tracescribe.runs.store.database import Store


class OpenParts(NamedTuple):
    """What an open store consists of, beside its address."""

    engine: Engine
    artefacts: Artefacts
    scratch: Path
    store_id: str


def initialise(address: StoreAddress) -> tuple[Store, bool]:
    """Make a store or find the one that is there; whether it is new.

    Raises:
        StoreAddressError: it is there, and keeps its artefacts elsewhere.
        StoreError: it cannot be made.
    """
    from tracescribe.runs.store.database import open_store

    try:
        found = open_store(replace(address, artefacts=None))
    except StoreAddressError:
        return open_store(address, create=True), True
    if address.artefacts is not None and address.artefacts != found.artefacts.location:
        found.close()
        raise StoreAddressError(
            f"the store {address.shown} keeps its artefacts at {found.artefacts.location}; leave --artefacts out, or "
            "make another store"
        )
    return found, False


def open_at(address: StoreAddress, create: bool) -> OpenParts:
    """See `database.open_store`, which makes a store of the parts."""
    file = address.database_file
    if file is not None:
        _prepare_file(file, address, create)
    engine = make_engine(address)
    try:
        if file is not None:
            _use_write_ahead_log(engine, address)
        version, found = run_transaction(engine, address, _look, writes=False, durable=False)
        if version is None and not create:
            raise _none_there(address)
        if version != SCHEMA_VERSION:
            found = run_transaction(
                engine, address, lambda connection: _make_or_migrate(connection, address), writes=True, durable=True
            )
        return _parts(address, engine, found)
    except BaseException:
        engine.dispose()
        raise


def _prepare_file(file: Path, address: StoreAddress, create: bool) -> None:
    if not create and not file.exists():
        raise _none_there(address)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise of_os_error(error, f"the store {address.shown}").error from error


def _none_there(address: StoreAddress) -> StoreAddressError:
    return StoreAddressError(
        f"there is no store at {address.shown}; make one with 'tracescribe store init', or give another with --store"
    )


def _use_write_ahead_log(engine: Engine, address: StoreAddress) -> None:
    """Readers and the writer do not wait for each other; the file remembers it."""

    def mode(connection: Connection) -> str:
        return str(connection.exec_driver_sql("PRAGMA journal_mode").scalar())

    if run_transaction(engine, address, mode, writes=False, durable=False) != "wal":
        # cannot be changed within a transaction, so it is done before one begins
        def change(connection: Connection) -> None:
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            connection.exec_driver_sql("BEGIN")

        run_transaction(engine, address, change, writes=False, durable=False)


def _look(connection: Connection) -> tuple[str | None, dict[str, Any]]:
    """Version and settings of a store; None where there is none."""
    version = version_of(connection)
    return version, _settings(connection) if version == SCHEMA_VERSION else {}


def _settings(connection: Connection) -> dict[str, Any]:
    return {row.name: json.loads(row.value) for row in connection.execute(select(settings))}


def _make_or_migrate(connection: Connection, address: StoreAddress) -> dict[str, Any]:
    lock_migrations(connection)
    new = version_of(connection) is None  # another process may have been quicker
    if new and not is_empty(connection):
        raise StoreAddressError(
            f"the database {address.shown} holds other tables and no store; give a database or folder of its own"
        )
    migrate(connection, address.shown)
    if new:
        from tracescribe.runs.audit.places import remember

        values = {"store_id": secrets.token_hex(16), "created_at": time.time(), "artefacts": _artefacts_of_new(address)}
        connection.execute(insert(settings), [{"name": k, "value": canonical_json(v)} for k, v in values.items()])
        remember(address.shown, str(values["store_id"]), made=True)
    return _settings(connection)


def _artefacts_of_new(address: StoreAddress) -> str | None:
    """Where a new store's artefacts go; None for beside its file, so that the folder can be moved as a whole."""
    if address.artefacts is not None or address.database_file is not None:
        return address.artefacts
    return str(DEFAULT_STORE.absolute() / "artefacts")


def _parts(address: StoreAddress, engine: Engine, found: dict[str, Any]) -> OpenParts:
    store_id = found.get("store_id")
    if not isinstance(store_id, str):
        raise StoreDamagedError(f"the store {address.shown} has no id; go back to a backup")
    file = address.database_file
    beside = file.parent if file is not None else DEFAULT_STORE.absolute()
    location = address.artefacts or found.get("artefacts") or str(beside / "artefacts")
    scratch = address.scratch or beside / "scratch"
    if file is None:
        scratch = scratch / store_id[:12]  # several databases may share this machine's folder
    return OpenParts(engine, Artefacts(location), scratch, store_id)
