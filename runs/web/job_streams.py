"""A job's states as server-sent events: one event for each change, a sign of life in between, an end with the job's end."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import anyio
from anyio.to_thread import run_sync
from fastapi.sse import format_sse_event

from tracescribe.runs.web.errors import Refusal
from tracescribe.runs.web.job_states import JobState
from tracescribe.tracer.errors import TracescribeError

PAUSE_SECONDS = 1.0
"""Between two looks."""
HEARTBEAT_SECONDS = 10.0
"""Without an event, after which a comment tells that the stream lives."""
MAX_SECONDS = 600.0
"""Of one stream; the browser then opens another, for which it must still be allowed."""
RETRY_MS = 2000
MAX_STREAMS = 100
MAX_OF_VISITOR = 12


class StreamPlaces:
    """Counts open streams of one running app."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def taken(self, visitor: str) -> Iterator[None]:
        """Hold a place while the block runs.

        Raises:
            Refusal: 429, all are taken.
        """
        with self._lock:
            if self._open[visitor] >= MAX_OF_VISITOR or self._open.total() >= MAX_STREAMS:
                raise Refusal(
                    429,
                    "too many",
                    "too many pages watch jobs at once; close some, or ask for /api/jobs/ID instead",
                    headers={"Retry-After": "30"},
                )
            self._open[visitor] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[visitor] -= 1
                if not self._open[visitor]:
                    del self._open[visitor]


async def job_events(
    look: Callable[[], JobState],
    last_id: str | None,
    *,
    pause: float = PAUSE_SECONDS,
    heartbeat: float = HEARTBEAT_SECONDS,
    longest: float = MAX_SECONDS,
) -> AsyncIterator[bytes]:
    """The events `progress` (a JobState), and one `end` where the job is over.

    An event is the whole state, and its id a hash of it: whoever comes back with the last id is sent what changed since,
    or nothing where nothing did.

    Args:
        look: how the job stands; called in a thread.
        last_id: of the last event that the browser has; None for none.
    """
    started = told_at = time.monotonic()
    yield format_sse_event(retry=RETRY_MS, comment="a job's progress")
    while time.monotonic() - started < longest:
        try:
            state = await run_sync(look)
        except TracescribeError as error:
            # the store may be back in a moment: the browser comes again
            yield format_sse_event(event="fault", data_str=json.dumps({"message": str(error)}))
            return
        data = state.model_dump_json()
        event_id = hashlib.sha256(_steady(state).encode()).hexdigest()[:16]
        if event_id != last_id:
            last_id, told_at = event_id, time.monotonic()
            yield format_sse_event(event="progress", data_str=data, id=event_id)
        elif time.monotonic() - told_at >= heartbeat:
            told_at = time.monotonic()
            yield format_sse_event(comment="still here")
        if state.over:
            yield format_sse_event(event="end", data_str=json.dumps({"status": state.job.status}), id=event_id)
            return
        await anyio.sleep(pause)


def _steady(state: JobState) -> str:
    """What makes one state differ from another: clocks that merely run on are no news, but a word every few seconds is."""
    workers = [(one.host, one.pid, one.case_id, one.is_silent, int(one.case_seconds / 5)) for one in state.workers]
    rate = None if state.rate is None else float(f"{state.rate:.2g}")
    return json.dumps([state.job.model_dump(mode="json"), workers, rate, state.over, state.abandoned])
