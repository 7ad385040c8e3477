"""Anchors: a signed head kept outside the store, so that cutting off the end of the log with its heads is seen too.

One is written by itself at every seal, to `~/.local/state/tracescribe/anchors/<store id>.json` (or under
`XDG_STATE_HOME`); others are exported to wherever the store's administrator cannot write.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from tracescribe.runs.audit.errors import AuditError, AuditInputError
from tracescribe.runs.audit.heads import Head
from tracescribe.runs.audit.keys import PublicKey, plain_id, public_from_text
from tracescribe.runs.audit.locked_folder import held_folder_of
from tracescribe.tracer.errors import OutputError
from tracescribe.tracer.provenance import write_json_atomic

ANCHOR_SCHEMA = "tracescribe-audit-anchor/1"
MAX_ANCHOR_BYTES = 100_000


@dataclass(frozen=True)
class Anchor:
    """A signed head with what is needed to check it.

    Attributes:
        public_key: of the key that signed it.
    """

    store_id: str
    head: Head
    public_key: PublicKey


def anchor_path(store_id: str) -> Path:
    """Where this machine keeps the anchor of a store."""
    named = os.environ.get("XDG_STATE_HOME")
    state = Path(named) if named and Path(named).is_absolute() else Path.home() / ".local" / "state"
    return state / "tracescribe" / "anchors" / f"{plain_id(store_id)}.json"


def read_anchor(path: Path) -> Anchor:
    """Read an anchor and check its signature by its own key.

    Raises:
        AuditInputError: it cannot be read, or is not what its key signed.
    """
    try:
        with path.open("rb") as handle:
            content = json.loads(handle.read(MAX_ANCHOR_BYTES))
        if content["schema"] != ANCHOR_SCHEMA:
            raise ValueError(f"its schema is not {ANCHOR_SCHEMA}")
        sequence = content["sequence"]
        texts = [content[name] for name in ("store_id", "chain", "at", "key_id", "public_key", "signature")]
        if type(sequence) is not int or not all(isinstance(text, str) for text in texts):
            raise ValueError("a field has the wrong type")
    except OSError as error:
        raise AuditInputError(f"cannot read the anchor {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise AuditInputError(f"{path} is no anchor: {error or type(error).__name__}") from error
    store_id, chain, at, key_id, public_key, signature = texts
    anchor = Anchor(store_id, Head(sequence, chain, at, key_id, signature), public_from_text(public_key))
    if not anchor.head.is_signed_by(store_id, anchor.public_key):
        raise AuditInputError(f"the anchor {path} is not what its key signed: it was changed; use another copy")
    return anchor


def write_anchor(path: Path, anchor: Anchor) -> None:
    """Write an anchor to a file.

    Raises:
        AuditError: it cannot be written.
    """
    content = {
        "schema": ANCHOR_SCHEMA,
        "store_id": anchor.store_id,
        "sequence": anchor.head.sequence,
        "chain": anchor.head.chain,
        "at": anchor.head.at,
        "key_id": anchor.head.key_id,
        "public_key": anchor.public_key.text,
        "signature": anchor.head.signature,
    }
    try:
        write_json_atomic(path, content)
    except OutputError as error:
        raise AuditError(str(error)) from error


def replace_anchor(path: Path, lost: Anchor, anchor: Anchor) -> None:
    """Write this machine's anchor in place of one whose entry is lost, which is kept beside it.

    Raises:
        AuditError: it cannot be written.
    """
    try:
        with held_folder_of(path):
            write_anchor(path.with_name(f"{path.stem}.lost-{lost.head.sequence}.json"), lost)
            write_anchor(path, anchor)
    except OSError as error:
        raise AuditError(f"cannot write the anchor {path}: {error.strerror}") from error


def keep_anchor(path: Path, anchor: Anchor) -> None:
    """Write this machine's anchor unless it is further already.

    Raises:
        AuditInputError: what is there is no anchor; it may be the one proof left, so it is not written over.
        AuditError: it cannot be written.
    """
    try:
        with held_folder_of(path):
            if path.exists() and read_anchor(path).head.sequence > anchor.head.sequence:
                return
            write_anchor(path, anchor)
    except OSError as error:
        raise AuditError(f"cannot write the anchor {path}: {error.strerror}") from error
