"""Removes artefacts that nobody uses: what dead workers left, what an attempt gave up, what retention lets go."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import delete, exists, or_, select

from tracescribe.runs.store.artefact_files import ArtefactFiles
from tracescribe.runs.store.tables import artefact_uses, artefacts, derivations, staged_artefacts, workers

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from tracescribe.runs.store.database import Store

_BATCH = 50
"""Artefacts of one transaction: on SQLite everybody else waits for it."""
_STRANGER_SECONDS = 3600.0
"""A stage whose worker has no row belongs to somebody who is not a worker, such as one who submits a job; after so long
he is taken for dead."""


def sweep(store: Store, files: ArtefactFiles) -> int:
    """See `Artefacts.sweep`."""
    dead = _stage_is_dead(time.time() - _STRANGER_SECONDS)
    removed = 0
    found = store.read(
        lambda connection: sorted(connection.scalars(select(staged_artefacts.c.sha256).distinct().where(dead)))
    )
    for start in range(0, len(found), _BATCH):
        removed += remove_unused(store, files, found[start : start + _BATCH], dead)
    removed += remove_all_unused(store, files)
    alive = store.read(
        lambda connection: set(connection.scalars(select(workers.c.worker_id).where(workers.c.status == "alive")))
    )
    for name, worker_id in list(files.unfinished()):
        if worker_id not in alive:
            files.remove_unfinished(name)
            removed += 1
    return removed


def remove_all_unused(store: Store, files: ArtefactFiles) -> int:
    """Remove artefacts that no case has any more, such as those of a case that was tried again."""
    removed = 0
    query = select(artefacts.c.sha256).where(~is_used()).limit(_BATCH)
    while found := store.read(lambda connection: list(connection.scalars(query))):
        gone = remove_unused(store, files, found, None)
        removed += gone
        if not gone:  # somebody took all of them into use just now
            break
    return removed


def abandon(store: Store, files: ArtefactFiles, case_id: str, attempt: int) -> int:
    """See `Artefacts.abandon`."""
    ours = (staged_artefacts.c.case_id == case_id) & (staged_artefacts.c.attempt == attempt)
    found = store.read(lambda connection: sorted(connection.scalars(select(staged_artefacts.c.sha256).where(ours))))
    return sum(
        remove_unused(store, files, found[start : start + _BATCH], ours) for start in range(0, len(found), _BATCH)
    )


def remove_unused(
    store: Store,
    files: ArtefactFiles,
    found: Sequence[str],
    stages: ColumnElement[bool] | None,
) -> int:
    """Remove those of some artefacts that nobody uses, rows and files; returns how many artefacts went.

    Args:
        stages: stages that do not count, and are removed in any case.
    """

    def work(connection: Connection) -> int:
        # the lock comes before the look: who stages one of these now waits until we are done, and then writes its file
        locked = list(
            connection.scalars(
                select(artefacts.c.sha256)
                .where(artefacts.c.sha256.in_(found))
                .order_by(artefacts.c.sha256)
                .with_for_update()
            )
        )
        if stages is not None and locked:
            connection.execute(delete(staged_artefacts).where(staged_artefacts.c.sha256.in_(locked), stages))
        unused = [
            sha256
            for sha256 in connection.scalars(
                select(artefacts.c.sha256)
                .where(artefacts.c.sha256.in_(locked), ~is_used())
                .order_by(artefacts.c.sha256)
            )
        ]
        for sha256 in unused:
            files.remove(sha256)
        if unused:
            connection.execute(delete(artefacts).where(artefacts.c.sha256.in_(unused)))
        return len(unused)

    return store.write(work)


def is_used() -> ColumnElement[bool]:
    """An artefact that a case has, that saves a computation, or that somebody is about to keep."""
    return or_(
        exists().where(artefact_uses.c.sha256 == artefacts.c.sha256),
        exists().where(derivations.c.sha256 == artefacts.c.sha256),
        exists().where(staged_artefacts.c.sha256 == artefacts.c.sha256),
    )


def _stage_is_dead(strangers_before: float) -> ColumnElement[bool]:
    """Its worker is not alive. A live worker that lost its lease may still be writing, and cleans up behind itself."""
    its_worker = workers.c.worker_id == staged_artefacts.c.worker_id
    gone = exists().where(its_worker, workers.c.status != "alive").correlate(staged_artefacts)
    known = exists().where(its_worker).correlate(staged_artefacts)
    made_long_ago = (
        exists()
        .where(artefacts.c.sha256 == staged_artefacts.c.sha256, artefacts.c.created_at < strangers_before)
        .correlate(staged_artefacts)
    )
    return or_(gone, ~known & made_long_ago)
