"""The stages of a trace as they go: one bar for each on a terminal, one lasting line for each elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tracescribe.runs import terminal

StageProgress = Callable[[str, int, int], None]
"""Called with a stage, how much of it is done, and how much there is in all."""


@contextmanager
def trace_progress() -> Iterator[StageProgress]:
    """What `attribute` reports its progress to; everything goes to stderr."""
    if terminal.stderr().is_terminal:
        with terminal.progress_bars() as bars:
            stage_bars = terminal.StageBars(bars)
            yield lambda stage, done, total: stage_bars(stage, done, total, "")
        return
    lines = _StageLines()
    try:
        yield lines
    except BaseException:
        lines.log.abandon()
        raise
    lines.log.finish()


class _StageLines:
    """Writes a line with its seconds for each stage that is done."""

    def __init__(self) -> None:
        self.log = terminal.StepLog()
        self._stage = ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take note of how far a stage is."""
        if stage != self._stage:
            self._stage = stage
            self.log.begin(stage)
        if done >= total:
            self.log.finish(str(total) if total > 1 else "")
