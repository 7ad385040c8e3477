"""Entries of the claim registry, and the hash chain that makes tampering visible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from tracescribe.agents.claims import Frozen
from tracescribe.tracer.errors import RegistrationError
from tracescribe.tracer.provenance import sha256_json

FIRST_PREVIOUS = "0" * 64
"""What stands in the first entry's `previous`."""

Event = Literal["defined", "registered", "planned", "measured", "reported"]


class RegistryLogError(RegistrationError):
    """A registry log on disk that was damaged or changed, or that belongs to another run than the one that goes on."""


class RegistryUnheardError(RegistryLogError):
    """Who must hear of every claim before its test could not be told, so nothing was tested; the cause says why."""


class Registration(Frozen):
    """One entry of the append-only claim registry; entries are hash-chained.

    Attributes:
        sequence: place in the log, from 0, shared by registrations and experiments.
        event: `defined` (a supernode's members are fixed), `registered` (a claim is fixed), `planned` (its experiment is
            fixed), `measured` (its result is in), `reported` (the report is made: the last entry of its log).
        subject: the supernode id of `defined`, the report id of `reported`, otherwise the claim id.
        sha256: content hash of the supernode's members, claim, plan, measurement or report.
        previous: chain hash of the entry before; 64 zeros for the first.
        chain: SHA-256 of this entry's other fields.
    """

    sequence: int = Field(ge=0)
    event: Event
    subject: str
    sha256: str
    previous: str
    chain: str


def chain_sha256(sequence: int, event: str, subject: str, sha256: str, previous: str) -> str:
    """Chain hash of one entry, over all its other fields."""
    return sha256_json([sequence, event, subject, sha256, previous])


def verify_chain(entries: Sequence[Registration]) -> None:
    """Check that a log is whole: no entry changed, dropped, added or moved.

    Raises:
        RegistrationError: it is not; the message names the first entry that does not fit.
    """
    previous = FIRST_PREVIOUS
    for number, entry in enumerate(entries):
        expected = chain_sha256(number, entry.event, entry.subject, entry.sha256, previous)
        if entry.sequence != number or entry.previous != previous or entry.chain != expected:
            raise RegistrationError(
                f"registry entry {number} ({entry.event} {entry.subject}) does not continue the chain: "
                "the log was changed after it was written"
            )
        previous = entry.chain
