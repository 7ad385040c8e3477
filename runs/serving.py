"""Serves the review app from the command line: opens the store, brings reports in, listens, tells where."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import socket
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs import terminal
from tracescribe.runs.workspace import DEFAULT_WORKSPACE
from tracescribe.tracer.errors import InputError, SettingError, TracescribeError

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store
    from tracescribe.runs.telemetry.settings import ObservabilitySettings
    from tracescribe.runs.web.settings import WebSettings

_log = logging.getLogger(__name__)
REPORT_FILE = "report.json"
PATIENCE_SECONDS = 3.0
"""That a request waits for a store that is busy or away; people and their browsers ask again."""
LAST_SECONDS = 10.0
"""That the server may take to end once it is told to; a store that does not answer is left alone then."""
_ENDED_BY_SIGNAL = 128 + signal.SIGTERM


@dataclass(frozen=True)
class ServeOptions:
    """What `tracescribe serve` was told, as its help explains it."""

    folders: tuple[Path, ...] = ()
    store: str | None = None
    host: str = "127.0.0.1"
    port: int = 8321
    log_in: bool = False
    allowed_hosts: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    behind_proxy: bool = False
    model: str | None = "embedded"
    transcoders: str = "embedded"
    evidence: Path | None = None
    live_per_minute: int = 30
    max_upload_bytes: int = 64 << 20
    gold: Path | None = None
    bench: Path | None = None
    open_browser: bool = False
    as_json: bool = False


def serve_app(options: ServeOptions, observed: ObservabilitySettings) -> None:
    """Serve until a signal ends it.

    Raises:
        InputError: an option that cannot be used, a port that is taken, a folder without a report.
        StoreError, StoreAddressError: the store cannot be used.
    """
    settings = web_settings(options)
    _check_files(options)

    from tracescribe.runs.audit.sealing import sealed_meanwhile, try_seal
    from tracescribe.runs.jobs.specification import Privacy
    from tracescribe.runs.store.database import parse_address
    from tracescribe.runs.store.errors import StoreError
    from tracescribe.runs.store.opening import initialise
    from tracescribe.runs.telemetry.observing import observe_job
    from tracescribe.runs.web.app import create_app
    from tracescribe.runs.web.server import listen, run_server
    from tracescribe.runs.web.warming import warm

    address = parse_address(options.store)
    address = replace(address, patience=min(address.patience, PATIENCE_SECONDS))
    with listen(options.host, options.port) as listening, observe_job(observed, "serve", Privacy()):
        store, _ = initialise(address)
        try:
            _bring_in_all(store, options)
            catching_up = threading.Thread(target=_catch_up, args=(store,), name="catch up", daemon=True)
            app = create_app(store, settings)

            served = threading.Event()

            def ready() -> None:
                _tell(options, settings, listening, store, catching_up)
                warm(app)
                served.set()

            with sealed_meanwhile(address):
                try:
                    run_server(
                        app,
                        listening,
                        ready,
                        certificate=options.certificate,
                        key=options.key,
                        behind_proxy=options.behind_proxy,
                    )
                finally:
                    if served.is_set():
                        _end_in_time()
        finally:
            try:
                warning = try_seal(store)
            except StoreError as error:
                warning = f"the audit log is not signed: {error}"
            if warning is not None:
                _warn(warning)
            store.close()


def web_settings(options: ServeOptions) -> WebSettings:
    """The app's settings. Where anybody but the person at this machine may come, a log-in is needed, and cannot be left out.

    Raises:
        SettingError: options that contradict each other.
    """
    from tracescribe.runs.benchmarking import DEFAULT_FOLDER
    from tracescribe.runs.web.hosts import checked_host
    from tracescribe.runs.web.settings import LOOPBACK_HOSTS, WebSettings

    if (options.certificate is None) != (options.key is None):
        raise SettingError("--ssl-certfile and --ssl-keyfile belong together; give both or neither")
    if options.behind_proxy and options.certificate is not None:
        raise SettingError("--behind-proxy is for a proxy that does TLS; leave out --ssl-certfile and --ssl-keyfile")
    if options.behind_proxy and not is_loopback(options.host):
        raise SettingError(f"--behind-proxy is for a proxy on this machine; leave out --host {options.host[:80]}")
    named = tuple(checked_host(host) for host in options.allowed_hosts)
    others = not is_loopback(options.host) or options.behind_proxy or any(host not in LOOPBACK_HOSTS for host in named)
    bench = options.bench if options.bench is not None else DEFAULT_FOLDER if DEFAULT_FOLDER.is_dir() else None
    return WebSettings(
        log_in=options.log_in or others,
        allowed_hosts=(*LOOPBACK_HOSTS, *_own_names(options.host), *named),
        model=options.model,
        transcoders=options.transcoders,
        evidence=options.evidence,
        gold=options.gold,
        bench=bench,
        max_upload_bytes=options.max_upload_bytes,
        live_per_minute=options.live_per_minute,
        secure_cookies=options.certificate is not None or options.behind_proxy,
        behind_proxy=options.behind_proxy,
    )


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False  # a name may mean anything


def _is_everywhere(host: str) -> bool:
    """Whether an address stands for all of this machine's."""
    try:
        return host in ("", "0") or ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return False


