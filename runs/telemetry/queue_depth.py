"""How many cases of a job wait, run and are over, whenever metrics are exported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from tracescribe.runs.store.errors import StoreError
from tracescribe.runs.telemetry.measures import watch_queue

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.runs.store.database import Store


@contextmanager
def queue_watched(store: Store, job_id: str) -> Iterator[None]:
    """Report a job's queue while its supervisor works."""
    last: list[dict[str, int]] = []

    def depths() -> dict[str, int]:
        return last[0] if last else store.read(lambda connection: _counted(connection, job_id))

    watch_queue(depths)
    try:
        yield
    finally:
        # the store is closed before the last export
        with suppress(StoreError):
            last.append(depths())
        last.append({})


def _counted(connection: Connection, job_id: str) -> dict[str, int]:
    from sqlalchemy import func, select

    from tracescribe.runs.store.tables import cases

    counts = select(cases.c.status, func.count()).where(cases.c.job_id == job_id).group_by(cases.c.status)
    return {str(status): int(count) for status, count in connection.execute(counts)}
