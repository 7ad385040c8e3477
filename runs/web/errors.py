"""Every error as an answer: JSON under `/api/`, a page elsewhere; in our words, with what to do, and never a traceback.

bad input, unknown setting      422     store cannot be used, work failed       503
unknown id                      404     nobody logged in                        401, or the log-in page
role does not allow it          403     review was changed meanwhile            409
artefact was deleted            410     unforeseen, a fault of ours             500, logged under a number
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import Request

from tracescribe.runs.access.errors import AccessDeniedError, TokenRefusedError
from tracescribe.runs.store.errors import (
    ArtefactMissingError,
    StoreBusyError,
    StoreError,
    StoreUnreachableError,
)
from tracescribe.tracer.errors import (
    EvidenceError,
    InputError,
    InterventionError,
    OutputError,
    ProviderError,
    ReportError,
    TracescribeError,
    UnknownIdError,
)

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger(__name__)
_KINDS: tuple[tuple[type[TracescribeError], int, str], ...] = (
    (TokenRefusedError, 401, "not logged in"),
    (AccessDeniedError, 403, "not allowed"),
    (UnknownIdError, 404, "not found"),
    (ArtefactMissingError, 410, "gone"),
    (StoreBusyError, 503, "busy"),
    (StoreError, 503, "store"),
    (EvidenceError, 422, "no evidence"),
    (InterventionError, 422, "intervention"),
    (ReportError, 422, "report"),
    (OutputError, 503, "store"),
    (ProviderError, 503, "provider"),
    (InputError, 422, "invalid"),
    (TracescribeError, 503, "failed"),
)
"""The first that fits decides. `runs.review.errors` are beside it, in `refusal_of`."""
_IN_BRACKETS = re.compile(r" \(.*\)")
_HTTP: dict[int, tuple[str, str]] = {
    400: ("bad request", "the request cannot be read; send it again as the API's description has it"),
    401: ("not logged in", "nobody is logged in; log in with a token"),
    403: ("not allowed", "this is not allowed"),
    404: ("not found", "there is nothing at this address; go back to the list of reports"),
    405: ("wrong method", "this address does not take that method; the API's description says which"),
    413: ("too large", "the request is too large"),
    422: ("invalid", "the request has a value that cannot be used"),
}
TITLES: dict[int, str] = {
    400: "That request cannot be read",
    401: "Log in first",
    403: "Not allowed",
    404: "Nothing is here",
    405: "Not in this way",
    410: "No longer here",
    413: "Too large",
    421: "Wrong address",
    422: "That does not fit",
    429: "Too many requests",
    431: "Too much in the head",
    500: "A fault of ours",
    503: "Not now",
}
"""Headings of error pages."""
MAX_FAULTS = 10
"""Of a request's values, told at once."""


class Refusal(Exception):
    """An answer that is no result.

    Attributes:
        status: 4xx or 503; 500 for a fault of ours alone.
        kind: a word or two that programs compare.
        message: one line: what, where, what to do.
        fields: more, for programs.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        fields: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = _clean(message)
        self.fields = dict(fields or {})
        self.headers = dict(headers or {})


class FaultsAnswered:
    """ASGI middleware that turns what other middleware refuses, and what nobody foresaw, into answers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, and answer where that fails before an answer has begun."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, noting)
        except Exception as error:
            refusal = refusal_of(error)
            if begun:
                _log.warning("an answer broke off: %s", refusal.message)
                raise
            await answer(Request(scope, receive), refusal)(scope, receive, send)


def answer_errors(app: FastAPI) -> None:
    """Let routes raise errors of ours, and have the framework's told in our words."""

    async def answered(request: Request, error: Exception) -> Response:
        if isinstance(error, StoreUnreachableError):
            request.app.state.context.outage.begin()
        refusal = refusal_of(error)
        if refusal.status == 405:
            refusal.headers["Allow"] = _methods_of(request)
        return answer(request, refusal)

    for kind in (TracescribeError, Refusal, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, answered)


