"""`tracescribe audit`: what was done, by whom, and whether somebody tampered with what is written about it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracescribe.runs.commands.jobs_show import StorePlace
from tracescribe.runs.commands.options import Json

audit = typer.Typer(
    help="The audit log: show what was done, verify that nobody changed it, anchor and export it.",
    no_args_is_help=True,
)

PublicKeys = Annotated[
    list[Path] | None,
    typer.Option("--public-key", help="A file with a public key that may have signed; may be repeated."),
]
Anchors = Annotated[
    list[Path] | None,
    typer.Option("--anchor", help="An anchor that was exported before; may be repeated."),
]


@audit.command("verify")
def verify(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A log that was exported; without it, the store's own.")
    ] = None,
    anchor: Anchors = None,
    public_key: PublicKeys = None,
    store: StorePlace = None,
    as_json: Json = False,
) -> None:
    """Verify every entry, signature and anchor; tell what was changed, moved, slipped in, removed or cut off, and where.

    Exits with 0 if the log is whole, with 1 if somebody tampered with it.
    """
    from tracescribe.runs.audit.checking import verify_file, verify_store
    from tracescribe.runs.audit_view import show_verification

    anchors, keys = tuple(anchor or ()), tuple(public_key or ())
    found = verify_file(file, anchors, keys) if file is not None else verify_store(store, anchors, keys)
    show_verification(found, as_json)
    if not found.is_whole:
        raise typer.Exit(1)


@audit.command("show")
def show(
    job: Annotated[list[str] | None, typer.Option("--job", help="Of a job and all its cases; may be repeated.")] = None,
    case: Annotated[list[str] | None, typer.Option("--case", help="Of a case; may be repeated.")] = None,
    subject: Annotated[
        list[str] | None, typer.Option("--subject", help="Of any id: an artefact, a token, a key; may be repeated.")
    ] = None,
    act: Annotated[
        list[str] | None, typer.Option("--act", help="Only this act, such as 'report opened'; may be repeated.")
    ] = None,
    actor: Annotated[str | None, typer.Option("--actor", help="Only by this one, such as local:ada.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="From a moment on: 2026-11-21, 2026-11-21T08:00, or 12h ago as 12h.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Most entries, the last ones; 0 for all.")] = 50,
    store: StorePlace = None,
    as_json: Json = False,
) -> None:
    """Show entries of the log, the oldest first."""
    from tracescribe.runs.audit.checking import show_of_store
    from tracescribe.runs.audit.looking import Wanted, checked_acts
    from tracescribe.runs.audit_view import show_entries
    from tracescribe.runs.time_spans import parse_moment

    wanted = Wanted(
        subjects=(*(job or ()), *(case or ()), *(subject or ())),
        acts=checked_acts(tuple(act or ())),
        actor=actor,
        since=parse_moment(since) if since is not None else None,
        limit=limit or None,
        prefix=bool(job),
    )
    show_entries(show_of_store(store, wanted), as_json)


@audit.command("export")
def export(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="A new file of JSON lines.")],
    store: StorePlace = None,
    as_json: Json = False,
) -> None:
    """Write the whole log, with its signatures, to a file that can be verified anywhere."""
    from tracescribe.runs.audit.checking import export_store
    from tracescribe.runs.audit_view import show_exported

    show_exported(out, export_store(store, out), as_json)


@audit.command("anchor")
def anchor(
    out: Annotated[
        Path | None,
        typer.Option(
            "--export", help="Also write the anchor to this file: keep it where the store's admin cannot write."
        ),
    ] = None,
    after_restore: Annotated[
        bool,
        typer.Option(
            "--after-restore",
            help="The store was put back from a backup: log that the end is lost, and sign from there.",
        ),
    ] = False,
    store: StorePlace = None,
    as_json: Json = False,
) -> None:
    """Sign the end of the log now, and show its anchor: what later shows that nothing before it was cut off."""
    from tracescribe.runs.audit.checking import anchor_store
    from tracescribe.runs.audit_view import show_anchor

    show_anchor(*anchor_store(store, out, after_restore=after_restore), as_json)


@audit.command("keys")
def keys(
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Let a new key take over; the old one signs for it.")
    ] = False,
    trust: Annotated[
        list[Path] | None,
        typer.Option("--trust", help="Trust the public key in this file, of another machine; may be repeated."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--export", help="Write this machine's public key to a file.")] = None,
    store: StorePlace = None,
    as_json: Json = False,
) -> None:
    """Show the keys that sign the log, and which of them are trusted here; replace, trust or export one."""
    from tracescribe.runs.audit.checking import keep_keys
    from tracescribe.runs.audit_view import show_keys

    show_keys(keep_keys(store, rotation=rotate, trusted=tuple(trust or ()), out=out), as_json)
