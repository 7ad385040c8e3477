"""Where one interpretation is kept while it runs: its folder, its lock, and what it is a run of.

DIR/lock                 held by the process that works here; its process id, for people
DIR/fingerprint.json     of what the run is
DIR/checkpoints.sqlite   the loop's state after every step (with -wal and -shm beside it)
DIR/registry.jsonl       supernodes, claims, plans and measurements, as they were fixed
DIR/registry.jsonl.torn  a line that a kill tore, put aside
DIR/clock                seconds that the run has lasted
DIR/finished             the run is done, and its report written
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from tracescribe.agents.durable.errors import RunDamagedError, RunMismatchError
from tracescribe.agents.durable.folder_lock import hold_folder
from tracescribe.tracer.errors import OutputError
from tracescribe.tracer.provenance import canonical_json, write_json_atomic, write_text_atomic

if TYPE_CHECKING:
    from tracescribe.agents.durable.checkpoints import Checkpoints
    from tracescribe.agents.durable.run_clock import RunClock
    from tracescribe.agents.registry import ClaimRegistry
    from tracescribe.agents.registry_log import RegistryListener

FINGERPRINT, FINISHED, CLOCK = "fingerprint.json", "finished", "clock"
CHECKPOINTS, REGISTRY = "checkpoints.sqlite", "registry.jsonl"
KEPT = (
    FINISHED,  # first, so that a clearing that is cut short leaves no folder that looks finished
    f"{CHECKPOINTS}-wal",
    f"{CHECKPOINTS}-shm",
    CHECKPOINTS,
    REGISTRY,
    f"{REGISTRY}.torn",
    CLOCK,
    FINGERPRINT,
)
"""Files of a run but its lock, in the order in which they are cleared."""
_SHOWN = 60


@dataclass(frozen=True)
class RunStore:
    """A folder that one interpretation writes to as it goes.

    Attributes:
        folder: of this run alone.
        listener: hears of every line of the claim registry before what it announces is done; None for nobody.
        flush: every step outlasts a loss of power, too, which costs a flush of the disk each; without, it outlasts the
            death of the process alone, and what a loss of power tears is told as a damaged run.
    """

    folder: Path
    listener: RegistryListener | None = None
    flush: bool = True

    @property
    def is_unfinished(self) -> bool:
        """Whether the folder holds a run that has begun and is not finished."""
        return (self.folder / FINGERPRINT).exists() and not (self.folder / FINISHED).exists()

    def finish(self) -> None:
        """Mark the run as done: call this once its report is written. The next run in this folder then starts anew.

        Raises:
            OutputError: the folder cannot be written to.
        """
        write_text_atomic(self.folder / FINISHED, "the report of this run is written\n")

    def fresh(self) -> None:
        """Clear a run that is there, finished or not. Recorded answers of language models are kept elsewhere and stay.

        Raises:
            RunLockedError: another process works in the folder.
            OutputError: the folder cannot be written to.
        """
        with hold_folder(self.folder):
            self._clear()

    @contextmanager
    def open(self) -> Iterator[OpenRun]:
        """Lock the folder for this process, until the `with` block ends.

        Raises:
            RunLockedError: another process works in it.
            OutputError: it cannot be made or written to.
        """
        from tracescribe.agents.durable.run_clock import RunClock

        with hold_folder(self.folder), ExitStack() as closing:
            clock = RunClock()
            closing.callback(clock.close)
            yield OpenRun(self, clock, closing)

    def _clear(self) -> None:
        for name in KEPT:
            try:
                (self.folder / name).unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"cannot clear {self.folder / name}: {error.strerror}; remove it") from error

    def _begin(self, fingerprint: Mapping[str, JsonValue]) -> None:
        """Make sure that the folder holds a run of this fingerprint: the one that is there, or a new one.

        Raises:
            RunMismatchError: an unfinished run of something else is there.
            RunDamagedError: its fingerprint cannot be read.
        """
        path = self.folder / FINGERPRINT
        if not self.is_unfinished:
            self._clear()
            write_json_atomic(path, dict(fingerprint), flush=self.flush)
            return
        found = _read_fingerprint(path)
        if canonical_json(found) != canonical_json(dict(fingerprint)):
            raise RunMismatchError(
                f"{self.folder} holds an unfinished run with {_difference(found, fingerprint)}; "
                "throw it away with --fresh, or choose another folder with --out"
            )


class OpenRun:
    """A run's folder while this process has it locked.

    Attributes:
        clock: of its budget for seconds.
        seconds_before: that the run lasted before this process.
    """

    def __init__(self, store: RunStore, clock: RunClock, closing: ExitStack) -> None:
        self.clock = clock
        self.seconds_before = 0.0
        self._store = store
        self._closing = closing

    def begin(self, fingerprint: Mapping[str, JsonValue]) -> None:
        """Go on with the folder's run if it is one of this fingerprint; else begin one.

        Raises:
            RunMismatchError: an unfinished run of something else is there.
            RunDamagedError: what the folder holds cannot be read.
        """
        self._store._begin(fingerprint)
        self.seconds_before = self.clock.keep(self._store.folder / CLOCK)

    def registry(self) -> ClaimRegistry:
        """The claim registry as the run left it; every further entry is written to its log.

        Raises:
            RegistryLogError: the log was damaged or changed.
            RegistryUnheardError: the listener could not be told of it.
        """
        from tracescribe.agents.durable.heard_log import HeardLog
        from tracescribe.agents.durable.registry_file import RegistryFile
        from tracescribe.agents.registry import ClaimRegistry

        log = RegistryFile(self._store.folder / REGISTRY, flush=self._store.flush)
        self._closing.callback(log.close)
        if self._store.listener is None:
            return ClaimRegistry(log, log.lines)
        heard = HeardLog(log, self._store.listener)
        registry = ClaimRegistry(heard, log.lines)  # refuses a damaged log before anybody is told of it
        heard.tell()
        return registry

    def checkpoints(self) -> Checkpoints:
        """The loop's state after every step.

        Raises:
            RunDamagedError: the file is no database.
        """
        from tracescribe.agents.durable.checkpoints import Checkpoints

        checkpoints = Checkpoints(self._store.folder / CHECKPOINTS, flush=self._store.flush)
        self._closing.callback(checkpoints.close)
        return checkpoints


def _read_fingerprint(path: Path) -> dict[str, JsonValue]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise RunDamagedError(
            f"{path} does not say what the run is of; start again with --fresh, or choose another folder with --out"
        )
    return found


def _difference(found: Mapping[str, JsonValue], wanted: Mapping[str, JsonValue]) -> str:
    """The first setting in which two fingerprints differ, in words."""
    names = [n for n in {**wanted, **found} if canonical_json(found.get(n)) != canonical_json(wanted.get(n))]
    name, here, there = names[0], found.get(names[0]), wanted.get(names[0])
    while isinstance(here, dict) and isinstance(there, dict):  # the innermost setting tells more than the whole
        inner = next(n for n in {**there, **here} if canonical_json(here.get(n)) != canonical_json(there.get(n)))
        name, here, there = f"{name}.{inner}", here.get(inner), there.get(inner)
    more = f" (and {len(names) - 1} other differences)" if len(names) > 1 else ""
    return f"another {name}: {canonical_json(here)[:_SHOWN]}, not {canonical_json(there)[:_SHOWN]}{more}"
