"""Appends to the audit log, within the transaction of the act that is told of.

Who writes to the log holds its end until the transaction is over: SQLite's write lock, or an advisory lock on PostgreSQL
(under its default isolation, READ COMMITTED). An act and its entry are committed together or not at all, so a
transaction that is run again leaves one entry.
"""

from __future__ import annotations

import getpass
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tracescribe.runs.audit.acts import Act
from tracescribe.runs.audit.chain import chain_sha256, first_previous
from tracescribe.runs.store.errors import StoreDamagedError
from tracescribe.runs.store.tables import audit_entries, settings
from tracescribe.tracer.provenance import canonical_json
from tracescribe.tracer.redaction import Redactor, current_redactor

if TYPE_CHECKING:
    from sqlalchemy import Connection

MAX_DETAILS = 16_384
"""Characters of an entry's details: a log that is kept for ever tells what was done, not all that was said."""
MAX_TEXT = 1_000
"""Characters of one text among the details, once they are too large as a whole."""
MAX_NAME = 200
"""Characters of actor and subject, as wide as their columns."""
_LOCK = 0x7472_6163_6561_7564
"""Of PostgreSQL's advisory locks, the one that means the end of the audit log."""


@dataclass(frozen=True)
class Entry:
    """An act that is to be logged.

    Attributes:
        subject: id of the job, case, artefact, token or key that was acted on.
        details: JSON values; redacted and shortened before they are written.
        actor: `worker:<id>`, `local:<user>` or `token:<name>`; None for the person at this machine.
    """

    act: Act
    subject: str
    details: Mapping[str, Any] = field(default_factory=dict)
    actor: str | None = None


def append(
    connection: Connection,
    *,
    act: Act,
    subject: str,
    details: Mapping[str, Any] | None = None,
    actor: str | None = None,
) -> int:
    """Append one entry within the caller's transaction.

    Args:
        connection: of `store.write`.
        act: what was done, of the closed set.
        subject: id of what it was done to.
        details: JSON values; redacted and shortened before they are written.
        actor: `worker:<id>`, `local:<user>` or `token:<name>`; None for the person at this machine.

    Returns:
        The entry's sequence number.

    Raises:
        StoreDamagedError: the store does not say which store it is.
    """
    return append_many(connection, [Entry(act, subject, details or {}, actor)])[0]


def append_many(connection: Connection, entries: Sequence[Entry]) -> list[int]:
    """Append several entries within the caller's transaction, in their order.

    Returns:
        Their sequence numbers.

    Raises:
        StoreDamagedError: the store does not say which store it is.
    """
    if not entries:
        return []
    lock_end(connection)
    sequence, previous = end_of_log(connection)
    at, redactor = moment(), current_redactor()
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    for entry in entries:
        sequence += 1
        actor = clean_name(entry.actor if entry.actor is not None else local_actor())
        subject = clean_name(entry.subject)
        details = details_text(entry.details, redactor)
        chain = chain_sha256(sequence, at, actor, entry.act, subject, details, previous)
        rows.append(
            {
                "sequence": sequence,
                "at": at,
                "actor": actor,
                "act": entry.act,
                "subject": subject,
                "details": details,
                "previous": previous,
                "chain": chain,
            }
        )
        numbers.append(sequence)
        previous = chain
    connection.execute(_INSERT, rows)
    return numbers


def lock_end(connection: Connection) -> None:
    """Keep everybody else from appending until this transaction is over."""
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK_END, {"lock": _LOCK})


def end_of_log(connection: Connection) -> tuple[int, str]:
    """Sequence number and chain hash of the last entry; -1 and the store's own beginning where there is none.

    Raises:
        StoreDamagedError: the store does not say which store it is.
    """
    row = connection.execute(_LAST).first()
    if row is not None:
        return int(row[0]), str(row[1])
    return -1, first_previous(store_id_of(connection))


def store_id_of(connection: Connection) -> str:
    """The store's id, as its settings have it.

    Raises:
        StoreDamagedError: they do not have it.
    """
    import json

    value = connection.execute(_STORE_ID).scalar()
    found: object = None
    if isinstance(value, str):
        try:
            found = json.loads(value)
        except ValueError:
            found = value
    if not isinstance(found, str) or not found:
        raise StoreDamagedError("the store's settings do not hold its store_id; restore the store from a backup")
    return found


def local_actor() -> str:
    """The person at this machine: `local:<user>`."""
    try:
        return f"local:{getpass.getuser()}"
    except (KeyError, OSError):  # a container may run as a user without a name
        return f"local:uid-{os.getuid()}"


def moment() -> str:
    """Now, as entries have it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def clean_name(text: str) -> str:
    """A name as both databases can store it."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")[:MAX_NAME]


def details_text(details: Mapping[str, Any], redactor: Redactor | None = None) -> str:
    """Details as they are stored: redacted (as is in force here), in canonical form, not longer than `MAX_DETAILS`."""
    if not details:
        return "{}"
    details = (redactor or current_redactor()).value(dict(details))
    text = _canonical(details)
    if len(text) <= MAX_DETAILS:
        return text
    text = _canonical(_shortened(details))
    if len(text) <= MAX_DETAILS:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return _canonical({"shortened": text[: MAX_DETAILS // 4], "sha256": digest})


def _canonical(value: Any) -> str:
    # a hostile prompt may hold a lone surrogate, which is no UTF-8; a NUL is escaped in JSON
    return canonical_json(value).encode("utf-8", "replace").decode()


def _shortened(value: Any) -> Any:
    if isinstance(value, str) and len(value) > MAX_TEXT:
        return value[:MAX_TEXT] + "…"
    if isinstance(value, Mapping):
        return {name: _shortened(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(inner) for inner in value]
    return value


_INSERT = sa.insert(audit_entries)
_LAST = sa.select(audit_entries.c.sequence, audit_entries.c.chain).order_by(audit_entries.c.sequence.desc()).limit(1)
_STORE_ID = sa.select(settings.c.value).where(settings.c.name == "store_id")
_LOCK_END = sa.text("SELECT pg_advisory_xact_lock(:lock)")
