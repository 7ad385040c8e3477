"""What people see: results to stdout, everything else to stderr, untrusted text made harmless."""

from __future__ import annotations

import io
import json
import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from rich.status import Status

_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})


def bear_any_text() -> None:
    """Let a terminal, pipe or file whose encoding lacks a character get its code instead (`\\u65e5`), not an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # anything else, as of a test, is told what to do by its owner
            stream.reconfigure(errors="backslashreplace")


def stdout() -> Console:
    """The console of results. Markup and emoji codes are off: tokens and prompts may look like either."""
    return Console(markup=False, emoji=False, highlight=False)


def stderr() -> Console:
    """The console of progress and errors, which never mixes with results."""
    return Console(stderr=True, markup=False, emoji=False, highlight=False)


def plain(text: str) -> str:
    """Text with every control character (escape codes, line ends, direction overrides, private use) shown as `�`.

    Tokens, prompts and labels come from files that strangers wrote; a terminal obeys escape codes.
    """
    return "".join("\ufffd" if unicodedata.category(c) in _UNSAFE_CATEGORIES else c for c in text)


def styled(text: str, style: str = "") -> Text:
    """`plain` text for a table or a line, in one style."""
    return Text(plain(text), style=style)


def one_line(text: str) -> str:
    """Text on one line without control characters: the form of every error message."""
    return plain(" ".join(text.split()))


def print_json(value: Any) -> None:
    """One JSON document on stdout, pure ASCII so that no terminal encoding can spoil it."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False) + "\n")
    sys.stdout.flush()


def print_error(message: str, hint: str = "") -> None:
    """`error: ...` on stderr, on one line.

    Args:
        message: what is wrong and what to do.
        hint: added after a semicolon.
    """
    line = f"error: {one_line(message)}" + (f"; {hint}" if hint else "")
    print(line, file=sys.stderr, flush=True)


class StepLog:
    """Shows the steps of a job as they go: a live line while one runs, a lasting line with its seconds when it is done.

    Everything goes to stderr, so that stdout stays the result. Without a terminal only the lasting lines are written.

    Attributes:
        seconds: wall-clock seconds by step, in the order in which the steps first ran.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or stderr()
        self.seconds: dict[str, float] = {}
        self._status: Status | None = None
        self._running: tuple[str, float] | None = None

    def begin(self, step: str) -> None:
        """Show that a step runs; a step that was running until now is finished first."""
        self.finish()
        self._running = (step, time.perf_counter())
        if self.console.is_terminal:
            self._status = self.console.status(styled(step))
            self._status.start()

    def finish(self, detail: str = "") -> None:
        """Write the lasting line of the running step, if there is one.

        Args:
            detail: what came out, in a few words.
        """
        if self._running is None:
            return
        step, started = self._running
        self._running = None
        self._clear()
        seconds = time.perf_counter() - started
        self.seconds[step] = self.seconds.get(step, 0.0) + seconds
        line = Text("  ")
        line.append("✓ ", style="green")
        line.append(f"{plain(step):<14}", style="bold")
        line.append(f"{seconds:6.1f} s  ", style="dim")
        line.append(plain(detail))
        self.console.print(line, overflow="ellipsis", no_wrap=True)

    def update(self, detail: str) -> None:
        """Say on the live line how far the running step is."""
        if self._status is not None and self._running is not None:
            self._status.update(styled(f"{self._running[0]}: {detail}"))

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Run a block as one step; what the block appends to the list is shown when it is done."""
        details: list[str] = []
        self.begin(name)
        try:
            yield details
        except BaseException:
            self.abandon()
            raise
        self.finish(", ".join(details))

    def abandon(self) -> None:
        """Remove the live line of a step that failed; its error is told elsewhere."""
        self._running = None
        self._clear()

    def _clear(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Progress bars on stderr for work with a known length."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=stderr(),
    ) as bars:
        yield bars


class StageBars:
    """A progress callback that draws one bar for each stage; without a terminal, a line every tenth of a stage."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._told: dict[str, int] = {}

    def __call__(self, stage: str, done: int, total: int, text: str) -> None:
        """Show how far a stage is.

        Args:
            stage: name of the stage.
            done: units finished.
            total: units in the stage.
            text: the figures of the moment.
        """
        if self._bars.console.is_terminal:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(stage, total=total)
            description = plain(f"{stage} {text}".strip())
            self._bars.update(self._tasks[stage], completed=done, total=total, description=description)
            return
        tenth = 10 * done // max(total, 1)
        if tenth > self._told.get(stage, -1):
            self._told[stage] = tenth
            self._bars.console.print(styled(f"  {stage:<12} {done}/{total} {text}".rstrip()), soft_wrap=True)
