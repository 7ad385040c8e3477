"""Entries of the audit log for pages: filtered, newest first, page by page; and what came of verifying it last."""

from __future__ import annotations

import json
import re
import threading
import time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict

from tracescribe.runs.audit.acts import ACTS
from tracescribe.runs.audit.checking import verify_opened
from tracescribe.runs.audit.looking import Wanted, find_entries
from tracescribe.runs.store.tables import audit_entries, audit_heads
from tracescribe.runs.web.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tracescribe.runs.audit.chain import AuditEntry
    from tracescribe.runs.audit.verifying import Verification
    from tracescribe.runs.store.database import Store

REST_SECONDS = 10.0
"""Between two verifications: each reads the whole log."""
MAX_DAMAGES = 200
_HASH = re.compile(r"[0-9a-f]{20,}")
_SHORT, _PAIRS = 120, 6


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True)


class EntryRow(_Told):
    """One entry of the log; `details` as stored where they are no JSON object."""

    sequence: int
    at: str
    actor: str
    act: str
    meaning: str
    subject: str
    details: dict[str, Any] | str
    chain: str


class EntryPage(_Told):
    """Entries, the newest first.

    Attributes:
        older: give it as `before` to get those before these; None where there are none.
    """

    entries: tuple[EntryRow, ...]
    older: int | None


class LogState(_Told):
    """The log as a whole, unverified.

    Attributes:
        n_entries: by the last one's number.
        signed_through: number of the last entry that a signature is there for; None without any.
        signed_at: when that was made.
    """

    store_id: str
    n_entries: int
    n_heads: int
    signed_through: int | None
    signed_at: str | None


class DamageRow(_Told):
    """Damage at entries `first` to `last` (-1: not at one), of a kind, in words."""

    kind: str
    first: int
    last: int
    message: str


class VerificationState(_Told):
    """What came of verifying the log.

    Attributes:
        at: when, in seconds since 1970 in UTC.
        signed_through: last entry that a signature or an anchor vouches for; -1 for none.
        keys_known: whether a key is known from elsewhere than the log itself.
        n_damages: in all; the first of them are in `damages`.
    """

    whole: bool
    at: float
    seconds: float
    asked_by: str
    n_entries: int
    n_heads: int
    n_anchors: int
    signed_through: int
    unsigned: int
    keys_known: bool
    n_damages: int
    damages: tuple[DamageRow, ...]
    restored: tuple[str, ...]


def read_page(store: Store, wanted: Wanted, per_page: int) -> EntryPage:
    """Entries that are wanted, and whether there are older ones.

    Raises:
        StoreError: the store cannot be read.
    """
    from dataclasses import replace

    found = find_entries(store, replace(wanted, limit=per_page + 1))[::-1]
    shown = found[:per_page]
    older = int(shown[-1].sequence) if len(found) > per_page else None
    return EntryPage(entries=tuple(_row(entry) for entry in shown), older=older)


def read_state(store: Store) -> LogState:
    """How long the log is, and how far it is signed, as it says itself.

    Raises:
        StoreError: the store cannot be read.
    """
    heads = audit_heads.c

    def look(connection: sa.Connection) -> tuple[int | None, int, Any]:
        last = connection.execute(sa.select(sa.func.max(audit_entries.c.sequence))).scalar()
        n_heads = connection.execute(sa.select(sa.func.count()).select_from(audit_heads)).scalar_one()
        head = connection.execute(sa.select(heads.sequence, heads.at).order_by(heads.sequence.desc()).limit(1)).first()
        return last, int(n_heads), head

    last, n_heads, head = store.read(look)
    return LogState(
        store_id=store.store_id,
        n_entries=0 if last is None else int(last) + 1,
        n_heads=n_heads,
        signed_through=None if head is None else int(head[0]),
        signed_at=None if head is None else str(head[1]),
    )


