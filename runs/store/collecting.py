"""Garbage collection: what retention lets go, and what nobody uses any more. Every deletion of a result is audited."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, exists, func, or_, select

from tracescribe.runs.store.artefact_files import ArtefactFiles
from tracescribe.runs.store.artefact_sweep import is_used, remove_all_unused, sweep
from tracescribe.runs.store.database_faults import of_os_error
from tracescribe.runs.store.retention import ANSWERS, rules
from tracescribe.runs.store.statements import insert_if_absent
from tracescribe.runs.store.tables import artefact_uses, artefacts, calls, cases, derivations, jobs, staged_artefacts

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Select

    from tracescribe.runs.store.database import Store

_BATCH = 50
_NAMES_AT_ONCE = 500


@dataclass
class Collected:
    """What went, or in a dry run would go.

    Attributes:
        expired: results by kind whose retention is over.
        bytes_expired: what they took.
        answers: recorded answers whose retention is over.
        unused: artefacts that no case has.
        left: files that dead workers left, unfinished ones included.
        orphans: files that the store knows nothing of.
        scratch: folders of finished cases on this machine.
    """

    expired: dict[str, int] = field(default_factory=dict)
    bytes_expired: int = 0
    answers: int = 0
    unused: int = 0
    left: int = 0
    orphans: int = 0
    scratch: int = 0


def collect(store: Store, *, dry_run: bool = False, now: float | None = None) -> Collected:
    """Mark and sweep; safe while jobs run.

    Args:
        dry_run: only count.
        now: seconds since 1970; None takes the clock. Retention alone is decided by it.

    Raises:
        StoreError: the store or its artefacts cannot be used.
    """
    from tracescribe.runs.executors.scratch import sweep_scratch

    found = Collected()
    moment = time.time() if now is None else now
    files = store.artefacts.files
    try:
        if not dry_run:
            found.left = sweep(store, files)
        for kind, seconds in store.read(rules).items():
            if kind == ANSWERS:
                found.answers = _expire_answers(store, moment - seconds, dry_run)
            else:
                _expire(store, files, kind, moment - seconds, dry_run, found)
        found.unused = _collect_unused(store, files, dry_run)
        found.orphans = sum(1 for name in orphans(store, files) if dry_run or remove_orphan(store, files, name))
        if not dry_run:
            found.scratch = sweep_scratch(store)
    except OSError as error:
        raise of_os_error(error, f"the folder of artefacts {store.artefacts.location}").error from error
    return found


def _has_expired(before: float) -> ColumnElement[bool]:
    """Nobody is about to keep it, no case that has it may still be worked on, and all were finished long enough ago."""
    holder = exists().where(artefact_uses.c.sha256 == artefacts.c.sha256, cases.c.case_id == artefact_uses.c.case_id)
    open_or_recent = or_(cases.c.finished_at.is_(None), cases.c.finished_at >= before)
    return and_(
        artefacts.c.created_at < before,
        ~holder.where(or_(cases.c.status.in_(("waiting", "running")), open_or_recent)).correlate(artefacts),
        ~exists().where(staged_artefacts.c.sha256 == artefacts.c.sha256).correlate(artefacts),
    )


def _expire(store: Store, files: ArtefactFiles, kind: str, before: float, dry_run: bool, found: Collected) -> None:
    chosen = and_(artefacts.c.kind == kind, _has_expired(before))
    if dry_run:
        row = store.read(
            lambda connection: connection.execute(
                select(func.count(), func.coalesce(func.sum(artefacts.c.size), 0)).where(chosen)
            ).one()
        )
        number, size = int(row[0]), int(row[1])
    else:
        number = size = 0
        while batch := _names(store, select(artefacts.c.sha256).where(chosen).limit(_BATCH)):
            gone, gone_bytes = _delete_expired(store, files, batch, chosen)
            number, size = number + gone, size + gone_bytes
            if not gone:  # somebody took all of them into use just now
                break
    if number:
        found.expired[kind] = number
        found.bytes_expired += size


def _delete_expired(
    store: Store, files: ArtefactFiles, batch: Sequence[str], chosen: ColumnElement[bool]
) -> tuple[int, int]:
    from tracescribe.runs.audit.log import Entry, append_many

    def work(connection: Connection) -> tuple[int, int]:
        locked = select(artefacts.c.sha256).where(artefacts.c.sha256.in_(batch)).order_by(artefacts.c.sha256)
        connection.execute(locked.with_for_update()).all()
        rows = connection.execute(select(artefacts).where(artefacts.c.sha256.in_(batch), chosen)).all()
        names = [row.sha256 for row in rows]
        held: dict[str, list[str]] = {name: [] for name in names}
        uses = select(artefact_uses.c.sha256, artefact_uses.c.case_id).where(artefact_uses.c.sha256.in_(names))
        for sha256, case_id in connection.execute(uses.order_by(artefact_uses.c.case_id)):
            held[sha256].append(case_id)
        for table in (artefact_uses, derivations):
            connection.execute(delete(table).where(table.c.sha256.in_(names)))
        for name in names:
            files.remove(name)
        connection.execute(delete(artefacts).where(artefacts.c.sha256.in_(names)))
        append_many(
            connection,
            [
                Entry(
                    "artefact deleted",
                    row.sha256,
                    {"kind": row.kind, "size": row.size, "why": "retention", "cases": held[row.sha256]},
                )
                for row in rows
            ],
        )
        return len(rows), sum(row.size for row in rows)

    return store.write(work)


def _expire_answers(store: Store, before: float, dry_run: bool) -> int:
    """Recorded answers of jobs that are over; the ledger of what was sent and paid stays."""
    over = or_(
        calls.c.job_id.is_(None),
        ~exists()
        .where(jobs.c.job_id == calls.c.job_id, jobs.c.status.in_(("waiting", "running", "stopped")))
        .correlate(calls),
    )
    chosen = and_(calls.c.status != "in_flight", calls.c.changed_at < before, over)
    if dry_run:
        return store.read(
            lambda connection: int(connection.scalar(select(func.count()).select_from(calls).where(chosen)) or 0)
        )
    from tracescribe.runs.audit import append

    def work(connection: Connection) -> int:
        number = connection.execute(delete(calls).where(chosen)).rowcount
        if number:
            append(
                connection,
                act="artefact deleted",
                subject=ANSWERS,
                details={"kind": ANSWERS, "number": number, "why": "retention"},
            )
        return int(number)

    return store.write(work)


def _collect_unused(store: Store, files: ArtefactFiles, dry_run: bool) -> int:
    if dry_run:
        return store.read(
            lambda connection: int(
                connection.scalar(select(func.count()).select_from(artefacts).where(~is_used())) or 0
            )
        )
    return remove_all_unused(store, files)


def orphans(store: Store, files: ArtefactFiles) -> Iterator[str]:
    """Names of files that the store knows nothing of, as left by a loss of power or put there by hand."""
    batch: list[str] = []
    for name, _ in files.names():
        batch.append(name)
        if len(batch) >= _NAMES_AT_ONCE:
            yield from _unknown(store, batch)
            batch = []
    yield from _unknown(store, batch)


def _unknown(store: Store, names: Iterable[str]) -> list[str]:
    wanted = sorted(names)
    known = set(_names(store, select(artefacts.c.sha256).where(artefacts.c.sha256.in_(wanted))))
    return [name for name in wanted if name not in known]


def remove_orphan(store: Store, files: ArtefactFiles, name: str) -> bool:
    """Remove a file that the store knows nothing of; False if by now it does.

    A row for it is made first: who stages the same artefact at this moment waits for us, and then writes the file anew.
    """

    def work(connection: Connection) -> bool:
        row = {"sha256": name, "kind": "orphan", "size": 0, "created_at": 0.0}
        if insert_if_absent(connection, artefacts, [row]) != 1:
            return False
        files.remove(name)
        connection.execute(delete(artefacts).where(artefacts.c.sha256 == name))
        return True

    return store.write(work)


def _names(store: Store, query: Select[Any]) -> list[str]:
    return store.read(lambda connection: [str(name) for name in connection.scalars(query)])
