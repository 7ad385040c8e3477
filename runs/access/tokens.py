"""Access tokens: shown once, stored as a hash, compared in constant time.

A token is `ts_<id>_<secret>`; the id finds its row, the secret has 256 random bits, so that one round of SHA-256 is as
good as a slow hash would be for a password.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, get_args

import sqlalchemy as sa

from tracescribe.runs.access.errors import TokenRefusedError
from tracescribe.runs.access.roles import Principal, Role, local_principal
from tracescribe.runs.audit.log import append, clean_name
from tracescribe.runs.store.tables import access_tokens
from tracescribe.tracer.errors import InputError, SettingError, UnknownIdError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tracescribe.runs.store.database import Store

MAX_NAME = 80
MAX_TOKEN = 200
USE_NOTED_EVERY = 60.0
"""Seconds between two notes that a token is in use: not every request of a busy client writes to the store."""
_TOKEN = re.compile(r"ts_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_REFUSED = "the token is unknown, revoked or expired; ask an admin for a new one ('tracescribe access create')"


@dataclass(frozen=True)
class TokenRecord:
    """A token as it is stored, without its secret."""

    token_id: str
    name: str
    role: Role
    created_at: float
    created_by: str
    expires_at: float | None
    revoked_at: float | None
    used_at: float | None

    def status(self, now: float) -> str:
        """`valid`, `revoked` or `expired`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and now >= self.expires_at else "valid"


@dataclass(frozen=True)
class NewToken:
    """A token that was just made.

    Attributes:
        text: the token itself: shown now, and never again.
    """

    record: TokenRecord
    text: str


def create_token(
    store: Store,
    name: str,
    role: str,
    *,
    seconds: float | None = None,
    same_person: bool = False,
    by: Principal | None = None,
) -> NewToken:
    """Make a token.

    Args:
        name: whose it is; unique among the tokens that are valid, for the audit log names it.
        role: viewer, reviewer or admin.
        seconds: until it expires; None for never.
        same_person: whether this is for whom an earlier token of that name was for, who goes on with their reviews.
        by: who makes it; None for the person at this machine.

    Raises:
        InputError: the name cannot be used, or is or was another token's.
        SettingError: no such role, or a time that is none.
        StoreError: the store cannot be written to.
    """
    name = _checked_name(name)
    if role not in get_args(Role):
        raise SettingError(f"no role {role[:40]!r}; choose {', '.join(get_args(Role))}")
    if seconds is not None and not 0 < seconds < 1e10:
        raise SettingError(f"a token cannot expire after {seconds} seconds; give more than none")
    actor = (by or local_principal()).name
    new = _make(name, cast("Role", role), seconds, actor)

    def work(connection: Connection) -> None:
        # looked for first: when the commit's outcome was unknown this runs again
        if _row(connection, new.record.token_id) is not None:
            return
        earlier = _records(connection, name)
        if any(record.status(time.time()) == "valid" for record in earlier):
            raise InputError(f"a valid token is called {name!r} already; choose another name, or rotate that one")
        if earlier and not same_person:
            raise InputError(
                f"a token was called {name!r} before, and who gets this one goes on with its reviews; if that is the "
                "same person, say so with --same-person; if not, choose another name"
            )
        _store_new(connection, new, actor)

    store.write(work)
    return new


def rotate_token(store: Store, which: str, *, by: Principal | None = None) -> NewToken:
    """Make a new token of the same name, role and term as another, which is revoked.

    Raises:
        UnknownIdError: there is no such valid token.
        StoreError: the store cannot be written to.
    """
    actor = (by or local_principal()).name
    old = find_token(store, which)
    if old.status(time.time()) != "valid":
        raise UnknownIdError(
            f"the token {old.name!r} is {old.status(time.time())}; make a new one with 'access create'"
        )
    term = None if old.expires_at is None else old.expires_at - old.created_at
    new = _make(old.name, old.role, term, actor)

    def work(connection: Connection) -> None:
        if _row(connection, new.record.token_id) is not None:
            return
        if not _revoke(connection, old, actor):
            raise UnknownIdError(f"the token {old.name!r} was revoked meanwhile; make a new one with 'access create'")
        _store_new(connection, new, actor)

    store.write(work)
    return new


def revoke_token(store: Store, which: str, *, by: Principal | None = None) -> TokenRecord:
    """Withdraw a token; revoking it again changes nothing.

    Raises:
        UnknownIdError: there is no such token.
        StoreError: the store cannot be written to.
    """
    record = find_token(store, which)
    actor = (by or local_principal()).name
    store.write(lambda connection: _revoke(connection, record, actor))
    return find_token(store, record.token_id)


def list_tokens(store: Store) -> list[TokenRecord]:
    """All tokens, the last made first."""
    return store.read(lambda connection: _records(connection, None))


