"""Takes visitors' interventions one after another: one for each visitor at a time, a bounded queue before the model."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs.web.live_errors import LiveBusyError, LiveUnavailableError
from tracescribe.runs.web.live_requests import LiveRequest, LiveResult, LiveSubject, LiveWeights
from tracescribe.runs.web.live_worker import LiveWorker, other_weights

if TYPE_CHECKING:
    from tracescribe.runs.web.settings import WebSettings

MAX_WAITING = 8
"""Visitors before the model at a time; each holds a thread of the server."""
QUEUE_SECONDS = 120.0
"""After which a visitor who waits is sent away."""
_AGAIN_SECONDS = 5.0
NO_MODEL = (
    "this server runs no interventions: it was started without a model; start it with 'tracescribe serve --model MODEL "
    "--transcoders TRANSCODERS', with the weights that the report was made with"
)


class LiveDesk:
    """Of one running app.

    Args:
        worker: None where the server runs no interventions.
        queue_seconds: that a visitor may wait for others.
    """

    def __init__(self, worker: LiveWorker | None, *, queue_seconds: float = QUEUE_SECONDS) -> None:
        self.worker = worker
        self._queue_seconds = queue_seconds
        self._turns: deque[object] = deque()
        self._here: set[str] = set()
        self._changed = threading.Condition()
        if worker is not None:
            weakref.finalize(self, worker.close)  # at the interpreter's end at the latest

    @property
    def waiting(self) -> int:
        """Interventions that wait or run."""
        return len(self._turns)

    def why_not(self, subject: LiveSubject) -> str | None:
        """Why the report cannot be run here, as far as that is known before the weights are loaded; None where it can."""
        if self.worker is None:
            return NO_MODEL
        hashes = self.worker.hashes
        if hashes is not None and hashes != (subject.model_sha256, subject.transcoders_sha256):
            return other_weights(hashes, subject)
        return f"the weights could not be loaded: {self.worker.failure}" if self.worker.failure else None

    def close(self) -> None:
        """End the live process for good; whoever waits for it is told at once."""
        if self.worker is not None:
            self.worker.close()

    def run(self, visitor: str, asked: LiveRequest, subject: LiveSubject) -> LiveResult:
        """Run an intervention when its turn comes.

        Args:
            visitor: their name.

        Raises:
            LiveError: the narrower kind says why it was not run.
        """
        worker = self.worker
        if worker is None:
            raise LiveUnavailableError(NO_MODEL)
        started = time.monotonic()
        with self._turn(visitor):
            result = worker.run(asked, subject)
        waited = max(0.0, time.monotonic() - started - result.seconds)
        return result.model_copy(update={"waited": waited})

    @contextmanager
    def _turn(self, visitor: str) -> Iterator[None]:
        ticket = object()
        with self._changed:
            if visitor in self._here:
                raise LiveBusyError(
                    "an intervention of yours is still running; wait for its result, then run the next", _AGAIN_SECONDS
                )
            if len(self._turns) >= MAX_WAITING:
                raise LiveBusyError(
                    f"{len(self._turns)} interventions of others are before yours; try again in a moment",
                    _AGAIN_SECONDS,
                )
            self._here.add(visitor)
            self._turns.append(ticket)
        try:
            with self._changed:
                if not self._changed.wait_for(lambda: self._turns[0] is ticket, self._queue_seconds):
                    raise LiveBusyError(
                        f"after {self._queue_seconds:g} seconds others are still before you; try again later",
                        _AGAIN_SECONDS,
                    )
            yield
        finally:
            with self._changed:
                self._turns.remove(ticket)
                self._here.discard(visitor)
                self._changed.notify_all()


def desk_of(settings: WebSettings) -> LiveDesk:
    """A desk over the weights that the server was told to use."""
    if settings.model is None:
        return LiveDesk(None)
    evidence = str(settings.evidence) if settings.evidence is not None else None
    if evidence is None and settings.model == "embedded":
        evidence = "embedded"
    told = (settings.model, settings.transcoders)
    if settings.log_in:  # others come here: where things lie on this machine is none of their business
        told = (_name(settings.model), _name(settings.transcoders))
    weights = LiveWeights(model=settings.model, transcoders=settings.transcoders, evidence=evidence, shown=told)
    return LiveDesk(LiveWorker(weights))


def _name(source: str) -> str:
    """What a folder is called, without where it lies; a name as it is."""
    return Path(source).name if source.startswith((".", "~", "/")) or Path(source).is_dir() else source
