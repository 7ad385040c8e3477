"""Changes come from our own pages alone: other sites can neither make a visitor's browser act here nor embed what is here."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request

from tracescribe.runs.web.errors import Refusal
from tracescribe.runs.web.hosts import host_name
from tracescribe.runs.web.session_store import unmasked

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HEADER = "X-CSRF-Token"
FIELD = "csrf"
MAX_FORM_BYTES = 64 << 10
_FORM = "application/x-www-form-urlencoded"
_BODIES = (_FORM, "application/json", "multipart/form-data")
_RELOAD = "reload the page and try again"


class OwnPagesOnly:
    """ASGI middleware.

    A change needs the CSRF token (in a header, or in a form's field), and an Origin and Sec-Fetch-Site, where the browser
    sends them, that are ours. A request with a token of its own in `Authorization` needs no CSRF token: browsers never add
    that on their own. Reading is refused to other sites unless somebody follows a link to a page.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, or refuse."""
        if scope["type"] == "http":
            request = Request(scope)
            if request.method in SAFE_METHODS:
                _refuse_embedding(request)
            else:
                _refuse_other_sites(request)
                receive = await _checked(request, receive)
        await self.app(scope, receive, send)


def _refuse_embedding(request: Request) -> None:
    """A page elsewhere may link to a page here; it may not load anything as a part of itself, nor open the API."""
    if request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
        return
    follows = request.headers.get("Sec-Fetch-Mode") == "navigate"
    framed = request.headers.get("Sec-Fetch-Dest") not in (None, "document")
    path = request.url.path
    if not follows or framed or (path.startswith("/api/") and path != "/api/docs"):
        raise Refusal(403, "cross-site", "another site asked for this; open the review app itself")


def _refuse_other_sites(request: Request) -> None:
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if origin == "null" and site == "same-origin":
        origin = None  # a form of ours: without referrers browsers do not name its origin, and say that it is ours
    if (site is not None and site not in ("same-origin", "none")) or (origin is not None and not _own(request, origin)):
        raise Refusal(403, "cross-site", "another site asked for this change; make it in the review app itself")


def _own(request: Request, origin: str) -> bool:
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    host = request.headers.get("Host", "")
    name = host_name(host.encode("latin-1", "replace"))
    tail = host.rpartition(":")[2]
    default = 443 if parts.scheme == "https" else 80
    own_port = int(tail) if tail.isdigit() and not host.endswith("]") else default
    return (
        parts.scheme == request.url.scheme
        and not (parts.path or parts.query or parts.fragment or parts.username)
        and host_name((parts.netloc or "").encode("latin-1", "replace")) == name
        and (port or default) == own_port
    )


async def _checked(request: Request, receive: Receive) -> Receive:
    """Check the CSRF token.

    Returns:
        What gives the body, from its beginning.

    Raises:
        Refusal: it is missing or wrong, or the body is of a kind that nobody here takes.
    """
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    length = request.headers.get("Content-Length", "")
    if kind and kind not in _BODIES:
        raise Refusal(415, "wrong type", f"a body of the type {kind[:60]!r} is not taken; send application/json")
    if not kind and (length not in ("", "0") or "Transfer-Encoding" in request.headers):
        raise Refusal(415, "wrong type", "the body's type is missing; send Content-Type: application/json")
    if request.url.path.startswith("/api/") and kind == _FORM:
        raise Refusal(415, "wrong type", "a form is not taken here; send application/json")
    if getattr(request.state, "by_token", False):
        return receive
    given = request.headers.get(HEADER)
    if given is None and kind == _FORM:
        body = await _read(receive)
        fields = parse_qs(body.decode("latin-1"), keep_blank_values=True, max_num_fields=100)
        given = fields.get(FIELD, [""])[0]
        receive = _again(body, receive)
    expected: str = getattr(request.state, "csrf", "")
    if not expected and request.url.path != "/log-in":
        raise Refusal(401, "not logged in", "nobody is logged in; log in with a token")
    if not expected or not given or not hmac.compare_digest(unmasked(given), expected):
        raise Refusal(
            403,
            "csrf",
            f"the request does not show that it comes from a page of this server (header {HEADER}); {_RELOAD}",
        )
    return receive


async def _read(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Refusal(400, "bad request", "the request broke off; send it again")
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > MAX_FORM_BYTES:
            raise Refusal(413, "too large", f"a form has at most {MAX_FORM_BYTES} bytes; shorten it")
        if not message.get("more_body", False):
            return body


def _again(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
