"""Case functions that do next to nothing, for tests of what is around them; workers import them from here."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from tracescribe.runs.executors.contract import CaseLease, CaseOutcome
from tracescribe.runs.executors.liveness import BEAT_SECONDS
from tracescribe.runs.jobs.records import CaseFigures
from tracescribe.runs.store.artefacts import Artefact
from tracescribe.runs.store.errors import LeaseLostError

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store


@dataclass(frozen=True)
class Repeat:
    """Gives a report that repeats its prompt, after some seconds; asks now and then whether it should go on."""

    seconds: float = 0.0

    def __call__(self, lease: CaseLease, store: Store, still_ours: Callable[[], bool]) -> CaseOutcome:
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            time.sleep(min(0.05, self.seconds))
            if not still_ours():
                raise LeaseLostError("not ours")
        report = Artefact("report.json", "report", f"{lease.case.prompt} {lease.case.seed}".encode())
        return CaseOutcome((report,), CaseFigures(answer=lease.case.prompt))


@dataclass(frozen=True)
class HeldBack:
    """As `Repeat`, but not before a file `go` lies in a folder: what a test does meanwhile meets cases that are worked on,
    however slow or quick the machine is. Cases whose prompt begins with `free` are not held back.

    Attributes:
        folder: a text, so that what this prints as makes it again in another process.
    """

    folder: str

    def __call__(self, lease: CaseLease, store: Store, still_ours: Callable[[], bool]) -> CaseOutcome:
        while not (lease.case.prompt or "").startswith("free") and not Path(self.folder, "go").exists():
            time.sleep(0.02)
            if not still_ours():
                raise LeaseLostError("not ours")
        return Repeat()(lease, store, still_ours)


@dataclass(frozen=True)
class Nothing:
    """Does nothing at all."""

    def __call__(self, lease: CaseLease, store: Store, still_ours: Callable[[], bool]) -> CaseOutcome:
        return CaseOutcome()


@dataclass(frozen=True)
class JumpingClock:
    """Sets this worker's clock hours ahead and back again while it works."""

    def __call__(self, lease: CaseLease, store: Store, still_ours: Callable[[], bool]) -> CaseOutcome:
        honest = time.time
        for hours in (5, -9, 0):
            with patch("time.time", lambda hours=hours: honest() + 3600 * hours):
                time.sleep(BEAT_SECONDS / 4)
                if not still_ours():
                    raise LeaseLostError("not ours")
        return Repeat()(lease, store, still_ours)


@dataclass(frozen=True)
class Mishap:
    """Does what the prompt of its case says: `die`, `hang`, `raise`, `full`, `stop`, or anything else: nothing.

    Attributes:
        folder: where a file a sort of mishap tells that it happened.
    """

    folder: Path

    def __call__(self, lease: CaseLease, store: Store, still_ours: Callable[[], bool]) -> CaseOutcome:
        what = lease.case.prompt or ""
        (self.folder / f"{lease.case_id}.{lease.attempt}").write_text(what)
        match what:
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "die once" if lease.attempt == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                time.sleep(3600)
            case "raise":
                raise ValueError("no such word: key=sk-abcdefghijklmnopqrstuvwxyz0123456789ABCD")
            case "full":
                raise OSError(28, "No space left on device")
            case "stop":
                return CaseOutcome(stop="wrong weights")
        return CaseOutcome()


@dataclass(frozen=True)
class SlowToLoad(Nothing):
    """Needs a library that loads for ever (see `slow_library`)."""

    preload = ("tests.runs.executors.slow_library",)


@dataclass(frozen=True)
class DiesOfLoading(Nothing):
    """Needs a library that ends the process which loads it (see `dying_library`)."""

    preload = ("tests.runs.executors.dying_library",)
