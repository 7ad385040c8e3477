"""Live interventions: what can be run on a report here, and running it. Nothing here changes a report."""

from __future__ import annotations

import math
import threading
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict

from tracescribe.agents.claims import NecessityClaim, SteeringClaim, SwapClaim
from tracescribe.agents.report import CircuitReport
from tracescribe.runs.access.roles import Principal
from tracescribe.runs.web.context import Context, allowed, context_of
from tracescribe.runs.web.errors import Refusal
from tracescribe.runs.web.ids import CaseId
from tracescribe.runs.web.live_desk import LiveDesk, desk_of
from tracescribe.runs.web.live_errors import LiveError
from tracescribe.runs.web.live_requests import (
    LARGEST_MULTIPLIER,
    MAX_CONTROLS,
    MAX_DOSES,
    MAX_NODES,
    MAX_PROMPT,
    LiveRequest,
    LiveResult,
    LiveSubject,
)
from tracescribe.runs.web.live_worker import Phase
from tracescribe.runs.web.report_reading import open_case_report

router = APIRouter(tags=["live interventions"])
_making = threading.Lock()


class LiveLimits(BaseModel):
    """What one request may ask for."""

    model_config = ConfigDict(frozen=True)
    per_minute: int
    nodes: int = MAX_NODES
    controls: int = MAX_CONTROLS
    doses: int = MAX_DOSES
    donor_characters: int = MAX_PROMPT
    multiplier: float = LARGEST_MULTIPLIER


class TestedBefore(BaseModel):
    """An intervention that a claim of the report was tested by: a start for one's own."""

    model_config = ConfigDict(frozen=True)
    claim_id: str
    supernode: str
    act: str
    multiplier: float | None = None
    donor_prompt: str | None = None
    token: str


class LiveState(BaseModel):
    """What can be run on a report here.

    Attributes:
        why_not: None where it can, as far as is known: weights are compared once they are loaded.
        phase: of the model.
        waiting: interventions before a new one.
        token: the report's first target, by which effects are measured where nobody says otherwise.
    """

    model_config = ConfigDict(frozen=True)
    available: bool
    why_not: str | None
    phase: Phase
    loaded_in: float | None
    waiting: int
    prompt: str
    tokens: tuple[str, ...]
    token: str | None
    tested: tuple[TestedBefore, ...]
    limits: LiveLimits


def desk(request: Request) -> LiveDesk:
    """The desk of the app that serves this request, made when it is first needed."""
    with _making:
        found: LiveDesk | None = getattr(request.app.state, "live", None)
        if found is None:
            found = request.app.state.live = desk_of(context_of(request).settings)
            request.app.state.on_stop = (*getattr(request.app.state, "on_stop", ()), found.close)
    return found


Desk = Annotated[LiveDesk, Depends(desk)]
Reviewer = Annotated[Principal, Depends(allowed("review"))]


@router.get("/api/reports/{case_id}/live", summary="What can be run live")
def live_state(case_id: CaseId, visitor: Reviewer, context: Context, at: Desk) -> LiveState:
    """Whether interventions on this report's prompt can be run here; how far the model is loaded; who is before."""
    report = open_case_report(context, visitor, case_id).report
    subject = _subject(report)
    why_not: str | None = "the report does not say which weights it was made with: a graph alone was interpreted"
    if subject is not None:
        why_not = at.why_not(subject)
    return LiveState(
        available=why_not is None,
        why_not=why_not,
        phase="not loaded" if at.worker is None else at.worker.phase,
        loaded_in=None if at.worker is None else at.worker.loaded_in,
        waiting=at.waiting,
        prompt=report.prompt,
        tokens=report.tokens,
        token=report.targets[0].token if report.targets else None,
        tested=_tested(report),
        limits=LiveLimits(per_minute=context.settings.live_per_minute),
    )


@router.post("/api/reports/{case_id}/live", summary="Run an intervention")
def run_intervention(case_id: CaseId, asked: LiveRequest, visitor: Reviewer, context: Context, at: Desk) -> LiveResult:
    """Run an intervention on the report's prompt, with the weights that the server was started with.

    The first one waits until the weights are loaded. The numbers are those of the command in the answer.
    """
    subject = _subject(open_case_report(context, visitor, case_id).report)
    if subject is None:
        raise Refusal(
            409, "no weights", "the report was made from a graph alone, without weights: there is nothing to run it on"
        )
    context.limits.take("live", visitor.name)  # here: what was refused above cost the model nothing
    try:
        return at.run(visitor.name, asked, subject)
    except LiveError as error:
        wait = None if error.retry_after is None else max(1, math.ceil(error.retry_after))
        raise Refusal(
            error.status,
            error.kind,
            str(error),
            fields={} if wait is None else {"retry_after": wait},
            headers={} if wait is None else {"Retry-After": str(wait)},
        ) from error


def _subject(report: CircuitReport) -> LiveSubject | None:
    """What a run needs of a report; None where it names no weights."""
    told = report.provenance
    if told.model_sha256 is None or told.transcoder_sha256 is None:
        return None
    return LiveSubject(
        prompt=report.prompt,
        n_tokens=len(report.tokens),
        token=report.targets[0].token if report.targets else None,
        model_sha256=told.model_sha256,
        transcoders_sha256=told.transcoder_sha256,
    )


def _tested(report: CircuitReport) -> tuple[TestedBefore, ...]:
    found: list[TestedBefore] = []
    for claim in report.claims:
        match claim:
            case NecessityClaim():
                found.append(
                    TestedBefore(
                        claim_id=claim.claim_id, supernode=claim.supernode, act="ablate", token=claim.target_token
                    )
                )
            case SteeringClaim():
                found.append(
                    TestedBefore(
                        claim_id=claim.claim_id,
                        supernode=claim.supernode,
                        act="scale",
                        multiplier=claim.multiplier,
                        token=claim.expected_token,
                    )
                )
            case SwapClaim():
                found.append(
                    TestedBefore(
                        claim_id=claim.claim_id,
                        supernode=claim.supernode,
                        act="swap",
                        donor_prompt=claim.donor_prompt,
                        token=claim.expected_token,
                    )
                )
            case _:
                pass
    return tuple(found)
