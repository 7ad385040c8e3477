"""Goes on with a log after its store was put back from a backup: what is lost is written down, signed, and known from then on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tracescribe.runs.audit.anchors import Anchor, anchor_path, read_anchor, replace_anchor
from tracescribe.runs.audit.errors import AuditTamperedError
from tracescribe.runs.audit.keys import key_path, need_key
from tracescribe.runs.audit.log import append, lock_end
from tracescribe.runs.audit.sealing import LOOK, seal, sign_end
from tracescribe.runs.audit.sources import source_of
from tracescribe.runs.audit.verifying import Trust, local_trust, verify_log
from tracescribe.runs.store.tables import audit_entries

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.runs.store.database import Store


def accept_restored(store: Store) -> Anchor | None:
    """Log that the end of the log is lost, sign that, and anchor the log as it is now; the old anchor is kept beside.

    Where nothing is lost that this machine knows of, the log is sealed as ever.

    Returns:
        The anchor; None if the log is empty.

    Raises:
        AuditInputError: key or anchor cannot be used.
        AuditTamperedError: more is wrong with the log than that its end is gone.
        AuditError: key or anchor cannot be written.
        StoreError: the store cannot be written to.
    """
    path = anchor_path(store.store_id)
    lost = read_anchor(path) if path.exists() else None
    if lost is None:
        return seal(store)
    query = sa.select(audit_entries.c.chain).where(audit_entries.c.sequence == lost.head.sequence)
    if store.read(lambda connection: connection.execute(query).scalar()) == lost.head.chain:
        return seal(store)
    trust = local_trust(store.store_id)
    rest = verify_log(source_of(store), Trust(trust.keys, (), trust.damages))
    if not rest.is_whole:
        raise AuditTamperedError(f"more is wrong with the audit log than that its end is gone; {LOOK}")
    key = need_key(key_path(store.store_id))
    details = {"sequence": lost.head.sequence, "chain": lost.head.chain, "at": lost.head.at, "key_id": lost.head.key_id}

    def work(connection: Connection) -> Anchor:
        lock_end(connection)
        told = sa.select(audit_entries.c.details).where(audit_entries.c.act == "log restored")
        if not any(json.loads(text) == details for text in connection.execute(told).scalars()):
            append(connection, act="log restored", subject=store.store_id, details=details)
        return sign_end(connection, store.store_id, key)

    anchor: Anchor = store.write(work)
    replace_anchor(path, lost, anchor)
    return anchor
