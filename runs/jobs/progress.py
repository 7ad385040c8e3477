"""How fast a job goes and when it will be done, from looks at the store; no clock of another machine is asked."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from tracescribe.runs.jobs.listing import JobRow, WorkerRow, last_seconds, list_workers, read_job
from tracescribe.runs.jobs.lookup import StoreReader

SILENT_SECONDS = 30.0
"""A worker whose beat stood still for so long is told as silent: its lease is about to be taken from it, or was."""
_WINDOW_CASES = 20
"""Finished cases that a rate should rest on; fewer where the last minutes have not more."""
_FEWEST = 3
_WINDOW_SECONDS = 600.0
"""Older looks say nothing of how fast it goes now."""
_TRIMMED = 0.1
"""Share of the fastest and of the slowest cases that a guess from durations leaves out."""


@dataclass(frozen=True)
class WorkerProgress:
    """A worker as it was seen.

    Attributes:
        silent: seconds for which its beat has stood still, as far as we watched.
        case_seconds: for how long it has worked on its case, as far as we watched.
    """

    row: WorkerRow
    silent: float
    case_seconds: float


@dataclass(frozen=True)
class JobProgress:
    """One look at a job.

    Attributes:
        rate: cases finished per second; None while it is not known.
        seconds_left: until the last case is finished; None while it is not known, or where nobody works.
        supervised: whether somebody is there who starts workers.
    """

    job: JobRow
    workers: tuple[WorkerProgress, ...]
    rate: float | None
    seconds_left: float | None
    supervised: bool = False

    @property
    def over(self) -> bool:
        """Whether nobody will work on it any more unless somebody asks for it."""
        return self.job.status in ("done", "stopped", "cancelled")

    @property
    def alive(self) -> tuple[WorkerProgress, ...]:
        """Workers that beat."""
        return tuple(one for one in self.workers if one.silent < SILENT_SECONDS)

    @property
    def abandoned(self) -> bool:
        """Whether cases wait and nobody works on them."""
        return not self.over and not self.alive


class JobObserver:
    """Looks at one job again and again.

    Args:
        clock: steady seconds.
        supervised: whether whoever looks runs the job; else that is told from the supervisors in the store.
    """

    def __init__(self, job_id: str, clock: Callable[[], float] = time.monotonic, *, supervised: bool = False) -> None:
        self.job_id = job_id
        self._supervised = supervised
        self._clock = clock
        self._looks: deque[tuple[float, int]] = deque()
        self._beats: dict[str, tuple[int, float]] = {}
        self._cases: dict[str, tuple[str | None, float]] = {}

    def look(self, reader: StoreReader) -> JobProgress:
        """How the job stands now.

        Raises:
            StoreError: the store cannot be read.
        """
        job = read_job(reader, self.job_id)
        now = self._clock()
        everyone = [self._worker(row, now) for row in list_workers(reader, self.job_id)]
        workers = tuple(one for one in everyone if one.row.kind == "worker")
        supervisors = [one for one in everyone if one.row.kind != "worker" and one.silent < SILENT_SECONDS]
        self._looks.append((now, job.finished))
        while len(self._looks) > 2 and now - self._looks[0][0] > _WINDOW_SECONDS:
            self._looks.popleft()
        rate = self._rate()
        left = job.n_cases - job.finished
        progress = JobProgress(job, workers, rate, None, self._supervised or bool(supervisors))
        if not left or progress.over:
            return replace(progress, seconds_left=0.0)
        if progress.abandoned:
            return progress
        if rate is None:
            rate = _rate_of(last_seconds(reader, self.job_id), len(progress.alive))
        return replace(progress, rate=rate, seconds_left=left / rate if rate else None)

    def _worker(self, row: WorkerRow, now: float) -> WorkerProgress:
        beat, since = self._beats.get(row.worker_id, (None, now))
        if beat != row.beat:
            since = now
            self._beats[row.worker_id] = (row.beat, now)
        case, begun = self._cases.get(row.worker_id, (None, now))
        if case != row.case_id or row.worker_id not in self._cases:
            begun = now
            self._cases[row.worker_id] = (row.case_id, now)
        return WorkerProgress(row, now - since, now - begun)

    def _rate(self) -> float | None:
        """From the shortest stretch of looks that saw enough cases finish, else from the whole window."""
        now, finished = self._looks[-1]
        for at, before in reversed(self._looks):
            if finished - before >= _WINDOW_CASES and now > at:
                return (finished - before) / (now - at)
        at, before = self._looks[0]
        return (finished - before) / (now - at) if finished - before >= _FEWEST and now > at else None


def _rate_of(seconds: tuple[float, ...], workers: int) -> float | None:
    """What so many workers finish per second if cases take as long as the last ones did."""
    if not seconds or not workers:
        return None
    cut = int(len(seconds) * _TRIMMED)
    kept = sorted(seconds)[cut : len(seconds) - cut]
    mean = sum(kept) / len(kept)
    return workers / mean if mean > 0 else None
