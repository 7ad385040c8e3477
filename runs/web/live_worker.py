"""One live process as the server has it: started when first needed, asked one thing at a time, ended when it hangs."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import IO, Any, Literal

from tracescribe.runs.web.live_errors import (
    LiveCrashedError,
    LiveError,
    LiveFailedError,
    LiveTimeoutError,
    LiveUnavailableError,
)
from tracescribe.runs.web.live_requests import LiveRequest, LiveResult, LiveSubject, LiveWeights

Phase = Literal["not loaded", "loading", "ready", "running", "failed"]
COMMAND = (sys.executable, "-m", "tracescribe.runs.web.live_process")
_END_SECONDS = 2.0
STOPPING = "the server is stopping; run it again once it is back"


class LiveWorker:
    """Holds at most one process. Asked by one thread at a time; `phase` and the hashes may be read by any.

    Args:
        weights: what the process loads.
        load_seconds: that loading may take.
        run_seconds: that one intervention may take.
        command: of the process.

    Attributes:
        weights: as given.
        phase: what it does now.
        hashes: of model and transcoders; None before they are loaded.
        failure: why these weights cannot be loaded, however often it is tried; None where that is not known.
        loaded_in: seconds that loading took.
    """

    def __init__(
        self,
        weights: LiveWeights,
        *,
        load_seconds: float = 600.0,
        run_seconds: float = 60.0,
        command: tuple[str, ...] = COMMAND,
    ) -> None:
        self.phase: Phase = "not loaded"
        self.hashes: tuple[str, str] | None = None
        self.failure: str | None = None
        self.loaded_in: float | None = None
        self.weights = weights
        self._load_seconds, self._run_seconds = load_seconds, run_seconds
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._closed = False
        self._guard = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Of the process; None where there is none."""
        process = self._process
        return None if process is None else process.pid

    def run(self, asked: LiveRequest, subject: LiveSubject) -> LiveResult:
        """Run one intervention, loading the weights before it where that was not done yet.

        Raises:
            LiveError: the narrower kind says why it was not run.
        """
        used_before = self._process is not None and self._process.poll() is None
        try:
            return self._run(asked, subject)
        except LiveCrashedError:
            if not used_before or self._closed:
                raise
        # it may have died while nobody asked for anything: whatever kills a new process as well is the request's doing
        return self._run(asked, subject)

    def _run(self, asked: LiveRequest, subject: LiveSubject) -> LiveResult:
        if self._process is None or self._process.poll() is not None:
            self._start()
        if self.hashes is not None and self.hashes != (subject.model_sha256, subject.transcoders_sha256):
            raise LiveUnavailableError(other_weights(self.hashes, subject))
        self.phase = "running"
        try:
            self._tell({"request": asked.model_dump(mode="json"), "subject": subject.model_dump(mode="json")})
            answer = self._hear(self._run_seconds, "the intervention")
        except BaseException:
            self.phase = "not loaded" if self._process is None else "ready"
            raise
        self.phase = "ready"
        if answer["at"] == "failed":
            kind = LiveUnavailableError if answer["error"] == "OtherWeightsError" else LiveFailedError
            raise kind(str(answer["message"]))
        return LiveResult.model_validate(answer["result"])

    def close(self) -> None:
        """End the process for good."""
        self._closed = True
        self._end()

    def _start(self) -> None:
        self._end()
        self.phase, self.hashes, self.failure = "loading", None, None
        try:
            with self._guard:
                if self._closed:
                    raise LiveUnavailableError(STOPPING)
                self._answers = queue.Queue()
                # a session of its own: an interrupt at the terminal is the server's, which then ends its process
                process = self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    encoding="utf-8",
                    start_new_session=True,
                )
            threading.Thread(
                target=_pass_on, args=(process.stdout, self._answers), name="live answers", daemon=True
            ).start()
            self._tell(self.weights.model_dump(mode="json"))
            answer = self._hear(self._load_seconds, "loading the model")
        except LiveError:
            self.phase = (
                "failed"  # what took too long or died may do better at the next request: it is no reason for none
            )
            raise
        except OSError as error:
            self.phase = "failed"
            raise LiveCrashedError(f"the process for live interventions cannot be started: {error}") from error
        if answer["at"] == "refused":
            self._end()
            self.phase, self.failure = "failed", str(answer["message"])
            raise LiveUnavailableError(f"the weights cannot be loaded: {answer['message']}")
        self.hashes = (answer["model_sha256"], answer["transcoders_sha256"])
        self.loaded_in = float(answer["seconds"])

    def _tell(self, document: Mapping[str, Any]) -> None:
        process = self._process
        if process is None or process.stdin is None:  # ended by `close` in between
            raise LiveUnavailableError(STOPPING)
        try:
            process.stdin.write(json.dumps(document) + "\n")
            process.stdin.flush()
        except (OSError, ValueError) as error:
            self._end()
            raise LiveCrashedError(
                "the process for live interventions died; the next request starts another", 1.0
            ) from error

    def _hear(self, seconds: float, what: str) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        try:
            line = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            advice = (
                "try fewer controls or doses, or a shorter prompt"
                if self.phase == "running"
                else "try it again; where the machine is too slow for these weights, start the server on another"
            )
            self._end()
            raise LiveTimeoutError(f"{what} took more than {seconds:g} seconds and was given up; {advice}") from None
        if line is None:
            self._end()
            if self._closed:
                raise LiveUnavailableError(STOPPING)
            raise LiveCrashedError(
                f"the process for live interventions died during {what}; the server's log may tell why, and the next "
                "request starts another",
                1.0,
            )
        found: dict[str, Any] = json.loads(line)
        return found

    def _end(self) -> None:
        with self._guard:
            process, self._process = self._process, None
        if process is None:
            return
        self.hashes = None
        if self.phase != "failed":
            self.phase = "not loaded"
        with contextlib.suppress(OSError):
            process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError, ValueError):
                    pipe.close()


def other_weights(hashes: tuple[str, str], subject: LiveSubject) -> str:
    """Why a report cannot be run on the weights at hand."""
    return (
        f"this server has model {hashes[0][:12]} and transcoders {hashes[1][:12]}, and the report was made with model "
        f"{subject.model_sha256[:12]} and transcoders {subject.transcoders_sha256[:12]}; start it with "
        "'tracescribe serve --model MODEL --transcoders TRANSCODERS' of these weights"
    )


def _pass_on(answers: IO[str] | None, into: queue.Queue[str | None]) -> None:
    """Put every line into a queue, and None at the end."""
    assert answers is not None
    try:
        for line in answers:
            into.put(line)
    except (OSError, ValueError):
        pass
    into.put(None)
