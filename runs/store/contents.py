"""What a store holds, in numbers."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Table, func, select

from tracescribe.runs.store.migrating import version_of
from tracescribe.runs.store.tables import artefacts, audit_entries, call_events, calls, cases, jobs, settings, workers

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.runs.store.database import Store


@dataclass(frozen=True)
class Contents:
    """What a store holds.

    Attributes:
        version: of its tables.
        created_at: seconds since 1970.
        database_bytes: on disk; with SQLite its log included.
        free_bytes: on the disk of the artefacts, or of the database; None where nobody can tell.
        artefacts: number and bytes by kind.
        jobs, cases, workers, calls: number by status.
        call_events, audit_entries: number.
        retention: seconds by kind.
    """

    store_id: str
    version: str
    created_at: float
    database: str
    database_bytes: int
    artefacts_at: str
    scratch_at: str
    free_bytes: int | None
    artefacts: dict[str, tuple[int, int]]
    jobs: dict[str, int]
    cases: dict[str, int]
    workers: dict[str, int]
    calls: dict[str, int]
    call_events: int
    audit_entries: int
    retention: dict[str, int]


def contents(store: Store) -> Contents:
    """Count everything in one transaction."""
    from tracescribe.runs.store.retention import rules

    def work(connection: Connection) -> Contents:
        created = connection.scalar(select(settings.c.value).where(settings.c.name == "created_at"))
        kinds = select(artefacts.c.kind, func.count(), func.sum(artefacts.c.size)).group_by(artefacts.c.kind)
        return Contents(
            store_id=store.store_id,
            version=version_of(connection) or "",
            created_at=float(json.loads(created)) if created else 0.0,
            database=store.address.shown,
            database_bytes=_database_bytes(connection, store),
            artefacts_at=store.artefacts.location,
            scratch_at=str(store.scratch),
            free_bytes=_free_bytes(store),
            artefacts={row[0]: (int(row[1]), int(row[2])) for row in connection.execute(kinds.order_by("kind"))},
            jobs=_by_status(connection, jobs),
            cases=_by_status(connection, cases),
            workers=_by_status(connection, workers),
            calls=_by_status(connection, calls),
            call_events=_count(connection, call_events),
            audit_entries=_count(connection, audit_entries),
            retention=rules(connection),
        )

    return store.read(work)


def _by_status(connection: Connection, table: Table) -> dict[str, int]:
    query = select(table.c.status, func.count()).group_by(table.c.status).order_by(table.c.status)
    return {str(status): int(number) for status, number in connection.execute(query)}


def _count(connection: Connection, table: Table) -> int:
    return int(connection.scalar(select(func.count()).select_from(table)) or 0)


def _database_bytes(connection: Connection, store: Store) -> int:
    file = store.address.database_file
    if file is None:
        return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar() or 0)
    return sum(path.stat().st_size for path in (file, Path(f"{file}-wal")) if path.exists())


def _free_bytes(store: Store) -> int | None:
    location = store.artefacts.location
    place = Path(location.removeprefix("file://")) if "://" not in location.removeprefix("file://") else None
    while place is not None and not place.exists() and place != place.parent:
        place = place.parent
    return None if place is None else shutil.disk_usage(place).free
