"""How jobs stand, as data for pages: amounts and counts for everybody who may see jobs, nothing of a single prompt.

A job is looked at about once a second however many visitors watch it: they share one observer, which also remembers how
fast it went.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from tracescribe.runs.job_results.failure_groups import ADVICE
from tracescribe.runs.jobs.lookup import open_reader
from tracescribe.runs.jobs.progress import SILENT_SECONDS, JobObserver, JobProgress

if TYPE_CHECKING:
    from tracescribe.runs.jobs.listing import JobRow
    from tracescribe.runs.store.addresses import StoreAddress

LOOK_SECONDS = 0.9
"""A younger look at the store serves again."""
MAX_WATCHED = 200
"""Jobs whose observers are kept; the one that nobody looked at for longest is forgotten."""
RUNBOOKS: dict[str, str] = {
    "weights": "wrong-model-weights.md",
    "provider": "provider-outage.md",
    "budget": "budget-exhausted.md",
    "crash": "worker-lost.md",
}
"""By kind of failure: a file in docs/runbooks."""


class _State(BaseModel):
    model_config = ConfigDict(frozen=True)


class FailureKindState(_State):
    """Failures of one kind: how many, what to do, and the runbook that tells more where there is one."""

    kind: str
    n_cases: int
    advice: str
    runbook: str | None


class JobBrief(_State):
    """One job in a list. Moments are seconds since 1970 in UTC."""

    job_id: str
    name: str
    status: str
    agent: str
    model: str
    n_cases: int
    finished: int
    cases: dict[str, int]
    failures: tuple[FailureKindState, ...]
    paid_usd: float
    reserved_usd: float
    usd_limit: float | None
    created_at: float
    created_by: str
    started_at: float | None
    finished_at: float | None
    message: str | None


class WorkerState(_State):
    """A worker: where it runs, for how long it has worked on its case as far as we watched, and silent."""

    host: str
    pid: int
    case_id: str | None
    case_seconds: float
    silent_seconds: float
    is_silent: bool


class JobState(_State):
    """A job as it stands now.

    Attributes:
        rate: cases finished per second; None while it is not known.
        seconds_left: until the last case is finished; None while it is not known, or where nobody works.
        over: nobody will work on it any more unless somebody asks for it.
        abandoned: cases wait, and nobody works on them.
        supervised: somebody is there who starts workers.
    """

    job: JobBrief
    workers: tuple[WorkerState, ...]
    rate: float | None
    seconds_left: float | None
    over: bool
    abandoned: bool
    supervised: bool


def job_brief(row: JobRow) -> JobBrief:
    """One job of a list."""
    values = row._asdict()
    failures = tuple(
        FailureKindState(
            kind=kind,
            n_cases=n,
            advice=ADVICE.get(kind, ADVICE["error"]).replace("{job}", row.job_id),
            runbook=RUNBOOKS.get(kind),
        )
        for kind, n in row.failures.items()
    )
    known = {name: values[name] for name in JobBrief.model_fields if name in values and name != "failures"}
    return JobBrief(**known, failures=failures, finished=row.finished)


def job_state(progress: JobProgress) -> JobState:
    """What a look at a job tells."""
    workers = tuple(
        WorkerState(
            host=one.row.host,
            pid=one.row.pid,
            case_id=one.row.case_id,
            case_seconds=one.case_seconds if one.row.case_id is not None else 0.0,
            silent_seconds=one.silent,
            is_silent=one.silent >= SILENT_SECONDS,
        )
        for one in progress.workers
    )
    return JobState(
        job=job_brief(progress.job),
        workers=workers,
        rate=progress.rate,
        seconds_left=progress.seconds_left,
        over=progress.over,
        abandoned=progress.abandoned,
        supervised=progress.supervised,
    )


class JobWatches:
    """Looks at jobs for all visitors of one running app.

    Args:
        clock: steady seconds; replaced in tests.
    """

    def __init__(self, address: StoreAddress, clock: Callable[[], float] = time.monotonic) -> None:
        self._address = address
        self._clock = clock
        self._watches: OrderedDict[str, _Watch] = OrderedDict()
        self._lock = threading.Lock()

    def look(self, job_id: str) -> JobState:
        """How a job stands now, or stood less than a second ago.

        Raises:
            UnknownIdError: there is no such job.
            StoreError: the store cannot be read.
        """
        with self._lock:
            watch = self._watches.setdefault(job_id, _Watch(JobObserver(job_id, self._clock)))
            self._watches.move_to_end(job_id)
            while len(self._watches) > MAX_WATCHED:
                self._watches.popitem(last=False)
        with watch.lock:
            if watch.state is None or self._clock() - watch.looked_at >= LOOK_SECONDS:
                with open_reader(self._address) as reader:
                    watch.state = job_state(watch.observer.look(reader))
                watch.looked_at = self._clock()
            return watch.state


class _Watch:
    def __init__(self, observer: JobObserver) -> None:
        self.observer = observer
        self.state: JobState | None = None
        self.looked_at = 0.0
        self.lock = threading.Lock()
