"""Looks a store over: the database's own consistency, every artefact's bytes, and files that belong to nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from sqlalchemy import delete, exists, func, select

from tracescribe.runs.store.artefact_sweep import sweep
from tracescribe.runs.store.collecting import orphans, remove_orphan
from tracescribe.runs.store.database_faults import of_os_error
from tracescribe.runs.store.errors import ArtefactDamagedError, ArtefactMissingError
from tracescribe.runs.store.tables import (
    artefact_uses,
    artefacts,
    cases,
    derivations,
    review_acts,
    reviews,
    staged_artefacts,
    workers,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.runs.store.database import Store

_PAGE = 200
_TOLD_OF_DATABASE = 20

FaultKind = Literal["database", "damaged", "missing", "case", "review", "orphan", "left"]


@dataclass(frozen=True)
class StoreFault:
    """One thing that is not as it should be.

    Attributes:
        kind: `database` (its own check failed), `damaged` or `missing` (an artefact that somebody has), `case` or `review`
            (rows that cannot be), `orphan` (a file that nobody knows), `left` (by a worker that is not alive).
        name: SHA-256, case id or file.
        message: what is wrong.
        jobs, cases: whose results it belongs to.
        repaired: it is as it should be now.
    """

    kind: FaultKind
    name: str
    message: str
    jobs: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    repaired: bool = False

    @property
    def harmless(self) -> bool:
        """Waste of room, and no loss."""
        return self.kind in ("orphan", "left")


@dataclass
class Verified:
    """What was found.

    Attributes:
        artefacts: how many were read and compared with their names.
    """

    artefacts: int = 0
    bytes: int = 0
    faults: list[StoreFault] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Nothing is lost or damaged that was not repaired."""
        return all(fault.repaired or fault.harmless for fault in self.faults)


def verify(store: Store, *, repair: bool = False, progress: Callable[[int], None] | None = None) -> Verified:
    """Look the store over; safe while jobs run, though what they do at this moment may be told as a fault.

    Args:
        repair: set damaged artefacts aside, forget computations that they would have saved, and remove what belongs to
            nobody. A result that is lost is not invented: its cases are named, to be tried again.
        progress: told the number of artefacts read so far.

    Raises:
        StoreError: the store cannot be used at all.
    """
    found = Verified()
    found.faults += _database(store)
    try:
        for sha256, size, kind in _artefacts(store):
            fault = _of_artefact(store, sha256, size, kind, repair)
            found.artefacts += 1
            found.bytes += size
            if fault is not None:
                found.faults.append(fault)
            if progress is not None:
                progress(found.artefacts)
        found.faults += _cases(store)
        found.faults += _reviews(store)
        found.faults += _leftovers(store, repair)
    except OSError as error:
        raise of_os_error(error, f"the folder of artefacts {store.artefacts.location}").error from error
    if repair and any(fault.repaired for fault in found.faults):
        _tell(store, found)
    return found


def _database(store: Store) -> list[StoreFault]:
    if store.address.database_file is None:
        return []  # a server looks after itself; pg_amcheck is its tool

    def work(connection: Connection) -> list[StoreFault]:
        rows = connection.exec_driver_sql(f"PRAGMA integrity_check({_TOLD_OF_DATABASE})").scalars().all()
        faults = [StoreFault("database", "integrity", str(row)) for row in rows if row != "ok"]
        for table, row_id, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(
            _TOLD_OF_DATABASE
        ):
            faults.append(StoreFault("database", str(table), f"row {row_id} names a row of {parent} that is not there"))
        return faults

    return store.read(work)


def _artefacts(store: Store) -> Iterator[tuple[str, int, str]]:
    """What somebody has; an artefact that is only staged may have no file yet."""
    last = ""
    used = exists().where(artefact_uses.c.sha256 == artefacts.c.sha256)
    saves = exists().where(derivations.c.sha256 == artefacts.c.sha256)
    while True:
        page = select(artefacts.c.sha256, artefacts.c.size, artefacts.c.kind).where(
            artefacts.c.sha256 > last, used | saves
        )
        rows = store.read(
            lambda connection, page=page: connection.execute(  # type: ignore[misc]
                page.order_by(artefacts.c.sha256).limit(_PAGE)
            ).all()
        )
        if not rows:
            return
        yield from ((row.sha256, row.size, row.kind) for row in rows)
        last = rows[-1].sha256


