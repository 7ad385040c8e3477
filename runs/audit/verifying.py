"""Verifies a log: every entry, every signature, every anchor; tells all places of damage, not only the first."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracescribe.runs.audit.anchors import Anchor, anchor_path, read_anchor
from tracescribe.runs.audit.chain import first_previous
from tracescribe.runs.audit.damage import Damage, Mark, assess
from tracescribe.runs.audit.errors import AuditInputError
from tracescribe.runs.audit.heads import Head
from tracescribe.runs.audit.keys import PublicKey, key_path, trusted_keys
from tracescribe.runs.audit.sealing import signed_by_old, successor
from tracescribe.runs.audit.sources import LogSource
from tracescribe.runs.audit.walk import Findings, Walk

Progress = Callable[[int], None]
REACH = 1_000
"""Entries beyond all known ones that may have been removed while the rest was renumbered."""


@dataclass(frozen=True)
class Trust:
    """What a log is checked against.

    Attributes:
        keys: public keys that are known from elsewhere than the log; empty where none are.
        anchors: that somebody kept.
        damages: what is wrong with them.
    """

    keys: tuple[PublicKey, ...] = ()
    anchors: tuple[Anchor, ...] = ()
    damages: tuple[Damage, ...] = ()


@dataclass(frozen=True)
class Verification:
    """What came of verifying a log.

    Attributes:
        n_entries, n_heads: read.
        signed_through: number of the last entry that a signature or an anchor vouches for; -1 for none.
        unsigned: entries after it: chained, but nobody signed them yet.
        keys_known: whether the keys are known from elsewhere than the log itself; else whoever rewrote the log may have
            put a key of theirs there.
        n_anchors: compared with.
        damages: in the order of their places; empty if all is well.
        restored: ends of the log that are lost, which it says itself, signed, after going back to a backup.
    """

    store_id: str
    n_entries: int
    n_heads: int
    signed_through: int
    unsigned: int
    keys_known: bool
    n_anchors: int
    damages: tuple[Damage, ...]
    restored: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.damages


def local_trust(store_id: str) -> Trust:
    """What this machine knows of a store's log: its key, the keys that it trusts, and the anchor that it keeps.

    Raises:
        AuditInputError: a key cannot be used.
    """
    path = anchor_path(store_id)
    anchors: list[Anchor] = []
    damages: list[Damage] = []
    if path.exists():
        try:
            anchors.append(_of_store(read_anchor(path), store_id, path))
        except AuditInputError as error:
            damages.append(Damage("anchor", -1, -1, str(error)))
    return Trust(tuple(trusted_keys(key_path(store_id))), tuple(anchors), tuple(damages))


def trust_anchor(trust: Trust, path: Path, store_id: str) -> Trust:
    """Compare with an anchor that somebody kept, too; its key is then known.

    Raises:
        AuditInputError: it cannot be used, or is of another store.
    """
    anchor = _of_store(read_anchor(path), store_id, path)
    return Trust((*trust.keys, anchor.public_key), (*trust.anchors, anchor), trust.damages)


def verify_log(source: LogSource, trust: Trust, progress: Progress | None = None) -> Verification:
    """Verify a log. Entries that are appended meanwhile do no harm.

    Args:
        progress: called with the number of entries read so far.
    """
    heads, stored = source.heads(), source.public_keys()  # before the entries, so that none lies beyond what is read
    usable = [head for head in heads if isinstance(head.sequence, int)]
    marked = {head.sequence for head in usable} | {anchor.head.sequence for anchor in trust.anchors}
    reach = max([source.last_number(), *marked]) + REACH
    walk = Walk(first_previous(source.store_id), marked, source.find, reach)
    for rows in source.batches():
        walk.read(rows)
        if progress is not None:
            progress(walk.findings.n_entries)
    findings = walk.end()
    damages = list(trust.damages) + list(source.faults)
    good_keys, key_damages = _stored_keys(stored)
    known = _known_keys(source.store_id, trust.keys or good_keys, good_keys, findings.rotations)
    damages += key_damages
    if trust.keys:
        damages += [
            Damage("key", -1, -1, f"the log has a key {key.key_id[:16]} that nobody here vouches for")
            for key in good_keys
            if key.key_id not in known
        ]
    marks, head_damages = _marks(source.store_id, heads, known, {key.key_id for key in good_keys})
    damages += head_damages
    lost = {anchor: number for anchor in trust.anchors if (number := _told_as_lost(anchor, findings)) is not None}
    anchors = [anchor for anchor in trust.anchors if anchor not in lost]
    assessment = assess(findings, [*marks, *map(_mark, anchors)])
    if any(number > assessment.vouched for number in lost.values()):  # nobody signed that: it excuses nothing
        lost, anchors = {}, list(trust.anchors)
        assessment = assess(findings, [*marks, *map(_mark, anchors)])
    damages += _missing_heads(heads, anchors)
    damages += assessment.damages
    return Verification(
        store_id=source.store_id,
        n_entries=findings.n_entries,
        n_heads=len(heads),
        signed_through=assessment.vouched,
        unsigned=max(0, findings.last - assessment.vouched),
        keys_known=bool(trust.keys),
        n_anchors=len(trust.anchors),
        damages=tuple(damages),
        restored=tuple(f"entry {n} tells: {_words(details)}" for n, details in findings.restored),
    )


def _mark(anchor: Anchor) -> Mark:
    return Mark(anchor.head.sequence, anchor.head.chain, "anchor")


def _told_as_lost(anchor: Anchor, findings: Findings) -> int | None:
    """The entry that tells that an anchor's entry is lost; None where there is none."""
    for number, details in findings.restored:
        found = _lost(details)
        if found == (anchor.head.sequence, anchor.head.chain):
            return number
    return None