def find_token(store: Store, which: str) -> TokenRecord:
    """A token by its id, or by the name of a valid one.

    Raises:
        UnknownIdError: there is none.
    """
    now = time.time()
    records = list_tokens(store)
    found = [record for record in records if record.token_id == which]
    found += [record for record in records if record.name == which and record.status(now) == "valid"]
    found += [record for record in records if record.name == which]
    if not found:
        raise UnknownIdError(f"no token {which[:80]!r}; 'tracescribe access list' shows them")
    return found[0]


def authenticate(store: Store, text: str, *, log_refusal: bool = True) -> Principal:
    """Who a token belongs to.

    Args:
        log_refusal: False where wrong tokens come in a flood, which would only fill the log.

    Raises:
        TokenRefusedError: it is unknown, revoked or expired; the audit log tells which token was shown.
        StoreError: the store cannot be used.
    """
    match = _TOKEN.fullmatch(text[:MAX_TOKEN])
    token_id = match[1] if match is not None else ""
    row = store.read(lambda connection: _row(connection, token_id)) if token_id else None
    now = time.time()
    # compared with something in any case, so that the time tells nobody whether an id exists
    matches = hmac.compare_digest(_hash(text), row.token_sha256 if row is not None else _hash(""))
    record = _record(row) if row is not None else None
    if record is None or not matches or record.status(now) != "valid":
        if log_refusal:
            _tell_refusal(store, token_id, record, matches, now)
        raise TokenRefusedError(_REFUSED)
    if record.used_at is None or abs(now - record.used_at) > USE_NOTED_EVERY:
        used = sa.update(access_tokens).where(access_tokens.c.token_id == token_id).values(used_at=now)
        store.write(lambda connection: connection.execute(used) and None)
    return Principal(f"token:{record.name}", record.role, record.token_id)


def _tell_refusal(store: Store, token_id: str, record: TokenRecord | None, matches: bool, now: float) -> None:
    """Log a refusal of a token that exists; guesses without one would only fill the log."""
    if record is None:
        return
    why = record.status(now) if matches else "wrong secret"
    details = {"name": record.name, "why": why}
    store.write(
        lambda connection: append(
            connection, act="token refused", subject=token_id, details=details, actor=f"token:{record.name}"
        )
    )


def _make(name: str, role: Role, seconds: float | None, actor: str) -> NewToken:
    token_id = secrets.token_hex(6)
    now = time.time()
    expires = None if seconds is None else now + seconds
    record = TokenRecord(token_id, name, role, now, actor, expires, None, None)
    return NewToken(record, f"ts_{token_id}_{secrets.token_urlsafe(32)}")


def _store_new(connection: Connection, new: NewToken, actor: str) -> None:
    record = new.record
    connection.execute(sa.insert(access_tokens), {**vars(record), "token_sha256": _hash(new.text)})
    details = {"name": record.name, "role": record.role, "expires_at": record.expires_at}
    append(connection, act="token created", subject=record.token_id, details=details, actor=actor)


def _revoke(connection: Connection, record: TokenRecord, actor: str) -> bool:
    """Revoke a token that is not revoked yet; whether this did it."""
    revoked = (
        sa.update(access_tokens)
        .where(access_tokens.c.token_id == record.token_id, access_tokens.c.revoked_at.is_(None))
        .values(revoked_at=time.time())
    )
    if connection.execute(revoked).rowcount == 0:
        return False
    details = {"name": record.name, "role": record.role}
    append(connection, act="token revoked", subject=record.token_id, details=details, actor=actor)
    return True


def _row(connection: Connection, token_id: str) -> sa.Row[Any] | None:
    return connection.execute(sa.select(access_tokens).where(access_tokens.c.token_id == token_id)).first()


def _records(connection: Connection, name: str | None) -> list[TokenRecord]:
    query = sa.select(access_tokens).order_by(access_tokens.c.created_at.desc(), access_tokens.c.token_id)
    if name is not None:
        query = query.where(access_tokens.c.name == name)
    rows: Sequence[sa.Row[Any]] = connection.execute(query).all()
    return [_record(row) for row in rows]


def _record(row: sa.Row[Any]) -> TokenRecord:
    return TokenRecord(
        row.token_id,
        row.name,
        row.role,
        row.created_at,
        row.created_by,
        row.expires_at,
        row.revoked_at,
        row.used_at,
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _checked_name(name: str) -> str:
    cleaned = clean_name(" ".join(name.split()))
    if ":" in cleaned:  # who acts is told as "local:NAME" or "token:NAME", and neither may look like the other
        raise InputError(f"a token's name has no colon; {name[:40]!r} cannot be used")
    if not cleaned or len(cleaned) > MAX_NAME or not cleaned.isprintable():
        raise InputError(f"a token's name has 1 to {MAX_NAME} printable characters; {name[:40]!r} cannot be used")
    return cleaned
