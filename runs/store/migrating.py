"""Which version a store's tables have, and how they come to this one: all of it in the caller's transaction, or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from tracescribe.runs.store.errors import StoreVersionError
from tracescribe.runs.store.versions import SCHEMA_VERSION, refuse_unknown

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

_TABLE = "alembic_version"
_LOCK = 0x7472_6163_6573
"""Number of the advisory lock under which a PostgreSQL store is made or migrated."""


def version_of(connection: Connection) -> str | None:
    """Version of the tables; None where there are none."""
    if not inspect(connection).has_table(_TABLE):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {_TABLE}")).scalars().all()
    return str(found[0]) if found else None


def lock_migrations(connection: Connection) -> None:
    """Wait until nobody else makes or migrates the store, until the transaction ends; SQLite's write lock is enough."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})


def migrate(connection: Connection, shown: str) -> None:
    """Bring tables to this version, from none at all or an earlier one.

    Args:
        shown: where the store is, for messages.

    Raises:
        StoreVersionError: they are of a version that is not known here, or a migration failed.
    """
    from alembic import command
    from alembic.util.exc import CommandError

    found = version_of(connection)
    if found == SCHEMA_VERSION:
        return
    refuse_unknown(found, shown)
    config = migration_config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, SCHEMA_VERSION)
    except CommandError as error:
        raise StoreVersionError(
            f"the store {shown} cannot be brought from version {found} to {SCHEMA_VERSION}: {error}; it is as it was"
        ) from error


def migration_config() -> Config:
    """Where Alembic finds the migrations."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def is_empty(connection: Connection) -> bool:
    """Whether a database holds no tables at all: the only kind in which a store is made."""
    return not inspect(connection).get_table_names()