def _lost(details: str) -> tuple[object, object] | None:
    try:
        found = json.loads(details)
        return found["sequence"], found["chain"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _words(details: str) -> str:
    lost = _lost(details)
    return f"a backup was gone back to, and entries up to {'?' if lost is None else str(lost[0])[:20]} are lost"


def _of_store(anchor: Anchor, store_id: str, path: Path) -> Anchor:
    if anchor.store_id != store_id:
        raise AuditInputError(
            f"the anchor {path} is of store {anchor.store_id[:40]}, this is {store_id[:40]}: name the right --store, "
            "or the whole log, or its id, was replaced"
        )
    return anchor


def _stored_keys(stored: Sequence[tuple[str, str]]) -> tuple[list[PublicKey], list[Damage]]:
    keys: list[PublicKey] = []
    damages: list[Damage] = []
    for key_id, text in stored:
        try:
            key = PublicKey(bytes.fromhex(text))
        except ValueError:
            key = PublicKey(b"")
        if key.key_id == key_id and key.raw.hex() == text:
            keys.append(key)
        else:
            damages.append(Damage("key", -1, -1, f"the key that the log has as {key_id[:16]} was changed"))
    return keys, damages


def _known_keys(
    store_id: str, roots: Sequence[PublicKey], stored: Sequence[PublicKey], rotations: Sequence[str]
) -> dict[str, PublicKey]:
    """Trusted keys by id: the roots, those that took over from a trusted one, and those that a trusted one took over from.

    Each signed for the other when that happened, so that it is enough to know one of them.
    """
    known = {key.key_id: key for key in roots}
    by_id = {key.key_id: key for key in stored}
    grown = True
    while grown:
        before = len(known)
        for details in rotations:
            found = successor(store_id, details)
            if found is None:
                continue
            new, old_id = found
            old = known.get(old_id)
            if old is not None and signed_by_old(store_id, details, old):
                known.setdefault(new.key_id, new)
            elif new.key_id in known and old_id in by_id:
                known.setdefault(old_id, by_id[old_id])
        grown = len(known) > before
    return known


def _marks(
    store_id: str, heads: Sequence[Head], known: dict[str, PublicKey], stored: set[str]
) -> tuple[list[Mark], list[Damage]]:
    """Heads whose signature holds, and what is wrong with the others."""
    marks: list[Mark] = []
    damages: list[Damage] = []
    for head in heads:
        place = head.sequence if isinstance(head.sequence, int) else -1
        if not all(isinstance(text, str) for text in (head.chain, head.at, head.key_id, head.signature)):
            message = f"the head at {place} holds something else than texts: it was changed"
            damages.append(Damage("signature", place, place, message))
            continue
        key = known.get(head.key_id)
        if key is None:
            message = f"the head at {place} is signed with a key {str(head.key_id)[:16]} that nobody here vouches for"
            damages.append(Damage("key", place, place, message))
            continue
        if head.key_id not in stored:
            message = f"the key {head.key_id[:16]} that signed the head at {place} is missing from the log's keys"
            damages.append(Damage("key", place, place, message))
        if place < 0 or not head.is_signed_by(store_id, key):
            message = f"the signature of the head at {place} does not hold: the head was changed"
            damages.append(Damage("signature", place, place, message))
            continue
        marks.append(Mark(head.sequence, head.chain, "signed head"))
    return marks, damages


def _missing_heads(heads: Sequence[Head], anchors: Sequence[Anchor]) -> list[Damage]:
    there = {head.sequence for head in heads}
    return [
        Damage(
            "signature",
            anchor.head.sequence,
            anchor.head.sequence,
            f"the signed head at {anchor.head.sequence}, which an anchor knows, is missing",
        )
        for anchor in anchors
        if anchor.head.sequence not in there
    ]
