"""Shows a job while it runs: a live picture on a terminal, now and then a line elsewhere. Everything goes to stderr.

The display only reads the store, so that it works in the process that runs the job, in another one, and on another
machine. It never ends a job: where the store cannot be read for a while, it says so and goes on looking.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tracescribe.runs import terminal
from tracescribe.runs.jobs.lookup import open_reader
from tracescribe.runs.jobs.progress import SILENT_SECONDS, JobObserver, JobProgress
from tracescribe.runs.jobs.telling import cost, counted, money, share, span
from tracescribe.runs.store.errors import StoreError
from tracescribe.tracer.errors import TracescribeError

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.table import Table

    from tracescribe.runs.store.addresses import StoreAddress

LOOK_SECONDS = 1.0
"""Between two looks at the store: each costs it a few milliseconds."""
_FIRST_PAUSE = 5.0
"""Seconds without a line, at first; later lines come ever more seldom, so that a long job writes no thousands."""
_SAME_PAUSE = 30.0
"""Seconds before a line is repeated of which nothing changed."""
_PAUSE_SHARE = 0.1
_STEPS = 20
"""A line is also written at each twentieth of the cases."""
_WORKERS_SHOWN = 8
_KINDS_SHOWN = 6


class JobDisplay:
    """Draws looks at a job.

    Args:
        console: where to; None for stderr.
        clock: steady seconds.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console or terminal.stderr()
        self._clock = clock
        self._start = clock()
        self._live: Live | None = None
        self._told_at: float | None = None
        self._told_step = -1
        self._told_stands: object = None
        self._told_note = self._told_line = ""

    def show(self, progress: JobProgress) -> None:
        """Show one look."""
        if self.console.is_terminal:
            self._draw(progress)
            return
        now, job = self._clock(), progress.job
        step = _STEPS * job.finished // max(job.n_cases, 1)
        stands = (job.status, job.cases, job.paid_usd, len(progress.alive))
        least = _FIRST_PAUSE if stands != self._told_stands else _SAME_PAUSE
        pause = max(least, _PAUSE_SHARE * (now - self._start))
        if self._told_at is None or step > self._told_step or now - self._told_at >= pause:
            self._told_at, self._told_step, self._told_stands = now, max(step, self._told_step), stands
            self._print(line(progress))

    def note(self, text: str) -> None:
        """Show a line that stays; the same one not twice in a row."""
        if text != self._told_note:
            self._told_note = text
            self.console.print(terminal.styled(terminal.one_line(text)), soft_wrap=True)

    def finish(self, progress: JobProgress | None) -> None:
        """Take the live picture away and write the last line."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        if progress is not None:
            if line(progress) != self._told_line:
                self._print(line(progress))
            if progress.job.message:
                self.console.print(terminal.styled(terminal.one_line(progress.job.message)), soft_wrap=True)

    def _print(self, text: str) -> None:
        self._told_line = text
        self.console.print(terminal.styled(text), soft_wrap=True)

    def _draw(self, progress: JobProgress) -> None:
        if self._live is None:
            from rich.live import Live

            self._live = Live(console=self.console, transient=True, auto_refresh=False)
            self._live.start()
        self._live.update(picture(progress), refresh=True)


@contextmanager
def job_display(address: StoreAddress, job_id: str, console: Console | None = None) -> Iterator[JobDisplay]:
    """Show a job while the block runs it, from a thread that only looks; the last line is written in any case.

    Yields:
        The display, for notes that shall stay.
    """
    display, over = JobDisplay(console), threading.Event()
    seen: list[JobProgress] = []

    def look() -> None:
        try:
            _look(address, JobObserver(job_id, supervised=True), display, seen, lambda: over.wait(LOOK_SECONDS))
        except TracescribeError as error:
            display.note(f"cannot see how the job stands any more: {error}")

    thread = threading.Thread(target=look, name="job display", daemon=True)
    thread.start()
    try:
        yield display
    finally:
        over.set()
        thread.join()
        display.finish(seen[-1] if seen else None)


def watch_job(address: StoreAddress, job_id: str, console: Console | None = None) -> JobProgress | None:
    """Show a job until nobody works on it any more; ends with it, never ends it.

    Returns:
        The last look; None where there was none.
    """
    display = JobDisplay(console)
    seen: list[JobProgress] = []

    def pause() -> bool:
        if seen and seen[-1].over:
            return True
        time.sleep(LOOK_SECONDS)
        return False

    try:
        _look(address, JobObserver(job_id), display, seen, pause)
    finally:
        display.finish(seen[-1] if seen else None)
    return seen[-1] if seen else None


def line(progress: JobProgress) -> str:
    """One look on one line."""
    job = progress.job
    parts = [f"{job.finished:,}/{job.n_cases:,} cases ({share(job.finished, job.n_cases)})"]
    failed = job.cases.get("failed", 0)
    if failed:
        kinds = dict(list(job.failures.items())[:_KINDS_SHOWN])
        parts.append(f"{failed:,} failed ({counted(kinds)})")
    if job.cases.get("cancelled"):
        parts.append(f"{job.cases['cancelled']:,} cancelled")
    if job.cases.get("running") and not progress.over:
        parts.append(f"{job.cases['running']:,} running")
    parts += _figures(progress)
    return f"{job.job_id} {job.status}: " + ", ".join(parts)


def picture(progress: JobProgress) -> Group:
    """One look as a picture for a terminal of any width."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    job = progress.job
    head = Table.grid(padding=(0, 1), expand=True)
    head.add_column(no_wrap=True, overflow="ellipsis", max_width=24)
    head.add_column(ratio=1)
    head.add_column(no_wrap=True, justify="right")
    done = f"{job.finished:,}/{job.n_cases:,}"
    head.add_row(
        terminal.styled(job.name, "bold"), ProgressBar(total=max(job.n_cases, 1), completed=job.finished), done
    )
    lines: list[Text | Table] = [head]
    figures = Text("  ")
    figures.append(counted({name: job.cases.get(name, 0) for name in ("done", "running", "waiting")}))
    for status, style in (("failed", "red"), ("cancelled", "dim")):
        if job.cases.get(status):
            figures.append(f", {job.cases[status]:,} {status}", style=style)
    lines.append(figures)
    if told := _figures(progress):
        lines.append(terminal.styled("  " + ", ".join(told), "dim"))
    if job.failures:
        kinds = counted(dict(list(job.failures.items())[:_KINDS_SHOWN]))
        lines.append(terminal.styled(f"  failures: {kinds}", "red"))
    if progress.workers:
        lines.append(_workers(progress))
    return Group(*lines)


