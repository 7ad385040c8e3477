"""`tracescribe access`: tokens for people who look at results where they are served."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from tracescribe.runs.commands.jobs_show import StorePlace
from tracescribe.runs.commands.options import Json

access = typer.Typer(
    help="Access tokens: who may see aggregates, open single reports, or administer.", no_args_is_help=True
)

Token = Annotated[str, typer.Argument(metavar="TOKEN", help="A token's name or id, as 'access list' shows it.")]


@access.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whose it is; the audit log names it.")],
    role: Annotated[
        Literal["viewer", "reviewer", "admin"],
        typer.Option(
            "--role",
            help="viewer: lists, summaries and scores; reviewer: single reports too, evidence and reviews; admin: all.",
        ),
    ] = "viewer",
    expires: Annotated[
        str | None, typer.Option("--expires", help="After how long: 12h, 30d; never without it.")
    ] = None,
    same_person: Annotated[
        bool,
        typer.Option(
            "--same-person",
            help="An earlier token of this name was the same person's, who goes on with their reviews.",
        ),
    ] = False,
    store: StorePlace = None,
    as_json: Json = False,
) -> None:
    """Make a token. It is shown once; the store holds a hash."""
    from tracescribe.runs.access.administering import create_in
    from tracescribe.runs.access_view import show_new

    show_new(create_in(store, name, role, expires, same_person), as_json)


@access.command("list")
def list_tokens(store: StorePlace = None, as_json: Json = False) -> None:
    """List tokens, the last made first."""
    from tracescribe.runs.access.administering import list_in
    from tracescribe.runs.access_view import show_tokens

    show_tokens(list_in(store), as_json)


@access.command("revoke")
def revoke(token: Token, store: StorePlace = None, as_json: Json = False) -> None:
    """Withdraw a token, at once and for good."""
    from tracescribe.runs.access.administering import revoke_in
    from tracescribe.runs.access_view import show_tokens

    show_tokens([revoke_in(store, token)], as_json)


@access.command("rotate")
def rotate(token: Token, store: StorePlace = None, as_json: Json = False) -> None:
    """Make a new token of the same name, role and term; the old one is revoked. The new one is shown once."""
    from tracescribe.runs.access.administering import rotate_in
    from tracescribe.runs.access_view import show_new

    show_new(rotate_in(store, token), as_json)
