"""How far a benchmark is: a bar with failures, cost and the time left; lines where there is no terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tracescribe.runs import terminal

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from tracescribe.evals.benchmark.results import CaseResult

_LINES = 20
"""Lines that a run without a terminal writes, beside one for every failure."""
_FEWEST = 5
"""Cases after which a guess of the time that is left is worth telling: the first ones wait for weights to be loaded."""


class BenchBars:
    """Told after every case; see `evals.benchmark.running.BenchProgress`."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._start = time.monotonic()
        self._kept = 0
        self._failed = 0
        self._usd: float | None = None
        self._told = -1

    def __call__(self, done: int, total: int, result: CaseResult, reused: bool) -> None:
        """Show how far the run is."""
        self._kept += reused
        if result.cost.usd is not None:
            self._usd = (self._usd or 0.0) + result.cost.usd
        if result.status == "failed":
            self._failed += 1
            why = "" if result.failure is None else f"{result.failure.kind}: {result.failure.message}"
            self.note(f"failed: {result.agent} on {result.suite} {result.gold_id}: {why}")
        figures = self._figures(done, total)
        if self._bars.console.is_terminal:
            if self._task is None:
                self._task = self._bars.add_task("cases", total=total)
            description = terminal.plain(f"{result.agent} {result.gold_id}  {figures}")
            self._bars.update(self._task, completed=done, total=total, description=description)
            return
        part = _LINES * done // max(total, 1)
        if part > self._told:
            self._told = part
            self._bars.console.print(terminal.styled(f"  cases {done}/{total}  {figures}".rstrip()), soft_wrap=True)

    def note(self, text: str) -> None:
        """Show a line that stays."""
        self._bars.console.print(terminal.styled(f"  {terminal.one_line(text)}"), soft_wrap=True)

    def _figures(self, done: int, total: int) -> str:
        parts: list[str] = []
        if self._kept:
            parts.append(f"{self._kept} kept")
        if self._failed:
            parts.append(f"{self._failed} failed")
        if self._usd is not None:
            parts.append(f"{self._usd:.2f} USD")
        worked = done - self._kept
        if worked >= _FEWEST and done < total:
            left = (time.monotonic() - self._start) / worked * (total - done)
            parts.append(f"about {_told_time(left)} left")
        return ", ".join(parts)


def _told_time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
