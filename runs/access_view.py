"""How access tokens are shown."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.table import Table

from tracescribe.runs import terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tracescribe.runs.access.tokens import NewToken, TokenRecord


def show_new(new: NewToken, as_json: bool) -> None:
    """Print a token that was just made: the only time that it can be."""
    if as_json:
        terminal.print_json({**_fields(new.record), "token": new.text})
        return
    console = terminal.stdout()
    # never wrapped: people copy it
    console.print(terminal.styled(new.text, "bold"), soft_wrap=True)
    until = _when(new.record.expires_at) or "no end"
    terminal.stderr().print(
        terminal.styled(
            f"{new.record.name}: {new.record.role}, until {until}. Copy it now: it is stored as a hash and never shown again."
        ),
        soft_wrap=True,
    )


def show_tokens(records: Sequence[TokenRecord], as_json: bool) -> None:
    """Print one line for each token."""
    if as_json:
        terminal.print_json([_fields(record) for record in records])
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "role", "status", "made", "expires", "last used"):
        table.add_column(heading, no_wrap=True)
    for heading in ("name", "by"):
        table.add_column(heading, overflow="fold")
    now = time.time()
    for record in records:
        cells = (
            record.token_id,
            record.role,
            record.status(now),
            _when(record.created_at),
            _when(record.expires_at),
            _when(record.used_at),
            record.name,
            record.created_by,
        )
        table.add_row(*(terminal.styled(cell) for cell in cells))
    console = terminal.stdout()
    console.print(table)
    console.print(f"{len(records)} tokens")


def _fields(record: TokenRecord) -> dict[str, Any]:
    return {**vars(record), "status": record.status(time.time())}


def _when(moment: float | None) -> str:
    return "" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")
