"""Signed heads: the chain hash of one entry, and so of all before it, under somebody's signature."""

from __future__ import annotations

from dataclasses import dataclass

from tracescribe.runs.audit.keys import PublicKey, SigningKey
from tracescribe.tracer.provenance import canonical_json


@dataclass(frozen=True)
class Head:
    """The end of the log at some moment.

    Attributes:
        sequence, chain: of the entry that was last.
        at: ISO 8601 in UTC; for people.
        key_id: fingerprint of the key that signed.
        signature: in hexadecimal digits.
    """

    sequence: int
    chain: str
    at: str
    key_id: str
    signature: str

    def message(self, store_id: str) -> bytes:
        """What is signed: all of it, and which store's log it is."""
        return canonical_json(
            ["tracescribe audit head", 1, store_id, self.sequence, self.chain, self.at, self.key_id]
        ).encode("utf-8", "replace")

    def is_signed_by(self, store_id: str, key: PublicKey) -> bool:
        """Whether the signature is this key's."""
        return key.key_id == self.key_id and key.vouches(self.message(store_id), self.signature)


def sign_head(store_id: str, sequence: int, chain: str, at: str, key: SigningKey) -> Head:
    """Sign the end of a log."""
    unsigned = Head(sequence, chain, at, key.public.key_id, "")
    return Head(sequence, chain, at, unsigned.key_id, key.sign(unsigned.message(store_id)))


def succession_message(store_id: str, old_key_id: str, new_public_key: str) -> bytes:
    """What both keys sign when one takes over from the other."""
    return canonical_json(["tracescribe audit key", 1, store_id, old_key_id, new_public_key]).encode("utf-8", "replace")
