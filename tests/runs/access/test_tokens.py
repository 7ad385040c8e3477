"""Tokens: shown once, stored as a hash, refused when they should be, and everything logged."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from tracescribe.runs.access.errors import TokenRefusedError
from tracescribe.runs.access.roles import Principal
from tracescribe.runs.access.tokens import (
    NewToken,
    authenticate,
    create_token,
    find_token,
    list_tokens,
    revoke_token,
    rotate_token,
)
from tracescribe.runs.audit.looking import Wanted, find_entries
from tracescribe.runs.store.database import Store
from tracescribe.runs.store.tables import access_tokens
from tracescribe.tracer.errors import InputError, SettingError, UnknownIdError
from tracescribe.tracer.redaction import secrets_redactor


def acts(store: Store) -> list[str]:
    """Acts in the audit log, in order."""
    return [entry.act for entry in find_entries(store, Wanted())]


def expire(store: Store, new: NewToken) -> None:
    """Let a token's time be over."""
    past = sa.update(access_tokens).where(access_tokens.c.token_id == new.record.token_id).values(expires_at=1.0)
    store.write(lambda connection: connection.execute(past) and None)


def test_a_token_is_cut_out_of_whatever_is_written(store: Store) -> None:
    new = create_token(store, "a reader", "viewer")
    said = secrets_redactor({}).text(f"asked with TOKEN={new.text}, and refused")
    assert said == "asked with TOKEN=[redacted api_key], and refused"


def test_a_token_is_who_it_was_made_for(store: Store) -> None:
    new = create_token(store, "ada", "reviewer")
    assert authenticate(store, new.text) == Principal("token:ada", "reviewer", new.record.token_id)
    assert find_token(store, "ada").used_at is not None
    assert acts(store) == ["token created"]


def test_the_store_never_holds_a_token(store: Store, tmp_path: Path) -> None:
    new = create_token(store, "ada", "admin")
    authenticate(store, new.text)
    secret = new.text.rpartition(new.record.token_id)[2].encode()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(b"ada" in path.read_bytes() for path in files)
    assert not [path for path in files if secret[1:] in path.read_bytes()]


def test_no_change_of_a_token_is_let_in(store: Store) -> None:
    new = create_token(store, "ada", "admin")
    other = create_token(store, "bob", "viewer")
    draw = random.Random(5)
    tries = ["", "ts_", new.text + "x", new.text[:-1], new.text.upper(), " " + new.text, new.text + "\0", "é" * 60]
    tries += [f"ts_{other.record.token_id}_{new.text.split('_', 2)[2]}", "x" * 10**6]
    for _ in range(60):
        place = draw.randrange(3, len(new.text))
        replacement = draw.choice([c for c in "0123456789abcdefXYZ-_" if c != new.text[place]])
        tries.append(new.text[:place] + replacement + new.text[place + 1 :])
    for text in tries:
        with pytest.raises(TokenRefusedError, match="unknown, revoked or expired"):
            authenticate(store, text)
    assert authenticate(store, new.text).role == "admin"


def test_revoked_and_expired_tokens_are_refused_in_the_same_words(store: Store) -> None:
    revoked, expired = create_token(store, "ada", "viewer"), create_token(store, "bob", "viewer", seconds=60)
    authenticate(store, expired.text)
    revoke_token(store, "ada")
    revoke_token(store, revoked.record.token_id)  # again: nothing changes
    expire(store, expired)
    told = set()
    for text in (revoked.text, expired.text, "ts_000000000000_" + "A" * 43):
        with pytest.raises(TokenRefusedError) as refused:
            authenticate(store, text)
        told.add(str(refused.value))
    assert len(told) == 1
    assert acts(store) == ["token created", "token created", "token revoked", "token refused", "token refused"]
    why = [entry.details for entry in find_entries(store, Wanted(acts=("token refused",)))]
    assert ['"why":"revoked"' in why[0], '"why":"expired"' in why[1]] == [True, True]


def test_a_rotated_token_keeps_name_role_and_term(store: Store) -> None:
    old = create_token(store, "ada", "reviewer", seconds=1000)
    new = rotate_token(store, "ada")
    assert (new.record.name, new.record.role) == ("ada", "reviewer")
    assert new.record.expires_at is not None and new.record.expires_at - time.time() == pytest.approx(1000, abs=60)
    assert authenticate(store, new.text).name == "token:ada"
    with pytest.raises(TokenRefusedError):
        authenticate(store, old.text)
    assert [record.status(time.time()) for record in list_tokens(store)].count("valid") == 1


def test_a_name_belongs_to_one_valid_token(store: Store) -> None:
    create_token(store, "ada", "viewer")
    with pytest.raises(InputError, match="called 'ada' already"):
        create_token(store, "  ada ", "admin")
    revoke_token(store, "ada")
    create_token(store, "ada", "viewer", same_person=True)
    assert find_token(store, "ada").status(time.time()) == "valid"


def test_a_name_that_was_given_before_is_not_given_to_another_by_accident(store: Store) -> None:
    old = create_token(store, "ada", "reviewer")
    revoke_token(store, "ada")
    with pytest.raises(InputError, match="--same-person"):
        create_token(store, "ada", "reviewer")
    assert [record.token_id for record in list_tokens(store)] == [old.record.token_id]
    create_token(store, "bob", "reviewer", same_person=True)


@pytest.mark.parametrize("name", ["", "   ", "a" * 81, "a\x1b[31mb", "a\u202eb", "local:root"])
def test_a_name_that_cannot_be_shown_is_refused(store: Store, name: str) -> None:
    with pytest.raises(InputError, match="printable|colon"):
        create_token(store, name, "viewer")


@pytest.mark.parametrize(("role", "seconds"), [("owner", None), ("", None), ("viewer", 0.0), ("viewer", -5.0)])
def test_what_is_no_role_or_term_is_refused(store: Store, role: str, seconds: float | None) -> None:
    with pytest.raises(SettingError):
        create_token(store, "ada", role, seconds=seconds)
    assert list_tokens(store) == []


def test_a_token_that_is_not_there_cannot_be_revoked(store: Store) -> None:
    with pytest.raises(UnknownIdError, match="no token 'nobody'"):
        revoke_token(store, "nobody")


def test_a_role_that_was_changed_in_the_store_to_something_unknown_allows_nothing(store: Store) -> None:
    new = create_token(store, "ada", "viewer")
    changed = sa.update(access_tokens).values(role="root")
    store.write(lambda connection: connection.execute(changed) and None)
    assert not authenticate(store, new.text).may("see jobs")