class Verifier:
    """Verifies the log of one running app's store, one at a time, and remembers what came of it."""

    def __init__(self) -> None:
        self._running = threading.Lock()
        self.last: VerificationState | None = None

    def verify(self, store: Store, asked_by: str) -> VerificationState:
        """Verify now.

        Raises:
            Refusal: 429, somebody does, or did a moment ago.
            StoreError: the store cannot be read.
            AuditInputError: a key or the anchor that this machine keeps cannot be used.
        """
        if not self._running.acquire(blocking=False):
            raise Refusal(
                429, "busy", "the log is being verified already; wait for the result", headers={"Retry-After": "5"}
            )
        try:
            ago = time.time() - self.last.at if self.last is not None else REST_SECONDS
            if 0 <= ago < REST_SECONDS:
                wait = max(1, round(REST_SECONDS - ago))
                raise Refusal(
                    429,
                    "too many",
                    f"the log was verified {ago:.0f} s ago; try again in {wait} s",
                    fields={"retry_after": wait},
                    headers={"Retry-After": str(wait)},
                )
            started = time.monotonic()
            found = verify_opened(store)
            self.last = _state(found, time.monotonic() - started, asked_by)
            return self.last
        finally:
            self._running.release()


def _state(found: Verification, seconds: float, asked_by: str) -> VerificationState:
    return VerificationState(
        whole=found.is_whole,
        at=time.time(),
        seconds=seconds,
        asked_by=asked_by,
        n_entries=found.n_entries,
        n_heads=found.n_heads,
        n_anchors=found.n_anchors,
        signed_through=found.signed_through,
        unsigned=found.unsigned,
        keys_known=found.keys_known,
        n_damages=len(found.damages),
        damages=tuple(
            DamageRow(kind=d.kind, first=d.first, last=d.last, message=d.message) for d in found.damages[:MAX_DAMAGES]
        ),
        restored=found.restored,
    )


def _row(entry: AuditEntry) -> EntryRow:
    meanings: Mapping[str, str] = {str(act): meaning for act, meaning in ACTS.items()}
    return EntryRow(
        sequence=entry.sequence,
        at=str(entry.at),
        actor=str(entry.actor),
        act=str(entry.act),
        meaning=meanings.get(str(entry.act), "an act that this version does not know"),
        subject=str(entry.subject),
        details=_details(entry.details),
        chain=str(entry.chain),
    )


def _details(text: object) -> dict[str, Any] | str:
    """Of an entry; somebody may have damaged them."""
    try:
        found = json.loads(str(text))
        json.dumps(found, allow_nan=False)
    except (ValueError, RecursionError):
        return str(text)
    return found if isinstance(found, dict) else str(text)


def told(details: dict[str, Any] | str) -> list[tuple[str, str]]:
    """Details as pairs of words, the whole of them."""
    if isinstance(details, str):
        return [("", details)] if details else []
    return [
        (str(name), value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in details.items()
    ]


def in_short(details: dict[str, Any] | str) -> list[tuple[str, str]]:
    """What people look for first in details: no hashes and nothing empty, numbers with few digits."""
    if isinstance(details, str):
        return [("", details[:_SHORT])] if details else []
    pairs: list[tuple[str, str]] = []
    for name, value in details.items():
        if value is None or value == "" or (isinstance(value, str) and _HASH.fullmatch(value)):
            continue
        if isinstance(value, float):
            pairs.append((str(name), f"{value:.3g}"))
        elif isinstance(value, dict) and all(isinstance(one, str) and _HASH.search(one) for one in value.values()):
            pairs.append((str(name), ", ".join(map(str, value))[:_SHORT]))
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            pairs.append((str(name), text if len(text) <= _SHORT else text[:_SHORT] + "…"))
    return pairs[:_PAIRS]


def cut_name(name: str) -> str:
    """A name whose long run of digits is cut: a worker's, an artefact's."""
    return _HASH.sub(lambda found: found[0][:10] + "…", name)