def refusal_of(error: Exception) -> Refusal:
    """What to answer for an error. One that nobody foresaw is logged under a number that the visitor is told."""
    from tracescribe.runs.review.errors import ActRefusedError, ReviewConflictError, ReviewUnfinishedError

    if isinstance(error, Refusal):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        kind, message = _HTTP.get(error.status_code, ("refused", str(error.detail)))
        return Refusal(error.status_code, kind, message, headers=error.headers)
    if isinstance(error, ReviewConflictError):
        fields = {
            "state": error.state.model_dump(mode="json"),
            "since": [act.model_dump(mode="json") for act in error.since],
        }
        return Refusal(409, "conflict", str(error), fields=fields)
    if isinstance(error, ActRefusedError):
        return Refusal(422, "act refused", str(error))
    if isinstance(error, ReviewUnfinishedError):
        return Refusal(409, "unfinished", str(error))
    if isinstance(error, TracescribeError):
        status, kind = next((status, kind) for type_, status, kind in _KINDS if isinstance(error, type_))
        if status == 503:
            _log.warning("%s: %s", type(error).__name__, _clean(str(error)))  # one line of the log, whatever was sent
        return Refusal(status, kind, str(error), headers={"Retry-After": "5"} if status == 503 else {})
    number = secrets.token_hex(4)
    _log.error("fault %s: unforeseen %s", number, type(error).__name__, exc_info=error)
    return Refusal(
        500, "fault", f"something unforeseen went wrong; the server's log has it as fault {number}: report it with that"
    )


def answer(request: Request, refusal: Refusal) -> Response:
    """The response for a refusal, as whoever asked can read it."""
    from tracescribe.runs.web.pages import page

    message = _without_places(request, refusal)
    if request.url.path.startswith("/api/") and request.url.path != "/api/docs":
        content = {"error": refusal.kind, "message": message, **refusal.fields}
        headers = dict(refusal.headers)
        if refusal.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(content, refusal.status, headers)
    if refusal.status == 401 and request.method == "GET" and "Authorization" not in request.headers:
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/log-in?next={quote(asked, safe='')}", 303)
    shown = page(
        request,
        "error.html",
        status_code=refusal.status,
        title=TITLES.get(refusal.status, "That did not work"),
        message=message,
        code=refusal.status,
    )
    shown.headers.update(refusal.headers)
    return shown


def _without_places(request: Request, refusal: Refusal) -> str:
    """The message; where strangers come, without where the store lies: errors of the store name its folder or database."""
    context = getattr(request.app.state, "context", None)
    if context is None or not context.settings.log_in:
        return refusal.message
    address, message = context.store.address, refusal.message
    places = {address.shown} | ({str(address.database_file.parent)} if address.database_file is not None else set())
    for place in sorted(places, key=len, reverse=True):
        message = message.replace(place, "of this server")
    return (
        _IN_BRACKETS.sub("", message) if refusal.kind == "store" else message
    )  # what the driver said, with its address


def _methods_of(request: Request) -> str:
    """Every method that some route takes at this address; the framework names those of one route alone."""
    from starlette.routing import Match, Route

    from tracescribe.runs.web.routes import ROUTERS

    taken: set[str] = set()
    for name in ROUTERS:
        for route in import_module(f"tracescribe.runs.web.routes.{name}").router.routes:
            if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
                taken |= route.methods or set()
    if "GET" in taken or not taken:  # what is in no module is a file
        taken |= {"GET", "HEAD"}
    return ", ".join(sorted(taken))


def _invalid(error: RequestValidationError) -> Refusal:
    """Where and why, without what was sent: it may be large, secret, or no text at all."""
    faults = [
        {"where": _clean(".".join(str(part) for part in fault.get("loc", ()))[:200]), "why": _why(fault["msg"])}
        for fault in error.errors()[:MAX_FAULTS]
    ]
    first = faults[0] if faults else {"where": "the request", "why": "cannot be used"}
    message = f"{first['where']}: {first['why']}; correct it and send it again"
    return Refusal(422, "invalid", message, fields={"faults": faults})


def _why(told: str) -> str:
    """What is wrong with a value, without words of the libraries that checked it."""
    if "Expected UploadFile" in told:
        return "it must be a file, with a name (curl: -F field=@file)"
    return _clean(told.removeprefix("Value error, ")[:300])


def _clean(text: str) -> str:
    """Text that can be encoded, on one line."""
    return " ".join(text.encode("utf-8", "replace").decode().split())
