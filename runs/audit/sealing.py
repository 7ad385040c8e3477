"""Seals the log: signs its end, and keeps an anchor outside the store."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tracescribe.runs.audit.anchors import Anchor, anchor_path, keep_anchor, read_anchor
from tracescribe.runs.audit.errors import AuditError, AuditInputError, AuditTamperedError
from tracescribe.runs.audit.heads import Head, sign_head, succession_message
from tracescribe.runs.audit.keys import PublicKey, SigningKey, key_path, need_key, read_key, replace_key
from tracescribe.runs.audit.log import append, end_of_log, lock_end, moment
from tracescribe.runs.audit.places import remember
from tracescribe.runs.store.tables import audit_entries, audit_heads, audit_keys
from tracescribe.tracer.errors import TracescribeError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.runs.store.database import Store, StoreAddress

LOOK = "see where with 'tracescribe audit verify'"
RESTORED = "; after going back to a backup, 'tracescribe audit anchor --after-restore' goes on"
MEANWHILE_PATIENCE = 2.0
"""Seconds that a seal in between waits for a busy store: the next one comes anyway, and nobody may wait for this one."""
SEAL_EVERY = 120.0
"""Seconds between two seals of a log that grows: what is lost to a tamperer at worst, for a few milliseconds each."""


def seal(store: Store) -> Anchor | None:
    """Sign the end of the log and keep an anchor of it; the signing key is made at the first time.

    Call it at the end of each job, and now and then in a long one: what comes after the last seal is chained, but not
    signed. Sealing what is sealed already changes nothing.

    Returns:
        The anchor; None if the log is empty.

    Raises:
        AuditInputError: key or anchor on this machine cannot be used.
        AuditTamperedError: the log is not what was signed or anchored before; nothing is signed, the anchor stays.
        AuditError: key or anchor cannot be written.
        StoreError: the store cannot be written to.
    """
    path = anchor_path(store.store_id)
    known = read_anchor(path) if path.exists() else None
    if store.read(end_of_log)[0] < 0 and known is None:
        return None
    key = need_key(key_path(store.store_id))
    anchor = store.write(lambda connection: _sign(connection, store.store_id, key, known))
    keep_anchor(path, anchor)
    remember(store.address.shown, store.store_id)
    return anchor


def try_seal(store: Store) -> str | None:
    """Seal the log for a caller whose own work is done: what goes wrong is returned in words, not raised.

    Raises:
        StoreError: the store cannot be written to.
    """
    try:
        seal(store)
    except (AuditError, AuditInputError) as error:
        return f"the audit log is not signed: {error}"
    return None


@contextmanager
def sealed_meanwhile(address: StoreAddress, every: float = SEAL_EVERY) -> Iterator[None]:
    """Seal the log of a store now and then while a block runs, so that little is unsigned if the machine goes down.

    What goes wrong is left to the seal at the end, which tells of it.

    Args:
        every: seconds between two seals.
    """
    from tracescribe.runs.store.database import open_store

    over = threading.Event()

    def work() -> None:
        while not over.wait(every):
            with suppress(TracescribeError):
                store = open_store(replace(address, patience=min(address.patience, MEANWHILE_PATIENCE)))
                try:
                    try_seal(store)
                finally:
                    store.close()

    thread = threading.Thread(target=work, name="seal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@dataclass(frozen=True)
class Rotation:
    """A key that took over from another."""

    old: PublicKey
    new: PublicKey


def rotate(store: Store) -> Rotation:
    """Sign the log with the present key once more, and let a new key take over; each signs for the other.

    The log speaks of the new key before it replaces the old one: a kill in between leaves the old key in use, and `rotate`
    can be run again.

    Raises:
        AuditInputError: the present key cannot be used, or there is none.
        AuditTamperedError: the log is not what was signed before.
        AuditError: a file cannot be written.
        StoreError: the store cannot be written to.
    """
    path = key_path(store.store_id)
    old = read_key(path)
    if old is None:
        raise AuditInputError(f"there is no audit key at {path} to rotate; the first seal makes one")
    seal(store)
    private = Ed25519PrivateKey.generate()
    new = SigningKey(path, private)
    message = succession_message(store.store_id, old.public.key_id, new.public.text)
    details = {
        "old": old.public.key_id,
        "new": new.public.key_id,
        "public_key": new.public.text,
        "signed_by_old": old.sign(message),
        "signed_by_new": new.sign(message),
    }

    def work(connection: Connection) -> None:
        lock_end(connection)
        if _has_key(connection, new.public):
            return
        _insert_key(connection, new.public)
        append(connection, act="key rotated", subject=new.public.key_id, details=details)

    store.write(work)
    replace_key(old, private)
    seal(store)
    return Rotation(old.public, new.public)


def successor(store_id: str, details: str) -> tuple[PublicKey, str] | None:
    """The new key and the old key's id that a `key rotated` entry speaks of; None unless the new key signed it.

    Whether the old key signed it too is for `signed_by_old` to tell.
    """
    try:
        found = json.loads(details)
        new = PublicKey(bytes.fromhex(found["public_key"]))
        old_id = str(found["old"])
        signed = new.vouches(succession_message(store_id, old_id, new.text), found["signed_by_new"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return (new, old_id) if signed else None


def signed_by_old(store_id: str, details: str, old: PublicKey) -> bool:
    """Whether a `key rotated` entry bears the old key's signature."""
    try:
        found = json.loads(details)
        message = succession_message(store_id, old.key_id, str(found["public_key"]))
        return found["old"] == old.key_id and old.vouches(message, found["signed_by_old"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _sign(connection: Connection, store_id: str, key: SigningKey, known: Anchor | None) -> Anchor:
    lock_end(connection)
    _refuse_another_log(connection, known)
    return sign_end(connection, store_id, key)


def sign_end(connection: Connection, store_id: str, key: SigningKey) -> Anchor:
    """Sign the last entry of a log whose end the connection has locked."""
    if not _has_key(connection, key.public):
        _insert_key(connection, key.public)
        append(connection, act="key created", subject=key.public.key_id, details={"public_key": key.public.text})
    sequence, chain = end_of_log(connection)
    row = connection.execute(sa.select(audit_heads).where(audit_heads.c.sequence == sequence)).first()
    if row is not None and row.key_id == key.public.key_id:
        return Anchor(store_id, Head(sequence, row.chain, row.at, row.key_id, row.signature), key.public)
    head = sign_head(store_id, sequence, chain, moment(), key)
    if row is None:
        connection.execute(sa.insert(audit_heads), vars(head))
    return Anchor(store_id, head, key.public)


def _refuse_another_log(connection: Connection, known: Anchor | None) -> None:
    """Sign nothing that would put a new signature over a log which was changed below the last one."""
    columns = (audit_heads.c.sequence, audit_heads.c.chain)
    last = connection.execute(sa.select(*columns).order_by(audit_heads.c.sequence.desc()).limit(1)).first()
    marks = [(int(last[0]), str(last[1]), "signed")] if last is not None else []
    if known is not None:
        marks.append((known.head.sequence, known.head.chain, "anchored"))
    for sequence, chain, how in marks:
        query = sa.select(audit_entries.c.chain).where(audit_entries.c.sequence == sequence)
        found = connection.execute(query).scalar()
        if found != chain:
            what = "is gone" if found is None else "is another now"
            raise AuditTamperedError(f"entry {sequence} of the audit log, which was {how}, {what}; {LOOK}{RESTORED}")


def _has_key(connection: Connection, key: PublicKey) -> bool:
    query = sa.select(audit_keys.c.key_id).where(audit_keys.c.key_id == key.key_id)
    return connection.execute(query).first() is not None


def _insert_key(connection: Connection, key: PublicKey) -> None:
    row = {"key_id": key.key_id, "public_key": key.text, "created_at": time.time()}
    connection.execute(sa.insert(audit_keys), row)
