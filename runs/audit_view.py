"""How the audit log, its verification and its keys are shown."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from rich.table import Table

from tracescribe.runs import terminal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tracescribe.runs.audit.anchors import Anchor
    from tracescribe.runs.audit.chain import AuditEntry
    from tracescribe.runs.audit.key_keeping import KeyRing
    from tracescribe.runs.audit.verifying import Verification

MAX_DAMAGES_SHOWN = 50
"""Places of damage in a terminal; --json has them all."""
MAX_DETAILS_SHOWN = 100
"""Characters of an entry's details in a table; --json has them whole."""
MAX_SUBJECT_SHOWN = 40
"""Characters of a subject; longer ones are hashes."""
FINGERPRINT = 16
"""Digits of a key's id in a table."""
_DIGITS = re.compile(r"[0-9a-f]{32,}(:.*)?")


def show_verification(found: Verification, as_json: bool) -> None:
    """Print what came of verifying a log."""
    if as_json:
        terminal.print_json(
            {
                "store_id": found.store_id,
                "whole": found.is_whole,
                "entries": found.n_entries,
                "heads": found.n_heads,
                "anchors": found.n_anchors,
                "signed_through": found.signed_through,
                "not_yet_signed": found.unsigned,
                "keys_known": found.keys_known,
                "restored": list(found.restored),
                "damages": [
                    {"kind": d.kind, "first": d.first, "last": d.last, "message": d.message} for d in found.damages
                ],
            }
        )
        return
    console = terminal.stdout()
    verdict = "whole" if found.is_whole else "TAMPERED WITH"
    console.print(
        terminal.styled(
            f"audit log of store {found.store_id}: {verdict}", "bold green" if found.is_whole else "bold red"
        )
    )
    for damage in found.damages[:MAX_DAMAGES_SHOWN]:
        console.print(terminal.styled(f"  {damage.kind:<10} {damage.message}"), soft_wrap=True)
    if len(found.damages) > MAX_DAMAGES_SHOWN:
        console.print(f"  and {len(found.damages) - MAX_DAMAGES_SHOWN} more; --json has them all")
    signed = f"signed through entry {found.signed_through}" if found.signed_through >= 0 else "not signed"
    unsigned = f", {found.unsigned} not yet signed" if found.unsigned else ""
    console.print(
        f"{found.n_entries:,} entries, {found.n_heads} signed heads, {found.n_anchors} anchors; {signed}{unsigned}"
    )
    for told in found.restored:
        console.print(terminal.styled(f"  note: {told}"), soft_wrap=True)
    if found.signed_through < 0 and found.n_entries:
        console.print(
            "Nothing vouches for this log: no signature and no anchor of it is known here, and whoever can write the "
            "database could have made all of it. A job signs it at its end, and 'tracescribe audit anchor' does now.",
            soft_wrap=True,
        )
    elif not found.keys_known and found.n_heads:
        console.print(
            "No key is known here but what the log itself holds, which whoever rewrote it could have put there: "
            "compare with --public-key or --anchor from the machine that signed.",
            soft_wrap=True,
        )


def show_entries(entries: Sequence[AuditEntry], as_json: bool) -> None:
    """Print entries, the oldest first."""
    if as_json:
        terminal.print_json([{**vars(entry), "details": _details(entry)} for entry in entries])
        return
    console = terminal.stdout()
    who = max((len(entry.actor) for entry in entries), default=0)
    for entry in entries:
        subject = entry.subject if len(entry.subject) <= MAX_SUBJECT_SHOWN else entry.subject[:FINGERPRINT] + "…"
        when = entry.at[:19].replace("T", " ")
        line = f"{entry.sequence:>7}  {when}  {entry.actor:<{who}}  {entry.act:<18}  {subject}"
        # one entry, one line, however narrow the terminal: made for grep as much as for the eye
        console.print(terminal.styled(f"{line}  {_told(entry)}".rstrip()), soft_wrap=True)
    console.print(f"{len(entries)} entries")


def show_exported(path: Path, n_entries: int, as_json: bool) -> None:
    """Print where a log was exported to."""
    if as_json:
        terminal.print_json({"file": str(path), "entries": n_entries})
        return
    console = terminal.stdout()
    console.print(terminal.styled(f"{n_entries:,} entries -> {path}"), soft_wrap=True)
    console.print(terminal.styled(f"check it anywhere with 'tracescribe audit verify {path}'"), soft_wrap=True)


def show_anchor(anchor: Anchor | None, path: Path, as_json: bool) -> None:
    """Print the anchor of a log, and where it lies."""
    if as_json:
        terminal.print_json(None if anchor is None else {**vars(anchor.head), "file": str(path)})
        return
    console = terminal.stdout()
    if anchor is None:
        console.print("the log is empty: there is nothing to anchor")
        return
    console.print(terminal.styled(f"entry {anchor.head.sequence}, {anchor.head.chain}", "bold"))
    console.print(terminal.styled(f"signed {anchor.head.at} by {anchor.head.key_id[:FINGERPRINT]}"))
    console.print(terminal.styled(f"kept in {path}"), soft_wrap=True)


def show_keys(ring: KeyRing, as_json: bool) -> None:
    """Print the keys of a log: which one signs here, and which are trusted."""
    rows = ring.rows()
    if as_json:
        terminal.print_json({"file": str(ring.path), "keys": [vars(row) for row in rows]})
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("fingerprint", no_wrap=True)
    table.add_column("what it is", overflow="fold")
    for row in rows:
        what = [
            "signs here" if row.signs else "",
            "trusted here" if row.trusted else "NOT TRUSTED HERE",
            "in the log" if row.stored else "not in the log yet",
        ]
        table.add_row(row.key_id[:FINGERPRINT], ", ".join(word for word in what if word))
    console = terminal.stdout()
    console.print(table)
    console.print(terminal.styled(f"private key: {ring.path}{'' if ring.own else ' (made at the first seal)'}"))


def _told(entry: AuditEntry) -> str:
    """An entry's details in a few words: what people look for first, hashes cut and at the end."""
    details = _details(entry)
    if not isinstance(details, dict):
        return str(details)[:MAX_DETAILS_SHOWN]
    words = {name: value if isinstance(value, str) else json.dumps(value) for name, value in details.items()}
    plain = [f"{name}={value}" for name, value in words.items() if not _DIGITS.fullmatch(value)]
    hashes = [f"{name}={value[:8]}…" for name, value in words.items() if _DIGITS.fullmatch(value)]
    text = " ".join(plain + hashes)
    return text if len(text) <= MAX_DETAILS_SHOWN else text[:MAX_DETAILS_SHOWN] + "…"


def _details(entry: AuditEntry) -> Any:
    try:
        return json.loads(entry.details)
    except (ValueError, TypeError):
        return entry.details  # damaged; shown as it is
