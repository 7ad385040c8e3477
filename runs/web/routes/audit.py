"""The audit trail: what was done and by whom, and whether the log is whole. For admins alone."""

from __future__ import annotations

import threading
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse

from tracescribe.runs.access.roles import Principal
from tracescribe.runs.audit.acts import ACTS
from tracescribe.runs.audit.looking import Wanted, checked_acts
from tracescribe.runs.time_spans import parse_moment
from tracescribe.runs.web.audit_pages import (
    EntryPage,
    LogState,
    VerificationState,
    Verifier,
    cut_name,
    in_short,
    read_page,
    read_state,
    told,
)
from tracescribe.runs.web.context import Context, allowed
from tracescribe.runs.web.pages import page
from tracescribe.tracer.errors import SettingError

router = APIRouter(tags=["audit"])
PER_PAGE = 50
MAX_PER_PAGE = 500
_making = threading.Lock()

Auditor = Annotated[Principal, Depends(allowed("see audit log"))]
Text = Annotated[str, Query(max_length=200)]
Act = Annotated[str, Query(max_length=40, description="such as 'report opened'; none for all")]
Moment = Annotated[str, Query(max_length=40, description="2026-11-21, 2026-11-21T08:00, or 12h ago as 12h")]
Before = Annotated[int | None, Query(ge=0, le=2**62, description="number of an entry: only those before it")]


def verifier(request: Request) -> Verifier:
    """What verifies the log of this app's store."""
    with _making:
        found: Verifier | None = getattr(request.app.state, "verifier", None)
        if found is None:
            found = request.app.state.verifier = Verifier()
    return found


Checks = Annotated[Verifier, Depends(verifier)]


@router.get("/audit", response_class=HTMLResponse, include_in_schema=False)
def show_log(
    request: Request,
    _: Auditor,
    context: Context,
    checks: Checks,
    act: Act = "",
    actor: Text = "",
    subject: Text = "",
    since: Moment = "",
    until: Moment = "",
    before: Before = None,
) -> HTMLResponse:
    """The audit log as a page."""
    problem, found = None, EntryPage(entries=(), older=None)
    try:
        found = read_page(context.store, _wanted(act, actor, subject, since, until, before), PER_PAGE)
    except SettingError as error:
        problem = str(error)
    return page(
        request,
        "audit.html",
        status_code=422 if problem else 200,
        problem=problem,
        found=found,
        rows=[(entry, in_short(entry.details), told(entry.details)) for entry in found.entries],
        cut=cut_name,
        log=read_state(context.store),
        last=checks.last,
        acts=sorted(ACTS.items()),
        asked={"act": act, "actor": actor, "subject": subject, "since": since, "until": until},
        before=before,
    )


@router.get("/api/audit", summary="Entries of the audit log")
def read_log(
    _: Auditor,
    context: Context,
    act: Act = "",
    actor: Text = "",
    subject: Text = "",
    since: Moment = "",
    until: Moment = "",
    before: Before = None,
    per_page: Annotated[int, Query(ge=1, le=MAX_PER_PAGE)] = PER_PAGE,
) -> EntryPage:
    """The newest first. The subject is the id of a case, artefact, token, key or job; a job's cases belong to it."""
    return read_page(context.store, _wanted(act, actor, subject, since, until, before), per_page)


@router.get("/api/audit/state", summary="How long the log is and how far it is signed")
def read_log_state(_: Auditor, context: Context) -> LogState:
    """As the log says itself; `POST /api/audit/verification` checks it."""
    return read_state(context.store)


@router.get("/api/audit/verification", summary="What came of verifying the log last")
def read_verification(_: Auditor, checks: Checks) -> VerificationState | None:
    """None where nobody verified it since the server was started."""
    return checks.last


@router.post("/api/audit/verification", summary="Verify the log now")
def verify(visitor: Auditor, context: Context, checks: Checks) -> VerificationState:
    """Every entry, signature and anchor that this machine knows, as `tracescribe audit verify` does it."""
    return checks.verify(context.store, visitor.name)


def _wanted(act: str, actor: str, subject: str, since: str, until: str, before: int | None) -> Wanted:
    """The filter; words with nothing in them ask for nothing.

    Raises:
        SettingError: no such act, or a moment that is none.
    """
    return Wanted(
        subjects=(subject.strip(),) if subject.strip() else (),
        acts=checked_acts((act.strip(),)) if act.strip() else (),
        actor=actor.strip() or None,
        since=parse_moment(since) if since.strip() else None,
        until=parse_moment(until) if until.strip() else None,
        before=before,
        prefix=bool(subject.strip()),
    )
