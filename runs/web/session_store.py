"""Log-ins in the store: a random cookie whose hash is kept, good as long as the token that it was begun with."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
import time
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from tracescribe.runs.access.roles import Principal
from tracescribe.runs.audit.log import append
from tracescribe.runs.store.errors import StoreError
from tracescribe.runs.store.tables import access_tokens, settings, web_sessions

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.runs.store.database import Store

SESSION_SECONDS = 12 * 3600.0
_KEPT_SECONDS = 30 * 86_400.0
"""That an ended session stays in the store."""
_KEY = "web_key"
_TOKEN_BYTES = 32
_log = logging.getLogger(__name__)


def begin_session(store: Store, visitor: Principal) -> str:
    """Begin a session for the owner of a token.

    Returns:
        What the cookie holds; it is nowhere stored.

    Raises:
        StoreError: the store cannot be written to.
    """
    value = secrets.token_urlsafe(32)
    now = time.time()
    row = {
        "session_sha256": _hash(value),
        "token_id": visitor.token_id,
        "created_at": now,
        "expires_at": now + SESSION_SECONDS,
        "ended_at": None,
    }

    def work(connection: Connection) -> None:
        connection.execute(sa.delete(web_sessions).where(web_sessions.c.expires_at < now - _KEPT_SECONDS))
        # when the commit's outcome was unknown this runs again
        if connection.execute(_found(value)).first() is None:
            connection.execute(sa.insert(web_sessions), row)
            append(connection, act="logged in", subject=visitor.token_id or "", actor=visitor.name)

    store.write(work)
    return value


def session_visitor(store: Store, value: str) -> Principal | None:
    """Whose session it is; None where it has ended, or its token was revoked or has expired.

    Raises:
        StoreError: the store cannot be read.
    """
    row = store.read(lambda connection: connection.execute(_found(value)).first())
    now = time.time()
    if row is None or row.ended_at is not None or now >= row.expires_at or row.revoked_at is not None:
        return None
    if row.token_expires_at is not None and now >= row.token_expires_at:
        return None
    return Principal(f"token:{row.name}", row.role, row.token_id)


def end_session(store: Store, value: str, visitor: Principal) -> None:
    """End a session for good; one that is over already stays so.

    Args:
        visitor: whose it is.

    Raises:
        StoreError: the store cannot be written to.
    """
    ended = (
        sa.update(web_sessions)
        .where(web_sessions.c.session_sha256 == _hash(value), web_sessions.c.ended_at.is_(None))
        .values(ended_at=time.time())
    )

    def work(connection: Connection) -> None:
        if connection.execute(ended).rowcount:
            append(connection, act="logged out", subject=visitor.token_id or "", actor=visitor.name)

    store.write(work)


def web_key(store: Store) -> bytes:
    """The store's own secret that CSRF tokens are made with; a page that was open stays usable when the server restarts.

    Where the store cannot be written to it is made for this process.
    """
    made = secrets.token_hex(32)

    def work(connection: Connection) -> str:
        found = connection.execute(sa.select(settings.c.value).where(settings.c.name == _KEY)).scalar()
        if found is not None:
            return str(json.loads(found))
        connection.execute(sa.insert(settings), {"name": _KEY, "value": json.dumps(made)})
        return made

    try:
        try:
            return store.write(work).encode()
        except IntegrityError:  # another server of this store was first by a moment: its key is there now
            return store.write(work).encode()
    except (StoreError, IntegrityError, ValueError) as error:
        _log.warning("no lasting key for forms: %s", error)
        return made.encode()


def csrf_token(key: bytes, bound_to: str) -> str:
    """The token that changes must show.

    Args:
        key: of `web_key`.
        bound_to: what the visitor's browser alone holds.
    """
    return hmac.new(key, f"csrf:{bound_to}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def masked(token: str) -> str:
    """A CSRF token as a page shows it: another text each time, so that the length of compressed pages tells nothing of it."""
    if not token:
        return ""
    mask = secrets.token_bytes(_TOKEN_BYTES)
    return (mask + _both(mask, bytes.fromhex(token))).hex()


def unmasked(shown: str) -> str:
    """The CSRF token that a page showed, or that the API gave, whose answer is too small to be packed; empty for others."""
    try:
        content = bytes.fromhex(shown)
    except ValueError:
        return ""
    if len(content) == _TOKEN_BYTES:
        return content.hex()
    return _both(content[:_TOKEN_BYTES], content[_TOKEN_BYTES:]).hex() if len(content) == 2 * _TOKEN_BYTES else ""


def _both(first: bytes, second: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(first, second, strict=True))


def _found(value: str) -> sa.Executable:
    return (
        sa.select(
            web_sessions.c.expires_at,
            web_sessions.c.ended_at,
            access_tokens.c.token_id,
            access_tokens.c.name,
            access_tokens.c.role,
            access_tokens.c.revoked_at,
            access_tokens.c.expires_at.label("token_expires_at"),
        )
        .join(access_tokens, access_tokens.c.token_id == web_sessions.c.token_id)
        .where(web_sessions.c.session_sha256 == _hash(value))
    )


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()
