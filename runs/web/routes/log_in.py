"""Logging in with a token, and out again; and who is logged in, for programs."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel

from tracescribe.runs.access.errors import TokenRefusedError
from tracescribe.runs.access.roles import ALLOWED
from tracescribe.runs.web.context import Context, Visitor
from tracescribe.runs.web.errors import Refusal
from tracescribe.runs.web.own_paths import START, own_path
from tracescribe.runs.web.pages import page
from tracescribe.runs.web.session_store import begin_session, csrf_token, end_session, masked
from tracescribe.runs.web.sessions import clear_cookie, session_cookie, set_cookie, token_owner, visitor_cookie

if TYPE_CHECKING:
    from tracescribe.runs.web.context import WebContext

router = APIRouter(tags=["log-in"])

Next = Annotated[str, Query(max_length=4000, description="page to go to afterwards")]


class Session(BaseModel):
    """Who asks, what they may do, and the token that their changes must show (empty with a token in the request)."""

    name: str
    role: str
    permissions: tuple[str, ...]
    csrf: str
    log_in: bool


@router.get("/", include_in_schema=False)
def start(request: Request) -> RedirectResponse:
    """The start page is the first that the visitor may see: for most the list of reports."""
    visitor = request.state.visitor
    return RedirectResponse(START if visitor is None else _start_of(visitor.role), 303)


@router.get("/log-in", include_in_schema=False, response_model=None)
def log_in_page(request: Request, context: Context, next: Next = START) -> Response:
    """The form; a visitor who is logged in already goes on."""
    goal = own_path(next)
    if request.state.visitor is not None:
        return RedirectResponse(_home(context, request, goal), 303)
    return _form(request, context, goal)


@router.post("/log-in", include_in_schema=False, response_model=None)
def log_in(
    request: Request,
    context: Context,
    token: Annotated[str, Form(max_length=400)] = "",
    next: Annotated[str, Form(max_length=4000)] = START,
) -> Response:
    """Begin a session with a token. A session that was there ends: what somebody put into the browser is never used."""
    goal = own_path(next)
    try:
        visitor = token_owner(context, request, token.strip())
    except Refusal as refusal:
        return _form(request, context, goal, refusal.message, 429, refusal.headers)
    except TokenRefusedError as error:
        return _form(request, context, goal, str(error), 401)
    if request.state.session:
        end_session(context.store, request.state.session, request.state.visitor)
    response = RedirectResponse(goal if goal != START else _start_of(visitor.role), 303)
    set_cookie(response, context, session_cookie(context), begin_session(context.store, visitor))
    clear_cookie(response, context, visitor_cookie(context))
    return response


@router.post("/log-out", include_in_schema=False)
def log_out(request: Request, context: Context) -> RedirectResponse:
    """End the session, in the store too: its cookie is worth nothing afterwards."""
    if request.state.session:
        end_session(context.store, request.state.session, request.state.visitor)
    response = RedirectResponse("/log-in", 303)
    clear_cookie(response, context, session_cookie(context))
    return response


@router.get("/api/session")
def session(request: Request, context: Context, visitor: Visitor) -> Session:
    """Who asks, and what they may do."""
    return Session(
        name=visitor.name,
        role=visitor.role,
        permissions=tuple(sorted(ALLOWED[visitor.role])),
        csrf=request.state.csrf,
        log_in=context.settings.log_in,
    )


def _form(
    request: Request,
    context: WebContext,
    goal: str,
    fault: str = "",
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> HTMLResponse:
    # a link elsewhere led here: cookies come with the next request, which this page begins itself
    again = request.headers.get("Sec-Fetch-Site") == "cross-site" and request.method == "GET"
    name = visitor_cookie(context)
    value = request.cookies.get(name, "")
    known = len(value) == 43
    if not known:
        value = secrets.token_urlsafe(32)
    shown = page(
        request,
        "log_in.html",
        status_code=status,
        csrf=masked(csrf_token(context.key, f"visitor:{value}")),
        next=goal,
        fault=fault,
        again=again,
    )
    shown.headers.update(headers or {})
    if again:
        shown.headers["Refresh"] = f"0; url=/log-in?next={quote(goal, safe='')}"
    if not known:
        set_cookie(shown, context, name, value)
    return shown


def _home(context: WebContext, request: Request, goal: str) -> str:
    return goal if goal != START else _start_of(request.state.visitor.role)


def _start_of(role: str) -> str:
    """The first page that a role may see."""
    allowed = ALLOWED.get(role, frozenset())  # type: ignore[call-overload]
    return START if "open reports" in allowed else "/jobs"
