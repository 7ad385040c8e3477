"""Jobs: the list, one job live, its cases and what came of it. What shows single prompts needs the right to open reports."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Annotated, Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict

from tracescribe.runs.access.roles import Principal
from tracescribe.runs.jobs.listing import (
    JOB_STATUSES,
    CaseRow,
    count_cases,
    count_jobs,
    finish_moments,
    list_cases,
    list_jobs,
    read_job,
)
from tracescribe.runs.jobs.lookup import open_reader
from tracescribe.runs.web.context import Context, allowed, context_of
from tracescribe.runs.web.ids import JobId
from tracescribe.runs.web.job_states import JobBrief, JobState, JobWatches, job_brief
from tracescribe.runs.web.job_streams import StreamPlaces, job_events
from tracescribe.runs.web.job_sums import JobSums, RateOverTime, rate_over_time, sums_of
from tracescribe.runs.web.pages import page
from tracescribe.runs.web.sessions import still_there

router = APIRouter(tags=["jobs"])
PER_PAGE = 25
MAX_PER_PAGE = 200
MAX_PAGE = 1_000_000
_making = threading.Lock()
_EVENT: dict[str, object] = {
    "type": "object",
    "description": "one event: `progress` with a job's state as JSON in `data`, `fault` with a message, or `end`",
    "required": ["event", "data"],
    "properties": {
        "event": {"enum": ["progress", "fault", "end"]},
        "id": {"type": "string"},
        "data": {"type": "string"},
    },
}

JobStatusName = Literal["waiting", "running", "stopped", "done", "cancelled"]
CaseStatusName = Literal["waiting", "running", "done", "failed", "cancelled"]
PageNumber = Annotated[int, Query(ge=1, le=MAX_PAGE, description="from 1")]
PerPage = Annotated[int, Query(ge=1, le=MAX_PER_PAGE)]
Watcher = Annotated[Principal, Depends(allowed("see jobs"))]
Reader = Annotated[Principal, Depends(allowed("open reports"))]


class JobPage(BaseModel):
    """Jobs, the last submitted first."""

    model_config = ConfigDict(frozen=True)
    jobs: tuple[JobBrief, ...]
    total: int
    page: int
    per_page: int


class CaseState(BaseModel):
    """One case; `has_report` tells that it has a page. Moments are seconds since 1970 in UTC."""

    model_config = ConfigDict(frozen=True)
    case_id: str
    position: int
    title: str
    status: str
    attempt: int
    crashes: int
    started_at: float | None
    finished_at: float | None
    seconds: float | None
    paid_usd: float
    failure_kind: str | None
    failure_message: str | None
    has_report: bool


class CasePage(BaseModel):
    """Cases of a job, in its order; of one status in the order in which workers take them."""

    model_config = ConfigDict(frozen=True)
    cases: tuple[CaseState, ...]
    total: int
    page: int
    per_page: int


def watches(request: Request) -> JobWatches:
    """What looks at jobs for all visitors of this app."""
    with _making:
        found: JobWatches | None = getattr(request.app.state, "job_watches", None)
        if found is None:
            found = request.app.state.job_watches = JobWatches(context_of(request).store.address)
    return found


def places(request: Request) -> StreamPlaces:
    """The open streams of this app."""
    with _making:
        found: StreamPlaces | None = getattr(request.app.state, "stream_places", None)
        if found is None:
            found = request.app.state.stream_places = StreamPlaces()
    return found


def stream_place(visitor: Watcher, held: Annotated[StreamPlaces, Depends(places)]) -> Iterator[None]:
    """Hold a place among the open streams until the answer has ended."""
    with held.taken(visitor.name):
        yield


Watches = Annotated[JobWatches, Depends(watches)]


@router.get("/jobs", response_class=HTMLResponse, include_in_schema=False)
def show_jobs(
    request: Request,
    visitor: Watcher,
    context: Context,
    status: JobStatusName | Literal[""] = "",
    page_number: Annotated[int, Query(alias="page", ge=1, le=MAX_PAGE)] = 1,
) -> HTMLResponse:
    """The list of jobs."""
    found = _jobs(context, status or None, page_number, PER_PAGE)
    return page(
        request,
        "jobs.html",
        found=found,
        chosen=status,
        statuses=JOB_STATUSES,
        pages=max(1, -(-found.total // PER_PAGE)),
        may_run=visitor.may("run jobs"),
    )


@router.get("/jobs/{job_id}", response_class=HTMLResponse, include_in_schema=False)
def show_job(request: Request, job_id: JobId, visitor: Watcher, at: Watches) -> HTMLResponse:
    """One job."""
    return page(request, "job.html", state=at.look(job_id), may_open=visitor.may("open reports"))


@router.get("/api/jobs", summary="List jobs")
def read_jobs(
    _: Watcher,
    context: Context,
    status: JobStatusName | None = None,
    page: PageNumber = 1,
    per_page: PerPage = PER_PAGE,
) -> JobPage:
    """Jobs with how many cases stand how, what failed and what was paid; nothing of a single prompt."""
    return _jobs(context, status, page, per_page)


@router.get("/api/jobs/{job_id}", summary="How a job stands")
def read_one_job(job_id: JobId, _: Watcher, at: Watches) -> JobState:
    """Counts, cost, workers, rate, time left; at most a second old."""
    return at.look(job_id)


@router.get(
    "/api/jobs/{job_id}/events",
    summary="A job's states as they change",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": _EVENT}}}},
)
async def stream_job(
    request: Request,
    job_id: JobId,
    at: Watches,
    _: Annotated[None, Depends(stream_place)],
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> StreamingResponse:
    """Server-sent events: `progress` with the whole state whenever it changes, and `end` once when the job is over."""
    await run_sync(at.look, job_id)  # an unknown job is told before the stream begins

    def look() -> JobState:
        still_there(request)
        return at.look(job_id)

    events = job_events(look, last_event_id)
    return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@router.get("/api/jobs/{job_id}/rate", summary="Cases finished over time")
def read_rate(job_id: JobId, _: Watcher, context: Context) -> RateOverTime:
    """How many cases were finished in each of some equal spans of time."""
    with open_reader(context.store.address) as reader:
        read_job(reader, job_id)
        return rate_over_time(finish_moments(reader, job_id))


@router.get("/api/jobs/{job_id}/cases", summary="Cases of a job")
def read_cases(
    job_id: JobId,
    _: Reader,
    context: Context,
    status: CaseStatusName | None = None,
    kind: Annotated[str | None, Query(max_length=40, pattern="^[a-z]+$", description="of failure")] = None,
    page: PageNumber = 1,
    per_page: PerPage = PER_PAGE,
) -> CasePage:
    """Titles hold prompts and messages may: only for those who may open reports."""
    with open_reader(context.store.address) as reader:
        read_job(reader, job_id)
        total = count_cases(reader, job_id, status=status, kind=kind)
        rows = list_cases(
            reader, job_id, status=status, kind=kind, limit=per_page, offset=min((page - 1) * per_page, 2**62)
        )
    return CasePage(cases=tuple(_case(row) for row in rows), total=total, page=page, per_page=per_page)


@router.get("/api/jobs/{job_id}/summary", summary="What came of a job")
def read_summary(
    job_id: JobId, visitor: Annotated[Principal, Depends(allowed("see scores"))], context: Context
) -> JobSums:
    """Scores, verdicts, cost and time over all cases; single cases and messages only for those who may open reports."""
    return sums_of(context.store, job_id, with_cases=visitor.may("open reports"))


def _jobs(context: Context, status: str | None, page_number: int, per_page: int) -> JobPage:
    with open_reader(context.store.address) as reader:
        rows = list_jobs(reader, status=status, limit=per_page, offset=(page_number - 1) * per_page)
        total = count_jobs(reader, status)
    return JobPage(jobs=tuple(job_brief(row) for row in rows), total=total, page=page_number, per_page=per_page)


def _case(row: CaseRow) -> CaseState:
    values = row._asdict()
    has_report = row.status == "done" or row.failure_kind == "scoring"
    return CaseState(**{n: values[n] for n in CaseState.model_fields if n in values}, has_report=has_report)
