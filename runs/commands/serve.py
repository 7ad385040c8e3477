"""`tracescribe serve`: the review app."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracescribe.runs.commands.jobs_show import StorePlace
from tracescribe.runs.commands.options import EMBEDDED, Evidence, Json, Model, Transcoders
from tracescribe.runs.telemetry.options import LogFileOption, LogLevelOption


def serve(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FOLDER]...",
            help="Report folders (of 'demo' or 'interpret') to bring in first. Without one, and without --store, those of "
            "tracescribe-workspace.",
        ),
    ] = None,
    store: StorePlace = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; any but this machine's own asks visitors to log in.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes one that is free.")
    ] = 8321,
    log_in: Annotated[
        bool, typer.Option("--log-in", help="Ask for a token ('tracescribe access create') on this machine too.")
    ] = False,
    allowed_hosts: Annotated[
        list[str] | None,
        typer.Option("--allowed-host", help="A further name under which the server is reached. May be repeated."),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--ssl-certfile", help="TLS certificate (chain) in PEM; needs --ssl-keyfile.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--ssl-keyfile", help="Private key of the certificate, in PEM.")] = None,
    behind_proxy: Annotated[
        bool,
        typer.Option("--behind-proxy", help="A proxy on this machine takes the requests by HTTPS and hands them on."),
    ] = False,
    model: Model = EMBEDDED,
    transcoders: Transcoders = EMBEDDED,
    evidence: Evidence = None,
    no_live: Annotated[bool, typer.Option("--no-live", help="Run no interventions: no weights are loaded.")] = False,
    live_per_minute: Annotated[
        int, typer.Option("--live-per-minute", min=1, max=10_000, help="Interventions that one visitor may run.")
    ] = 30,
    max_upload: Annotated[
        int, typer.Option("--max-upload", min=1, max=4096, help="MiB of a report folder that is uploaded.")
    ] = 64,
    gold: Annotated[
        Path | None, typer.Option("--gold", help="Gold circuits beside the built-in ones: a file or a folder.")
    ] = None,
    bench: Annotated[
        Path | None,
        typer.Option(
            "--bench", help="Folder of a benchmark for the leaderboard; without it tracescribe-workspace/bench."
        ),
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in this machine's browser.")] = False,
    log_file: LogFileOption = None,
    log_level: LogLevelOption = None,
    as_json: Json = False,
) -> None:
    """Serve the review app: read, check and correct reports in a browser; stop it with Ctrl-C.

    It listens on this machine alone. Elsewhere visitors log in with a token; see docs/serve.md.
    """
    from tracescribe.runs.serving import ServeOptions, serve_app
    from tracescribe.runs.telemetry.settings import ObservabilitySettings

    serve_app(
        ServeOptions(
            folders=tuple(folders or ()),
            store=store,
            host=host,
            port=port,
            log_in=log_in,
            allowed_hosts=tuple(allowed_hosts or ()),
            certificate=certificate,
            key=key,
            behind_proxy=behind_proxy,
            model=None if no_live else model,
            transcoders=transcoders,
            evidence=evidence,
            live_per_minute=live_per_minute,
            max_upload_bytes=max_upload << 20,
            gold=gold,
            bench=bench,
            open_browser=open_browser,
            as_json=as_json,
        ),
        ObservabilitySettings.of(None, log_file, log_level),
    )