def _workers(progress: JobProgress) -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=24)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for one in progress.workers[:_WORKERS_SHOWN]:
        silent = one.silent >= SILENT_SECONDS
        busy = one.row.case_title is not None
        table.add_row(
            terminal.styled(f"  {one.row.host} {one.row.pid}", "yellow" if silent else "dim"),
            terminal.styled(span(one.case_seconds) if busy else "", "dim"),
            terminal.styled(f"silent for {span(one.silent)}" if silent else one.row.case_title or "idle"),
        )
    if len(progress.workers) > _WORKERS_SHOWN:
        table.add_row(terminal.styled(f"  {len(progress.workers) - _WORKERS_SHOWN} more", "dim"), "", "")
    return table


def _figures(progress: JobProgress) -> list[str]:
    job, told = progress.job, []
    if job.paid_usd or job.usd_limit is not None:
        reserved = f" and {money(job.reserved_usd)} reserved" if job.reserved_usd and not progress.over else ""
        told.append(cost(job) + reserved)
    if progress.over:
        return told
    if progress.abandoned:
        told.append("workers are starting" if progress.supervised else "nobody works on it")
    elif progress.rate:
        rate = progress.rate
        told.append(f"{rate:.1f} cases/s" if rate >= 1 else f"{60 * rate:.1f} cases/min")
    if progress.seconds_left is not None:
        told.append(f"about {span(progress.seconds_left)} left")
    return told


def _look(
    address: StoreAddress,
    observer: JobObserver,
    display: JobDisplay,
    seen: list[JobProgress],
    pause: Callable[[], bool],
) -> None:
    """Look until `pause` says that it is over, and once more then."""
    over = False
    while True:
        try:
            with open_reader(address) as reader:
                while True:
                    seen[:] = [observer.look(reader)]
                    if over:
                        return
                    display.show(seen[-1])
                    over = pause()
        except StoreError as error:
            display.note(f"cannot see how the job stands: {error}")
            if over:
                return
            over = pause()
