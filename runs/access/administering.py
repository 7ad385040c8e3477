"""What `tracescribe access` does with a store; each change is signed in the audit log at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tracescribe.runs.access.tokens import (
    NewToken,
    TokenRecord,
    create_token,
    list_tokens,
    revoke_token,
    rotate_token,
)
from tracescribe.runs.time_spans import parse_span

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store


def create_in(store: str | None, name: str, role: str, expires: str | None, same_person: bool = False) -> NewToken:
    """Make a token.

    Args:
        store: folder or URL, as `--store` has it.
        expires: span of time, such as `30d`; None for never.
        same_person: whether it is for whom an earlier token of that name was for.

    Raises:
        InputError: name, role or span cannot be used.
        StoreError, StoreAddressError: the store cannot be opened or written to.
    """
    seconds = parse_span(expires) if expires is not None else None
    with _opened(store) as opened:
        return create_token(opened, name, role, seconds=seconds, same_person=same_person)


def list_in(store: str | None) -> list[TokenRecord]:
    """All tokens, the last made first.

    Raises:
        StoreError, StoreAddressError: the store cannot be opened.
    """
    with _opened(store) as opened:
        return list_tokens(opened)


def revoke_in(store: str | None, which: str) -> TokenRecord:
    """Withdraw a token.

    Raises:
        UnknownIdError: there is no such token.
        StoreError, StoreAddressError: the store cannot be opened or written to.
    """
    with _opened(store) as opened:
        return revoke_token(opened, which)


def rotate_in(store: str | None, which: str) -> NewToken:
    """Replace a token.

    Raises:
        UnknownIdError: there is no such valid token.
        StoreError, StoreAddressError: the store cannot be opened or written to.
    """
    with _opened(store) as opened:
        return rotate_token(opened, which)


@contextmanager
def _opened(store: str | None) -> Iterator[Store]:
    from tracescribe.runs import terminal
    from tracescribe.runs.audit.sealing import try_seal
    from tracescribe.runs.store.database import open_store, parse_address

    opened = open_store(parse_address(store))
    try:
        yield opened
        warning = try_seal(opened)
        if warning is not None:
            terminal.stderr().print(terminal.styled(f"warning: {terminal.one_line(warning)}", "yellow"), soft_wrap=True)
    finally:
        opened.close()
