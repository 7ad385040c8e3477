"""One program, one case: write the case, answer its questions, read its answer; bounded in time and in bytes.

Nothing here waits on the program: every read and write is done when the other end is ready, and a clock runs along. Whatever
happens, the program and all that it started are ended before this returns.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

from tracescribe.agents.external.answers import ExternalAnswer, Question, read_line
from tracescribe.agents.external.cleanup import MARK, adopt_orphans, end_all
from tracescribe.agents.external.errors import ExternalAgentError
from tracescribe.agents.external.program import Program
from tracescribe.agents.external.strict_json import read_object, shown
from tracescribe.tracer.errors import InputError
from tracescribe.tracer.redaction import current_redactor

TICK_SECONDS = 0.2
"""Between two looks at whether the program still runs, where it says nothing."""
GRACE_SECONDS = 0.5
"""For a program that has closed its output to end by itself, and for the last output of one that has ended while another
process holds its output open."""
_CHUNK = 1 << 16
_LAST_LINES = 3


@dataclass(frozen=True)
class TalkLimits:
    """What a program may take.

    Attributes:
        seconds: from its start to its answer.
        output_bytes: that it may write to standard output, answer and questions together.
        error_bytes: that it may write to standard error.
        questions: that it may ask.
    """

    seconds: float
    output_bytes: int = 16 << 20
    error_bytes: int = 16 << 20
    questions: int = 2000


@dataclass(frozen=True)
class Talk:
    """What came of it.

    Attributes:
        seconds: measured, from the program's start to its answer.
        questions: that were answered.
    """

    answer: ExternalAnswer
    seconds: float
    questions: int


Reply = Callable[[Question], Mapping[str, Any]]
"""Carries out what a question asks for; what it returns is sent back as it is."""


def converse(program: Program, case: Mapping[str, Any], reply: Reply, limits: TalkLimits) -> Talk:
    """Run a program on a case.

    Raises:
        ExternalAgentError: it crashed, gave no answer in time, wrote more than it may, or answered what is no answer.
        InputError: it cannot be started at all.
    """
    mark = secrets.token_hex(16)
    before = adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="agent-", ignore_cleanup_errors=True) as folder:
        environment = {**program.environment, "HOME": folder, "TMPDIR": folder, "PYTHONUNBUFFERED": "1", MARK: mark}
        try:
            process = subprocess.Popen(
                program.command,
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # a group of its own, so that all of it can be ended at once
            )
        except (OSError, ValueError) as error:
            raise InputError(f"agent {program.name} cannot be started: {shown(str(error))}") from None
        try:
            return _Talking(process, _line(case), reply, limits).run()
        finally:
            end_all(process, mark, before)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with contextlib.suppress(OSError):  # what was never read of its input cannot be written any more
                        stream.close()


def _line(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace") + b"\n"


class _Talking:
    """The state of one conversation."""

    def __init__(self, process: subprocess.Popen[bytes], case: bytes, reply: Reply, limits: TalkLimits) -> None:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self.process, self.reply, self.limits = process, reply, limits
        self.stdin, self.stdout, self.stderr = process.stdin, process.stdout, process.stderr
        self.start = time.monotonic()
        self.to_write = memoryview(case)
        self.unread = bytearray()
        self.searched = 0
        self.lines: deque[bytes] = deque()
        self.last_errors = bytearray()
        self.n_output = self.n_errors = self.questions = 0
        self.selector = selectors.DefaultSelector()

    def run(self) -> Talk:
        """Until there is an answer, or none can come any more."""
        with self.selector:
            for stream, event in ((self.stdin, selectors.EVENT_WRITE), (self.stdout, selectors.EVENT_READ)):
                self._register(stream, event)
            self._register(self.stderr, selectors.EVENT_READ)
            ended_at: float | None = None
            while True:
                for key, _ in self.selector.select(min(TICK_SECONDS, max(0.0, self._left()))):
                    self._serve(key.fileobj)
                answer = self._answer()
                if answer is not None:
                    return Talk(answer, self._seconds(), self.questions)
                now = time.monotonic()
                silent = self.stdout not in self._open()
                if silent or self.process.poll() is not None:
                    ended_at = ended_at if ended_at is not None else now
                    done = silent and self.process.poll() is not None
                    if done or now - ended_at > GRACE_SECONDS:
                        return self._ended()
                if self._left() <= 0:
                    raise ExternalAgentError(
                        "timeout", f"no answer within {self.limits.seconds:.3g} seconds{self._said()}"
                    )

    def _serve(self, stream: Any) -> None:
        if stream is self.stdin:
            self._write()
        elif stream is self.stdout:
            self._read_output()
        else:
            self._read_errors()

    def _write(self) -> None:
        try:
            written = os.write(self.stdin.fileno(), self.to_write[:_CHUNK])
            self.to_write = self.to_write[written:]
        except BlockingIOError:
            return
        except OSError:  # it reads no more; what it has to say may come all the same
            self._close(self.stdin)
            return
        if not self.to_write:
            self.selector.unregister(self.stdin)

    def _read_output(self) -> None:
        block = _read(self.stdout)
        if block is None:
            return
        if not block:
            self._close(self.stdout)
            if self.unread.strip():
                self.lines.append(bytes(self.unread))
            self.unread.clear()
            return
        self.n_output += len(block)
        if self.n_output > self.limits.output_bytes:
            raise ExternalAgentError(
                "flood", f"more than {self.limits.output_bytes} bytes on standard output{self._said()}"
            )
        self.unread += block
        while (end := self.unread.find(b"\n", self.searched)) >= 0:
            line = bytes(self.unread[:end])
            del self.unread[: end + 1]
            self.searched = 0
            if line.strip():
                self.lines.append(line)
        self.searched = len(self.unread)

    def _read_errors(self) -> None:
        block = _read(self.stderr)
        if block is None:
            return
        if not block:
            self._close(self.stderr)
            return
        self.n_errors += len(block)
        if self.n_errors > self.limits.error_bytes:
            raise ExternalAgentError(
                "flood", f"more than {self.limits.error_bytes} bytes on standard error{self._said()}"
            )
        self.last_errors += block
        del self.last_errors[:-4096]

    def _answer(self) -> ExternalAnswer | None:
        """The answer, if one of the lines that came is it; questions before it are answered."""
        while self.lines:
            try:
                said = read_line(current_redactor().value(read_object(self.lines.popleft())))
            except ValueError as error:
                raise ExternalAgentError("bad answer", str(error)) from None
            if isinstance(said, ExternalAnswer):
                return said
            self.questions += 1
            if self.questions > self.limits.questions:
                raise ExternalAgentError("flood", f"more than {self.limits.questions} questions")
            self._send(_line(self.reply(said)))
        return None

    def _send(self, line: bytes) -> None:
        waiting = bool(self.to_write)
        self.to_write = memoryview(bytes(self.to_write) + line)
        if len(self.to_write) > self.limits.output_bytes + (64 << 20):
            raise ExternalAgentError("flood", "it asks on and on and reads none of what it is told")
        if not waiting and not self.stdin.closed:
            self._register(self.stdin, selectors.EVENT_WRITE)

    def _ended(self) -> Talk:
        code = self.process.poll()
        if code is None:
            raise ExternalAgentError("bad answer", f"it closed its output without an answer{self._said()}")
        if code == 0:
            raise ExternalAgentError("bad answer", f"it ended without an answer{self._said()}")
        how = f"exit code {code}" if code > 0 else f"ended by {_signal_name(-code)}"
        raise ExternalAgentError("crash", f"{how}{self._said()}")

    def _said(self) -> str:
        """The last lines of standard error, as a message may hold them."""
        lines = [line for line in self.last_errors.decode("utf-8", "replace").splitlines() if line.strip()]
        told = " | ".join(shown(line, 200) for line in lines[-_LAST_LINES:])
        return f"; last on standard error: {told}" if told else ""

    def _register(self, stream: IO[bytes], event: int) -> None:
        os.set_blocking(stream.fileno(), False)
        self.selector.register(stream, event)

    def _close(self, stream: IO[bytes]) -> None:
        if stream in self._open():
            self.selector.unregister(stream)
        with contextlib.suppress(OSError):
            stream.close()

    def _open(self) -> set[Any]:
        return {key.fileobj for key in self.selector.get_map().values()}

    def _seconds(self) -> float:
        return time.monotonic() - self.start

    def _left(self) -> float:
        return self.limits.seconds - self._seconds()


def _read(stream: IO[bytes]) -> bytes | None:
    """What there is to read; empty at the end, None where nothing has come yet."""
    try:
        return os.read(stream.fileno(), _CHUNK)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
