"""Statements that both databases understand, though they are written differently for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table


def insert_if_absent(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> int:
    """Insert the rows whose key is not there yet; returns how many were not."""
    if not rows:
        return 0
    # counted by what comes back: not every driver counts rows of an insert that may skip some
    statement = _insert(connection, table).on_conflict_do_nothing().returning(*table.primary_key.columns)
    return len(connection.execute(statement, list(rows)).all())


def insert_or_update(
    connection: Connection, table: Table, rows: Sequence[dict[str, Any]], columns: Iterable[str]
) -> None:
    """Insert rows; where the primary key is there already, set some of the columns. Locks each row until the end."""
    if not rows:
        return
    statement = _insert(connection, table)
    statement = statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns), set_={name: statement.excluded[name] for name in columns}
    )
    connection.execute(statement, list(rows) if len(rows) > 1 else rows[0])


def _insert(connection: Connection, table: Table) -> Any:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
