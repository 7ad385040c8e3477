"""Answers under the server's own names alone: a page of another name that points here (DNS rebinding) gets nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tracescribe.runs.web.errors import Refusal
from tracescribe.tracer.errors import SettingError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from tracescribe.runs.web.settings import WebSettings

_LABEL = r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?"  # machines are called with underscores, whatever DNS says
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")
_IPV6 = re.compile(r"\[[0-9a-f:.]{2,45}\]")
_PORT = re.compile(r"[0-9]{1,5}")
_FORWARDED = (
    b"forwarded", b"via", b"x-original-forwarded-for", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip",
    b"true-client-ip", b"cf-connecting-ip",
)  # fmt: skip
_FORWARDED_BEGIN = b"x-forwarded-"
"""Headers by which proxies tell that they handed a request on; browsers and programs at this machine send none of them."""


class OwnHostsOnly:
    """ASGI middleware that refuses requests under other names, and those of a proxy that nobody told us of.

    Without a log-in everybody who reaches the server is taken for the person at this machine. A proxy on this machine
    would let strangers in as that person, so what a proxy marks as handed on is refused until `--behind-proxy` is given.
    """

    def __init__(self, app: ASGIApp, settings: WebSettings) -> None:
        self.app = app
        self._hosts = frozenset(settings.allowed_hosts)
        self._refuses_proxies = not settings.log_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, or refuse."""
        if scope["type"] == "http":
            hosts = [value for name, value in scope["headers"] if name == b"host"]
            if len(hosts) != 1 or (name := host_name(hosts[0])) is None:
                raise Refusal(
                    400, "bad host", "the request names no host, or one that is none; use the server's address"
                )
            if name not in self._hosts:
                raise Refusal(
                    421,
                    "wrong host",
                    "this server does not answer under that name; use the address that 'tracescribe serve' printed, or "
                    "start it with --allowed-host",
                )
            if self._refuses_proxies and any(_is_of_proxy(name) for name, _ in scope["headers"]):
                raise Refusal(
                    403,
                    "came through a proxy",
                    "the request came through a proxy, and this server asks nobody to log in; start it with "
                    "--behind-proxy, so that it does",
                )
        await self.app(scope, receive, send)


def _is_of_proxy(name: bytes) -> bool:
    return name in _FORWARDED or name.startswith(_FORWARDED_BEGIN)


def host_name(header: bytes) -> str | None:
    """The name in a Host header, without its port; None where it is malformed."""
    text = header.decode("latin-1").lower()
    name, separator, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not separator:
        name = text
    elif not _PORT.fullmatch(port):
        return None
    return name.rstrip(".") if _NAME.fullmatch(name) or _IPV6.fullmatch(name) else None


def checked_host(host: str) -> str:
    """A name as `OwnHostsOnly` compares it.

    Raises:
        SettingError: it is no host name, or has a port or a wildcard.
    """
    text = host.strip().lower()
    if text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"
    if not _NAME.fullmatch(text) and not _IPV6.fullmatch(text):
        raise SettingError(f"{host[:80]!r} is no host name; give a name or an address without scheme and port")
    return text.rstrip(".")
