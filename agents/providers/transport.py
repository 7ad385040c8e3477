"""The HTTP connection under both SDKs: what a server may send, for how long, and where it may send us.

An answer of the SDKs' own connection may be of any size, may trickle in for hours, and may be redirected to another
host with the key in its headers. Here the size and the time of every answer are limited, compression is not asked for
(a small body could hold a huge one), and redirects are not followed.

The libraries below limit the silence between two pieces alone, and a server that sends a byte now and then never is
silent. So every read of a socket, of headers too, also ends at the attempt's deadline.

The SDKs also add headers from environment variables of their own (organisation, project, any custom header), whatever the
address. A server that is not the provider's own gets none of these.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, Protocol

import httpx2

from tracescribe.agents.providers.errors import ProviderConnectionError, ProviderTimeoutError, TransientProviderError
from tracescribe.agents.providers.secrets import redact

MAX_ANSWER_BYTES = 16 << 20
"""A full answer is tens of kilobytes, as a stream some ten times that."""
DEADLINE_FACTOR = 3
"""An attempt ends after so many times `timeout_seconds`, whatever arrives: long enough for a long answer that streams
steadily, and short enough that a server that only keeps the line open holds no run."""
IDENTITY = {"Accept-Encoding": "identity"}

_PLAIN_HEADERS = frozenset(
    {
        "host",
        "connection",
        "accept",
        "accept-encoding",
        "content-type",
        "content-length",
        "transfer-encoding",
        "user-agent",
        "anthropic-version",
        "idempotency-key",
    }
)

_limit: ContextVar[tuple[float, float] | None] = ContextVar("limit", default=None)
"""Of the attempt on its way: the deadline on the monotonic clock, and the seconds that it stands for."""


class _TooLargeError(httpx2.TransportError):
    """An answer beyond `MAX_ANSWER_BYTES`."""


class _TimeUpError(httpx2.ReadTimeout):
    """The attempt's deadline has passed."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no answer within {seconds:g} s")
        self.seconds = seconds


def http_client(timeout_seconds: float, *, key: str, official: bool) -> httpx2.Client:
    """A connection pool for one SDK client.

    Args:
        timeout_seconds: for connecting, and between two pieces of an answer.
        key: the only credential that a server other than the provider's own is shown.
        official: whether the requests go to the provider's own server.
    """

    def only_ours(request: httpx2.Request) -> None:
        for name in [name for name in request.headers if name.lower() not in _PLAIN_HEADERS]:
            del request.headers[name]
        request.headers["authorization"] = f"Bearer {key}"

    client = httpx2.Client(
        verify=_trusted(),
        timeout=timeout_seconds,
        follow_redirects=False,
        headers=IDENTITY,
        event_hooks={"request": [] if official else [only_ours], "response": [_limit_body]},
    )
    # The client has no option for the layer under its pools; the transports of environment proxies have pools, too.
    for holder in (client._transport, *client._mounts.values()):
        pool: Any = getattr(holder, "_pool", None)
        if pool is not None:
            pool._network_backend = _Backend(pool._network_backend)
    return client


@cache
def _trusted() -> ssl.SSLContext:
    """The certificates that are trusted, read once: that takes longer than all the rest of opening a client."""
    return httpx2.create_ssl_context()


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Answers that are awaited in this block end after so many seconds, however steadily they trickle in."""
    token = _limit.set(None if seconds is None else (time.monotonic() + seconds, seconds))
    try:
        yield
    finally:
        _limit.reset(token)


def attempt_timeout(timeout_seconds: float, seconds_left: float | None) -> float:
    """Seconds of silence after which an attempt is given up: never more than are left."""
    return timeout_seconds if seconds_left is None else max(0.001, min(timeout_seconds, seconds_left))


def attempt_deadline(timeout_seconds: float, seconds_left: float | None) -> float:
    """Seconds after which an attempt ends whatever arrives: never more than are left."""
    return attempt_timeout(DEADLINE_FACTOR * timeout_seconds, seconds_left)


def connection_fault(who: str, error: BaseException, waited: float, secret: str) -> TransientProviderError | None:
    """Our error for a connection that failed, at whatever depth of the SDK; None for any other error.

    Args:
        who: provider, model and server, for the message.
        error: as caught; its causes are looked at too.
        waited: seconds after which the attempt was given up.
        secret: the key, to be cut out of the words.
    """
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in chain:
        chain.append(at)
        at = at.__cause__ or at.__context__
    for cause in chain:
        if isinstance(cause, _TooLargeError):
            return ProviderConnectionError(
                f"{who}: the answer is larger than {MAX_ANSWER_BYTES >> 20} MiB and was not read on", maybe_billed=True
            )
        if isinstance(cause, _TimeUpError):
            return ProviderTimeoutError(f"{who}: no answer within {cause.seconds:g} s", maybe_billed=True)
        if isinstance(cause, httpx2.TimeoutException):
            sent = not isinstance(cause, (httpx2.ConnectTimeout, httpx2.PoolTimeout))
            return ProviderTimeoutError(f"{who}: no answer within {waited:g} s", maybe_billed=sent)
    for cause in chain:
        if isinstance(cause, (httpx2.TransportError, httpx2.StreamError, httpx2.DecodingError)):
            sent = not isinstance(cause, (httpx2.ConnectError, httpx2.UnsupportedProtocol, httpx2.ProxyError))
            said = redact(str(cause) or type(cause).__name__, secret)
            return ProviderConnectionError(f"{who}: connection failed: {said}", maybe_billed=sent)
    return None


def _limit_body(response: httpx2.Response) -> None:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise httpx2.DecodingError("a compressed answer, which was not asked for", request=response.request)
    assert isinstance(response.stream, httpx2.SyncByteStream)
    response.stream = _Limited(response.stream)


class _Limited(httpx2.SyncByteStream):
    """A body that ends with an error beyond its limits."""

    def __init__(self, inner: httpx2.SyncByteStream) -> None:
        self._inner = inner

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for piece in self._inner:
            size += len(piece)
            if size > MAX_ANSWER_BYTES:
                raise _TooLargeError("too large")
            _bounded(None)
            yield piece

    def close(self) -> None:
        self._inner.close()


def _bounded(timeout: float | None) -> float | None:
    """The time limit of one read or write, never beyond the attempt's deadline.

    Raises:
        _TimeUpError: it has passed.
    """
    limit = _limit.get()
    if limit is None:
        return timeout
    left = limit[0] - time.monotonic()
    if left <= 0:
        raise _TimeUpError(limit[1])
    return left if timeout is None else min(timeout, left)


@contextmanager
def _told_as_deadline() -> Iterator[None]:
    """A read that ran out of time at the deadline is told as such, and not as a silence."""
    try:
        yield
    except Exception:
        _bounded(None)
        raise


class _Connection(Protocol):
    """A connection of the HTTP library's."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes: ...
    def write(self, buffer: bytes, timeout: float | None = None) -> None: ...
    def close(self) -> None: ...
    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> Any: ...
    def get_extra_info(self, info: str) -> Any: ...


class _Backend:
    """What opens connections, so that all that is done on them ends at the deadline of the attempt that does it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, **options: Any) -> _Stream:
        return _Stream(self._inner.connect_tcp(host, port, timeout=_bounded(timeout), **options))


class _Stream:
    """One connection; it outlives the attempt that opened it."""

    def __init__(self, inner: _Connection) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _told_as_deadline():
            return self._inner.read(max_bytes, _bounded(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with _told_as_deadline():
            self._inner.write(buffer, _bounded(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> _Stream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _bounded(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
