"""How much a request may say, and how slowly: checked before the body is read, and while it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.requests import Request

from tracescribe.runs.web.errors import Refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 512 << 10
"""Of requests that upload nothing: an act on as many nodes as one may name has half of it."""
MAX_URL_BYTES = 8 << 10
MAX_HEAD_BYTES = 32 << 10
"""Of address and headers; the HTTP library counts only what has not come whole, and a large one may come at once."""
PART_SECONDS = 20.0
"""That the next part of a body may take to come."""
BODY_SECONDS = 300.0
"""That a whole upload may take."""
SMALL_BODY_SECONDS = 30.0
"""That any other body may take; the log-in form's comes from people whom nobody knows."""
UPLOADS = frozenset({"/api/reports"})


class SizesLimited:
    """ASGI middleware.

    Args:
        max_upload_bytes: of a body that is sent to one of `UPLOADS`.
        part_seconds, body_seconds: time limits; shorter in tests.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_upload_bytes: int,
        part_seconds: float = PART_SECONDS,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self.app = app
        self._max_upload = max_upload_bytes
        self._part_seconds = part_seconds
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, or refuse."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        _check_address(scope)
        _check_head(scope)
        upload = scope["path"] in UPLOADS
        limit = self._max_upload if upload else MAX_BODY_BYTES
        headers = Request(scope).headers
        declared = headers.get("Content-Length")
        if declared is not None and "Transfer-Encoding" in headers:
            # a proxy may read it in one way and we in the other: a second request could hide in the first one's body
            raise Refusal(
                400,
                "bad request",
                "the request says in two ways how long its body is; leave it to your HTTP library",
                headers={"Connection": "close"},
            )
        if declared is not None and (not declared.isascii() or not declared.isdigit() or len(declared) > 18):
            raise Refusal(400, "bad request", "Content-Length is no number; leave it to your HTTP library")
        if declared is not None and int(declared) > limit:
            raise _too_large(limit)
        seconds = self._body_seconds if upload else min(self._body_seconds, SMALL_BODY_SECONDS)
        await self._counting(scope, receive, send, limit, seconds)

    async def _counting(self, scope: Scope, receive: Receive, send: Send, limit: int, seconds: float) -> None:
        read, whole, begun = 0, False, False
        refused: Refusal | None = None
        until = asyncio.get_running_loop().time() + seconds

        async def counted() -> Message:
            nonlocal read, whole, refused
            if whole:
                return await receive()  # waits for the client to go away, however long that takes
            try:
                left = until - asyncio.get_running_loop().time()
                message = await asyncio.wait_for(receive(), min(self._part_seconds, max(0.0, left)))
            except TimeoutError:
                refused = Refusal(408, "too slow", "the request's body did not come in time; send it again")
                raise refused from None
            read += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if read > limit:
                refused = _too_large(limit)
                raise refused
            return message

        async def unless_refused(message: Message) -> None:
            nonlocal begun
            # the framework answers what it could not read with words of its own
            if refused is None or begun:
                begun = True
                await send(message)

        try:
            await self.app(scope, counted, unless_refused)
        except Exception:
            if refused is None or begun:
                raise
        if refused is not None and not begun:
            raise refused


def _check_address(scope: Scope) -> None:
    raw: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
    query: bytes = scope.get("query_string", b"")
    if len(raw) + len(query) > MAX_URL_BYTES:
        raise Refusal(414, "too long", f"an address has at most {MAX_URL_BYTES} bytes; shorten the search")
    path: str = scope["path"]
    unclean = "\0" in path or "\\" in path or "\ufffd" in path or any("\ud800" <= c <= "\udfff" for c in path)
    if unclean or b"%00" in query or b"\0" in query:
        raise Refusal(400, "bad address", "the address has characters that no address here has; go back to the list")


def _check_head(scope: Scope) -> None:
    if sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > MAX_HEAD_BYTES:
        raise Refusal(
            431, "too long", f"the headers have more than {MAX_HEAD_BYTES} bytes; clear the cookies of this address"
        )


def _too_large(limit: int) -> Refusal:
    return Refusal(413, "too large", f"the request is larger than {limit} bytes; send less", fields={"limit": limit})