def _of_artefact(store: Store, sha256: str, size: int, kind: str, repair: bool) -> StoreFault | None:
    what: FaultKind
    try:
        content = store.artefacts.read(sha256) if repair else store.artefacts.look(sha256)
    except ArtefactDamagedError as error:
        what, message = "damaged", str(error)
    except ArtefactMissingError as error:
        what, message = "missing", str(error)
    else:
        if len(content) == size:
            return None
        what, message = "damaged", f"its row says {size} bytes, its file has {len(content)}"
    held = store.read(
        lambda connection: connection.execute(
            select(cases.c.job_id, cases.c.case_id)
            .join(artefact_uses, artefact_uses.c.case_id == cases.c.case_id)
            .where(artefact_uses.c.sha256 == sha256)
            .order_by(cases.c.case_id)
        ).all()
    )
    if repair:
        store.write(lambda connection: connection.execute(delete(derivations).where(derivations.c.sha256 == sha256)))
    return StoreFault(
        what,
        sha256,
        f"{kind}: {message}",
        tuple(sorted({row.job_id for row in held})),
        tuple(row.case_id for row in held),
        repaired=repair and not held,
    )


def _cases(store: Store) -> list[StoreFault]:
    """Cases whose rows contradict themselves."""
    done = (cases.c.status == "done") & (cases.c.finished_at.is_(None) | cases.c.figures.is_(None))
    alone = (cases.c.status == "running") & ~exists().where(workers.c.worker_id == cases.c.worker_id)

    def work(connection: Connection) -> list[StoreFault]:
        faults = []
        for condition, message in (
            (done, "done, with no moment or figures of its end"),
            (alone, "running at a worker that was never there"),
        ):
            for row in connection.execute(select(cases.c.job_id, cases.c.case_id).where(condition)):
                faults.append(StoreFault("case", row.case_id, message, (row.job_id,), (row.case_id,)))
        return faults

    return store.read(work)


def _reviews(store: Store) -> list[StoreFault]:
    """Reviews that do not have as many acts as they say, numbered without a gap from 1, or that cannot be opened."""
    from tracescribe.runs.review.checking import unreadable_reviews

    acts, last = func.count(review_acts.c.version), func.coalesce(func.max(review_acts.c.version), 0)
    query = (
        select(reviews.c.review_id, reviews.c.case_id, reviews.c.version, acts.label("acts"), last.label("last"))
        .outerjoin(review_acts, review_acts.c.review_id == reviews.c.review_id)
        .group_by(reviews.c.review_id, reviews.c.case_id, reviews.c.version)
        .having((acts != reviews.c.version) | (last != reviews.c.version))
        .order_by(reviews.c.review_id)
    )
    rows = store.read(lambda connection: connection.execute(query).all())
    told = {row.review_id for row in rows}
    found = [
        StoreFault(
            "review",
            row.review_id,
            f"it says that it has {row.version} acts, and has {row.acts}, the last with number {row.last}; restore the "
            "store from a backup",
            cases=(row.case_id,),
        )
        for row in rows
    ]
    found += [
        StoreFault("review", review_id, message, cases=(case_id,))
        for review_id, case_id, message in unreadable_reviews(store)
        if review_id not in told
    ]
    return found


def _leftovers(store: Store, repair: bool) -> Iterator[StoreFault]:
    files = store.artefacts.files
    alive = store.read(
        lambda connection: set(connection.scalars(select(workers.c.worker_id).where(workers.c.status == "alive")))
    )
    staged = store.read(
        lambda connection: connection.execute(
            select(staged_artefacts.c.sha256, staged_artefacts.c.worker_id)
            .join(workers, workers.c.worker_id == staged_artefacts.c.worker_id)
            .where(workers.c.status != "alive")
        ).all()
    )
    for row in staged:
        yield StoreFault("left", row.sha256, f"staged by {row.worker_id}, who is not alive", repaired=repair)
    for name, worker_id in files.unfinished():
        if worker_id not in alive:
            yield StoreFault("left", name, f"begun by {worker_id}, who is not alive", repaired=repair)
    if repair:
        sweep(store, files)
    for name in orphans(store, files):
        gone = repair and remove_orphan(store, files, name)
        yield StoreFault("orphan", name, "a file that the store knows nothing of", repaired=gone)


def _tell(store: Store, found: Verified) -> None:
    from tracescribe.runs.audit import append

    counts: dict[str, int] = {}
    for fault in found.faults:
        if fault.repaired:
            counts[fault.kind] = counts.get(fault.kind, 0) + 1
    store.write(lambda connection: append(connection, act="store repaired", subject=store.store_id, details=counts))
