"""The HTTP server under the app: one process, limits on what a slow or large request may hold."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from tracescribe.runs.web.body_limit import MAX_HEAD_BYTES
from tracescribe.runs.web.security_headers import CONTENT_SECURITY_POLICY, FIXED_HEADERS
from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi import FastAPI
    from uvicorn.server import ServerState

HEAD_SECONDS = 15.0
"""That a client may take to send the head of a request; a person's browser needs milliseconds."""
MAX_CONNECTIONS = 500
"""At a time; more are answered with 503."""
CROWDED = 400
"""Connections from which on each new one ends the one that has owed the rest of a request, or a new one, for longest: else
whoever opens many and says nothing shuts everybody out."""
UNREAD_SECONDS = 60.0
"""That an answer may wait for a client that reads nothing of it."""
_KEEP_ALIVE_SECONDS = 20
_LAST_ANSWERS_SECONDS = 2
"""That answers may still take once the server is told to stop; event streams are cut then."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that waits for connections.

    Args:
        host: a name or an address.
        port: 0 for one that is free.

    Raises:
        InputError: it cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise InputError(f"--host {host[:80]}: {_reason(error)}; give an address of this machine") from None
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(256)
    except OSError as error:
        opened.close()
        raise InputError(
            f"cannot listen on {host[:80]}, port {port}: {_reason(error)}; choose another with --port, or 0 for a free one"
        ) from None
    opened.set_inheritable(False)
    return opened


def run_server(
    app: FastAPI,
    listening: socket.socket,
    ready: Callable[[], None],
    *,
    certificate: Path | None = None,
    key: Path | None = None,
    behind_proxy: bool = False,
) -> None:
    """Serve until a signal ends it; that signal is raised again afterwards.

    Args:
        listening: of `listen`; closed at the end.
        ready: called once requests are answered.
        certificate, key: files in PEM for TLS; None for none.
        behind_proxy: believe a proxy on this machine from where, and by which scheme, a request came.

    Raises:
        InputError: certificate or key cannot be used.
    """
    config = uvicorn.Config(
        app,
        http=PunctualProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=behind_proxy,
        forwarded_allow_ips="127.0.0.1,::1",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_LAST_ANSWERS_SECONDS,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    try:
        config.load()
    except (OSError, ValueError) as error:  # SSLError is an OSError
        raise InputError(f"--ssl-certfile and --ssl-keyfile cannot be used: {_reason(error)}") from None
    try:
        _TellingServer(config, ready, app).run(sockets=[listening])
    finally:
        listening.close()


class _TellingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], app: FastAPI) -> None:
        super().__init__(config)
        self._ready = ready
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As the base class has it; then tells that it is done."""
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what answers may wait for (`app.state.on_stop`), as threads cannot be cancelled; then as the base class."""
        for end in getattr(self._app.state, "on_stop", ()):
            end()
        await super().shutdown(sockets)


class PunctualProtocol(H11Protocol):
    """Ends connections on which no whole head of a request comes in time, or whose answer nobody reads; else a few of them
    hold the server."""

    _head_due: asyncio.TimerHandle | None = None
    _read_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head, in the place of another where too many wait."""
        super().connection_made(transport)
        if len(self.connections) > CROWDED:
            longest = next(iter(self._owing), None)
            if longest is not None:
                del self._owing[longest]
                longest.transport.abort()
            elif len(self.connections) > MAX_CONNECTIONS:
                self._answer_and_close(HTTPStatus.SERVICE_UNAVAILABLE, "busy", "too many connections; come again later")
                return
        self._owing[self] = None
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Wait on as long as a head has begun and is not whole."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE or self.conn.their_state is h11.SEND_BODY:
            self._owing.setdefault(self)  # at its old place: a byte now and then gives nobody more time
        else:
            self._owing.pop(self, None)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._head_due is None:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        self._stop_watching()
        self._owing.pop(self, None)
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """From now on the next request is owed."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self._owing.pop(self, None)
            self._owing[self] = None

    def pause_writing(self) -> None:
        """Begin to watch whether the client reads."""
        super().pause_writing()
        if self._read_due is None:
            self._read_due = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It does."""
        self._stop_watching()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """As every error of the API is told; the base class sends bare text."""
        self._answer_and_close(HTTPStatus.BAD_REQUEST, "bad request", "this is no HTTP that can be read")

    @property
    def _owing(self) -> dict[PunctualProtocol, None]:
        """Connections whose client has something to send, the one that was waited for longest first."""
        return _owing_of.setdefault(self.server_state, {})

    def _answer_and_close(self, status: HTTPStatus, kind: str, message: str) -> None:
        if self.cycle is None or self.cycle.response_complete:  # else this would come in the midst of an answer
            body = json.dumps({"error": kind, "message": message}).encode()
            headers = {
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                "Connection": "close",
                "Cache-Control": "no-store",
                "Content-Security-Policy": CONTENT_SECURITY_POLICY,
                **({"Retry-After": "5"} if status >= 500 else {}),
                **FIXED_HEADERS,
            }
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            self.transport.write(f"HTTP/1.1 {status.value} {status.phrase}\r\n{head}\r\n".encode() + body)
        self.transport.close()

    def _await_head(self) -> None:
        self._head_due = self.loop.call_later(HEAD_SECONDS, self._close_late)

    def _stop_waiting(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _stop_watching(self) -> None:
        if self._read_due is not None:
            self._read_due.cancel()
            self._read_due = None

    def _close_late(self) -> None:
        self._head_due = None
        if not self.transport.is_closing():
            self.transport.close()


_owing_of: WeakKeyDictionary[ServerState, dict[PunctualProtocol, None]] = WeakKeyDictionary()


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
