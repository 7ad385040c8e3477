"""Finds entries of the log by what they tell of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, cast, get_args

import sqlalchemy as sa

from tracescribe.runs.audit.acts import Act
from tracescribe.runs.audit.chain import COLUMNS, AuditEntry
from tracescribe.runs.store.tables import audit_entries
from tracescribe.tracer.errors import SettingError

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store


_MOMENT = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True)
class Wanted:
    """Which entries.

    Attributes:
        subjects: ids of jobs, cases, artefacts, tokens or keys; with `prefix` also whatever begins with one and a dot, as
            the cases of a job do.
        since: moment from which on; None for the beginning.
        until: moment before which; None for the end.
        before: number of an entry; only those before it.
        limit: most entries, the last ones; None for all.
    """

    subjects: tuple[str, ...] = ()
    acts: tuple[Act, ...] = ()
    actor: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None
    limit: int | None = None
    prefix: bool = False


def checked_acts(names: tuple[str, ...]) -> tuple[Act, ...]:
    """Acts by name.

    Raises:
        SettingError: there is no such act.
    """
    for name in names:
        if name not in get_args(Act):
            raise SettingError(f"no act {name[:40]!r}; choose of: {', '.join(get_args(Act))}")
    return cast("tuple[Act, ...]", names)


def find_entries(store: Store, wanted: Wanted) -> list[AuditEntry]:
    """The entries that are wanted, the oldest first."""
    table = audit_entries.c
    query = sa.select(*(table[name] for name in COLUMNS)).order_by(table.sequence.desc())
    if wanted.subjects:
        exact = table.subject.in_(wanted.subjects)
        # a range instead of LIKE: it finds its way by the index, and ids are no patterns; '/' follows '.'
        below = [(table.subject >= f"{s}.") & (table.subject < f"{s}/") for s in wanted.subjects if wanted.prefix]
        query = query.where(sa.or_(exact, *below))
    if wanted.acts:
        query = query.where(table.act.in_(wanted.acts))
    if wanted.actor is not None:
        query = query.where(table.actor == wanted.actor)
    if wanted.since is not None:
        query = query.where(table.at >= wanted.since.strftime(_MOMENT))
    if wanted.until is not None:
        query = query.where(table.at < wanted.until.strftime(_MOMENT))
    if wanted.before is not None:
        query = query.where(table.sequence < wanted.before)
    if wanted.limit is not None:
        query = query.limit(wanted.limit)
    rows = store.read(lambda connection: list(connection.execute(query)))
    return [AuditEntry(*row) for row in reversed(rows)]
