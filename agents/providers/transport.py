"""The HTTP connection under both SDKs: what a server may send, for how long, and where it may send us.

An answer of the SDKs' own connection may be of any size, may trickle in for hours, and may be redirected to another
host with the key in its headers. Here the size and the time of every answer are limited, compression is not asked for
(a small body could hold a huge one), and redirects are not followed.

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

import httpx2

from tracescribe.agents.providers.errors import ProviderConnectionError, ProviderTimeoutError, TransientProviderError
from tracescribe.agents.providers.secrets import redact

MAX_ANSWER_BYTES = 16 << 20
"""A full answer is tens of kilobytes, as a stream some ten times that."""
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

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


class _TooLargeError(httpx2.TransportError):
    """An answer beyond `MAX_ANSWER_BYTES`."""


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

    return httpx2.Client(
        verify=_trusted(),
        timeout=timeout_seconds,
        follow_redirects=False,
        headers=IDENTITY,
        event_hooks={"request": [] if official else [only_ours], "response": [_limit]},
    )


@cache
def _trusted() -> ssl.SSLContext:
    """The certificates that are trusted, read once: that takes longer than all the rest of opening a client."""
    return httpx2.create_ssl_context()


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Answers that are awaited in this block end after so many seconds, however steadily they trickle in."""
    token = _deadline.set(None if seconds is None else time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


def attempt_timeout(timeout_seconds: float, seconds_left: float | None) -> float:
    """Seconds of silence after which an attempt is given up: never more than are left."""
    return timeout_seconds if seconds_left is None else max(0.001, min(timeout_seconds, seconds_left))


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
        if isinstance(cause, httpx2.TimeoutException):
            sent = not isinstance(cause, (httpx2.ConnectTimeout, httpx2.PoolTimeout))
            return ProviderTimeoutError(f"{who}: no answer within {waited:g} s", maybe_billed=sent)
    for cause in chain:
        if isinstance(cause, (httpx2.TransportError, httpx2.StreamError, httpx2.DecodingError)):
            sent = not isinstance(cause, (httpx2.ConnectError, httpx2.UnsupportedProtocol, httpx2.ProxyError))
            said = redact(str(cause) or type(cause).__name__, secret)
            return ProviderConnectionError(f"{who}: connection failed: {said}", maybe_billed=sent)
    return None


def _limit(response: httpx2.Response) -> None:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise httpx2.DecodingError("a compressed answer, which was not asked for", request=response.request)
    assert isinstance(response.stream, httpx2.SyncByteStream)
    response.stream = _Limited(response.stream, _deadline.get())


class _Limited(httpx2.SyncByteStream):
    """A body that ends with an error beyond its limits."""

    def __init__(self, inner: httpx2.SyncByteStream, deadline: float | None) -> None:
        self._inner = inner
        self._deadline = deadline

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for piece in self._inner:
            size += len(piece)
            if size > MAX_ANSWER_BYTES:
                raise _TooLargeError("too large")
            if self._deadline is not None and time.monotonic() > self._deadline:
                raise httpx2.ReadTimeout("the time for this answer is up")
            yield piece

    def close(self) -> None:
        self._inner.close()
