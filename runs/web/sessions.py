"""Who asks: by a token in the request, by a session's cookie, or as the person at this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from tracescribe.runs.access.errors import TokenRefusedError
from tracescribe.runs.access.roles import Principal, local_principal
from tracescribe.runs.access.tokens import authenticate
from tracescribe.runs.store.errors import StoreUnreachableError
from tracescribe.runs.web.errors import Refusal
from tracescribe.runs.web.session_store import SESSION_SECONDS, csrf_token, session_visitor

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from tracescribe.runs.web.context import WebContext

MAX_COOKIE = 200


class VisitorsKnown:
    """ASGI middleware that sets `visitor` (None for nobody), `csrf`, `session` and `by_token` in the request's state."""

    def __init__(self, app: ASGIApp, context: WebContext) -> None:
        self.app = app
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Find out, and hand on; a token that is not valid is refused here."""
        if scope["type"] != "http" or scope["path"].startswith("/static/"):
            await self.app(scope, receive, send)
            return
        outage = self._context.outage
        if not outage.lets_through():
            raise Refusal(
                503, "store", "the store cannot be reached; try again in a moment", headers={"Retry-After": "5"}
            )
        try:
            await run_in_threadpool(self._recognise, Request(scope))
        except StoreUnreachableError:
            outage.begin()
            raise
        await self.app(scope, receive, outage.ended_by(send) if outage.is_on else send)

    def _recognise(self, request: Request) -> None:
        context, state = self._context, request.state
        state.visitor, state.session, state.csrf, state.by_token = None, None, "", False
        header = request.headers.get("Authorization")
        if header is not None:
            state.visitor, state.by_token = self._by_token(request, header), True
        elif not context.settings.log_in:
            state.visitor, state.csrf = local_principal(), csrf_token(context.key, "local")
        else:
            value = request.cookies.get(session_cookie(context), "")[:MAX_COOKIE]
            state.visitor = session_visitor(context.store, value) if value else None
            if state.visitor is not None:
                state.session, state.csrf = value, csrf_token(context.key, f"session:{value}")
            elif before := request.cookies.get(visitor_cookie(context), "")[:MAX_COOKIE]:
                state.csrf = csrf_token(context.key, f"visitor:{before}")

    def _by_token(self, request: Request, header: str) -> Principal:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise TokenRefusedError(
                "the Authorization header is none that this server takes; send 'Bearer' and a token, or leave it out"
            )
        return token_owner(self._context, request, token.strip())


def token_owner(context: WebContext, request: Request, token: str) -> Principal:
    """Whose token it is. Wrong ones are counted by address, and from some number on neither explained nor logged.

    A right one always is let in: many may come from one address, and a colleague's program that tries an old token for ever
    must not lock them out. Nobody guesses 256 bits, counted or not.

    Raises:
        TokenRefusedError: nobody's, as far as is told.
        Refusal: nobody's, and there were too many of those.
    """
    address = f"address:{request.client.host if request.client else ''}"
    too_many: Refusal | None = None
    try:
        context.limits.ask("log-in", address)
    except Refusal as refusal:
        too_many = refusal
    try:
        return authenticate(context.store, token, log_refusal=too_many is None)
    except TokenRefusedError:
        if too_many is not None:
            raise too_many from None
        context.limits.take("log-in", address)
        raise


def still_there(request: Request) -> None:
    """Whether who began a long answer may still see it: tokens are revoked, and sessions end, while it goes on.

    Raises:
        TokenRefusedError: no longer.
        StoreError: the store cannot be read.
    """
    context: WebContext = request.app.state.context
    if request.state.by_token:
        authenticate(context.store, request.headers["Authorization"].partition(" ")[2].strip(), log_refusal=False)
    elif request.state.session and session_visitor(context.store, request.state.session) is None:
        raise TokenRefusedError("the session has ended; log in again")


def session_cookie(context: WebContext) -> str:
    """The cookie's name, with the store's own part: servers on one machine share the browser's cookies."""
    return _name(context, "session")


def visitor_cookie(context: WebContext) -> str:
    """Name of the cookie that holds the log-in form's CSRF token to the browser that it was sent to."""
    return _name(context, "visitor")


def set_cookie(response: Response, context: WebContext, name: str, value: str) -> None:
    """Set one of the two cookies: not for scripts, not for requests that other sites begin, over TLS where there is TLS."""
    response.set_cookie(
        name,
        value,
        max_age=int(SESSION_SECONDS),
        path="/",
        secure=context.settings.secure_cookies,
        httponly=True,
        samesite="strict",
    )


def clear_cookie(response: Response, context: WebContext, name: str) -> None:
    """Have the browser forget it."""
    response.delete_cookie(name, path="/", secure=context.settings.secure_cookies, httponly=True, samesite="strict")


def _name(context: WebContext, what: str) -> str:
    host_only = "__Host-" if context.settings.secure_cookies else ""
    return f"{host_only}tracescribe_{what}_{context.store.store_id[:8]}"
