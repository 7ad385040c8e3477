"""The hash chain: what an entry is, and the hash that ties it to the one before it.

An entry's chain hash is the SHA-256 of the canonical JSON of `[sequence, at, actor, act, subject, details, previous]`,
where `details` is the stored text itself (already canonical JSON), and `previous` the chain hash of the entry before.
The first entry's `previous` is made from the store's id, so that the log of one store is not taken for another's.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_sha256 = hashlib.sha256

COLUMNS = ("sequence", "at", "actor", "act", "subject", "details", "previous", "chain")
"""Of an entry, in the order in which they are hashed, read and exported."""


@dataclass(frozen=True)
class AuditEntry:
    """One line of the log, as it is stored.

    Attributes:
        at: ISO 8601 in UTC; for people.
        details: canonical JSON.
        previous: chain hash of the entry before it.
        chain: hash of all of the above.
    """

    sequence: int
    at: str
    actor: str
    act: str
    subject: str
    details: str
    previous: str
    chain: str


def first_previous(store_id: str) -> str:
    """What the first entry of a store's log names as its predecessor."""
    return _sha256(f"tracescribe audit log of store {store_id}".encode()).hexdigest()


def chain_sha256(sequence: int, at: str, actor: str, act: str, subject: str, details: str, previous: str) -> str:
    """The hash that an entry must carry.

    Raises:
        TypeError, ValueError: a value is nothing that an entry can hold; it was not written by us.
    """
    return _sha256(_encode([sequence, at, actor, act, subject, details, previous]).encode()).hexdigest()
