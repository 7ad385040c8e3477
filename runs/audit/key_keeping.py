"""Which keys a log has, and which of them this machine trusts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs.audit.errors import AuditError, AuditInputError
from tracescribe.runs.audit.keys import PublicKey, key_path, read_key, read_public, trust, trusted_keys
from tracescribe.runs.audit.sources import source_of
from tracescribe.tracer.errors import OutputError
from tracescribe.tracer.provenance import write_bytes_atomic

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store


@dataclass(frozen=True)
class KeyRow:
    """One key.

    Attributes:
        public_key: in hexadecimal digits.
        signs: whether its private half is on this machine.
        trusted: whether this machine trusts it.
        stored: whether the log has it.
    """

    key_id: str
    public_key: str
    signs: bool
    trusted: bool
    stored: bool


@dataclass(frozen=True)
class KeyRing:
    """All keys that are known for a log.

    Attributes:
        path: of this machine's private key, whether it is there or not.
        own: its public half; None where there is no key yet.
        trusted: on this machine.
        stored: ids and public keys that the log has.
    """

    path: Path
    own: PublicKey | None
    trusted: tuple[PublicKey, ...]
    stored: tuple[tuple[str, str], ...]

    def rows(self) -> list[KeyRow]:
        """Every key once: the one that signs here, others that are trusted, others that the log has."""
        texts = {key.key_id: key.text for key in self.trusted} | dict(self.stored)
        trusted, stored = {key.key_id for key in self.trusted}, {key_id for key_id, _ in self.stored}
        own = self.own.key_id if self.own is not None else None
        rows = [KeyRow(i, text, i == own, i in trusted, i in stored) for i, text in texts.items()]
        return sorted(rows, key=lambda row: (not row.signs, not row.trusted, row.key_id))


def key_ring(store: Store) -> KeyRing:
    """The keys of a store's log.

    Raises:
        AuditInputError: a key on this machine cannot be used.
    """
    path = key_path(store.store_id)
    own = read_key(path)
    public = own.public if own is not None else None
    return KeyRing(path, public, tuple(trusted_keys(path)), tuple(source_of(store).public_keys()))


def trust_file(store: Store, path: Path) -> PublicKey:
    """Trust the public key in a file for this store's log, on this machine.

    Raises:
        AuditInputError: it holds none.
        AuditError: it cannot be kept.
    """
    key = read_public(path)
    trust(key_path(store.store_id), key)
    return key


def export_public(store: Store, path: Path) -> PublicKey:
    """Write the public half of this machine's key to a file.

    Raises:
        AuditInputError: there is no key yet.
        AuditError: the file cannot be written.
    """
    own = read_key(key_path(store.store_id))
    if own is None:
        raise AuditInputError(
            f"there is no audit key at {key_path(store.store_id)} yet; 'tracescribe audit anchor' makes one"
        )
    try:
        write_bytes_atomic(path, own.public.pem())
    except OutputError as error:
        raise AuditError(str(error)) from error
    return own.public