def told_host(options: ServeOptions) -> str:
    """Under which name people are told to reach the server."""
    return next(_own_names(options.host), "localhost") if _is_everywhere(options.host) else options.host


def _own_names(host: str) -> Iterator[str]:
    """Under which names somebody reaches the server at the address it listens on."""
    from tracescribe.runs.web.hosts import checked_host

    if not _is_everywhere(host):
        yield checked_host(host)
        return
    for name in (socket.gethostname(), socket.getfqdn()):
        with suppress(SettingError):  # a machine may be called what no browser can ask for
            yield checked_host(name)


def _check_files(options: ServeOptions) -> None:
    for name, path in (("--gold", options.gold), ("--bench", options.bench), ("--evidence", options.evidence)):
        if path is not None and not path.exists():
            raise InputError(f"{name} {path}: there is no such file or folder; correct it, or leave the option out")


def _bring_in_all(store: Store, options: ServeOptions) -> None:
    """Bring report folders in: those that are named must be right; those that merely lie about may be damaged."""
    from tracescribe.runs.review.bringing_in import bring_in_folder

    for folder in options.folders:
        bring_in_folder(store, folder, gold=options.gold)
    if options.folders or options.store is not None or os.environ.get("TRACESCRIBE_STORE"):
        return
    for folder in (DEFAULT_WORKSPACE / "demo", *sorted((DEFAULT_WORKSPACE / "reports").glob("*"))):
        if (folder / REPORT_FILE).is_file():
            try:
                bring_in_folder(store, folder, gold=options.gold)
            except InputError as error:
                _warn(f"{folder} is left out: {error}")


def _catch_up(store: Store) -> None:
    """List reports of cases that were done before there was an index, while requests are answered already."""
    from tracescribe.runs.review.indexing import catch_up

    try:
        catch_up(store)
    except TracescribeError as error:
        _log.warning("reports of earlier jobs are not all listed: %s", error)


def _tell(
    options: ServeOptions, settings: WebSettings, listening: socket.socket, store: Store, catching_up: threading.Thread
) -> None:
    port = int(listening.getsockname()[1])
    host = told_host(options)
    scheme = "https" if options.certificate is not None else "http"
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"
    if options.as_json:
        terminal.print_json({"url": url, "port": port, "store": store.address.shown, "log_in": settings.log_in})
    else:
        show = terminal.stdout()
        show.print(terminal.styled(f"Review app: {url}", "bold"), soft_wrap=True)
        show.print(terminal.styled(f"store {store.address.shown}; Ctrl-C stops it"), soft_wrap=True)
        if settings.log_in:
            show.print("Visitors log in with a token: tracescribe access create NAME --role reviewer", soft_wrap=True)
        show.file.flush()
    if not is_loopback(options.host) and options.certificate is None:
        _warn("without TLS everybody on the way can read tokens and reports; see --ssl-certfile in docs/serve.md")
    catching_up.start()
    if options.open_browser:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def _end_in_time() -> None:
    """End the process before long, whatever waits for the store: threads that do cannot be stopped.

    Nothing is lost by that: a transaction that is not committed is none.
    """

    def end() -> None:
        _warn(f"the store does not answer; what still waited for it after {LAST_SECONDS:.0f} s was given up")
        os._exit(_ENDED_BY_SIGNAL)

    last = threading.Timer(LAST_SECONDS, end)
    last.daemon = True
    last.start()


def _warn(message: str) -> None:
    terminal.stderr().print(terminal.styled(f"warning: {terminal.one_line(message)}", "yellow"), soft_wrap=True)
