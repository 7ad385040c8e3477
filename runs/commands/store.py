"""`tracescribe store`: where jobs and their results lie."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tracescribe.runs.commands.options import Json

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store

store = typer.Typer(
    help="The store of jobs: make one, look into it, check it, clean it, copy it.", no_args_is_help=True
)
retention = typer.Typer(help="How long results of finished cases are kept, by kind.", no_args_is_help=True)
store.add_typer(retention, name="retention")

Place = Annotated[
    str | None,
    typer.Option(
        "--store",
        help="Folder or database URL of the store. Without it: TRACESCRIBE_STORE, else tracescribe-workspace/store.",
    ),
]
Kind = Annotated[
    str,
    typer.Argument(
        help="graph, report, page, markdown, drawing, evidence, summary, or 'answers': recorded answers of language "
        "models, which cost money again once they are gone."
    ),
]


@store.command("init")
def init(
    place: Place = None,
    artefacts: Annotated[
        str | None,
        typer.Option(
            "--artefacts",
            help="Folder or fsspec URL for graphs and reports; without it beside the database, or in the workspace "
            "for a server.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a store, or bring one to this version; 'jobs run' and 'jobs submit' do the same on their own."""
    from tracescribe.runs.store.database import parse_address
    from tracescribe.runs.store.opening import initialise
    from tracescribe.runs.store_view import show_made

    made, new = initialise(parse_address(place, artefacts=artefacts))
    try:
        show_made(made, new, as_json)
    finally:
        made.close()


@store.command("info")
def info(place: Place = None, as_json: Json = False) -> None:
    """Show where the store is, its version, and what it holds."""
    from tracescribe.runs.store.contents import contents
    from tracescribe.runs.store_view import show_contents

    with _open(place) as opened:
        show_contents(contents(opened), as_json)


@store.command("check")
def check(
    place: Place = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Set damaged files aside and remove what belongs to nobody; nothing is invented."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Check the database, the bytes of every artefact, and for files that belong to nobody.

    Exits with 1 if something is lost or damaged; names its cases, and how to make them anew.
    """
    from tracescribe.runs.store.verifying import verify
    from tracescribe.runs.store_view import show_verified

    with _open(place) as opened:
        found = verify(opened, repair=repair)
    show_verified(found, as_json)
    if not found.sound:
        raise typer.Exit(1)


@store.command("gc")
def gc(
    place: Place = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Remove what retention lets go, and what nobody uses; safe while jobs run. Deleted results are audited."""
    from tracescribe.runs.store.collecting import collect
    from tracescribe.runs.store_view import show_collected

    with _open(place) as opened:
        show_collected(collect(opened, dry_run=dry_run), dry_run, as_json)


@store.command("backup")
def backup(
    file: Annotated[Path, typer.Argument(help="A new file for the copy of the database.")],
    place: Place = None,
    as_json: Json = False,
) -> None:
    """Copy the database of a SQLite store, whole and consistent, while others work on it."""
    from tracescribe.runs.store.backup import back_up
    from tracescribe.runs.store_view import show_backup

    with _open(place) as opened:
        show_backup(file, back_up(opened, file), opened.artefacts.location, as_json)


@retention.command("show")
def show_retention(place: Place = None, as_json: Json = False) -> None:
    """Show how long each kind is kept."""
    from tracescribe.runs.store.retention import rules
    from tracescribe.runs.store_view import show_rules

    with _open(place) as opened:
        show_rules(opened.read(rules), as_json)


@retention.command("set")
def set_retention(
    kind: Kind,
    period: Annotated[str, typer.Argument(help="Such as 12h, 30d or 8w, counted from when its case was finished.")],
    place: Place = None,
    as_json: Json = False,
) -> None:
    """Keep a kind for a period; 'store gc' then deletes what is older."""
    from tracescribe.runs.store.retention import read_period, set_rule
    from tracescribe.runs.store_view import show_rules

    seconds = read_period(period)
    with _open(place) as opened:
        show_rules(set_rule(opened, kind, seconds), as_json)


@retention.command("clear")
def clear_retention(kind: Kind, place: Place = None, as_json: Json = False) -> None:
    """Keep a kind for ever again."""
    from tracescribe.runs.store.retention import set_rule
    from tracescribe.runs.store_view import show_rules

    with _open(place) as opened:
        show_rules(set_rule(opened, kind, None), as_json)


@contextmanager
def _open(place: str | None) -> Iterator[Store]:
    from tracescribe.runs.store.database import open_store, parse_address

    opened = open_store(parse_address(place))
    try:
        yield opened
    finally:
        opened.close()
