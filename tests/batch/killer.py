"""Kills processes of a job at random moments, and goes on with the job, until it has killed often enough.

The moments come from a seed: at a request that is in flight, at a write of the store, after some time, or right after a
start; the victim is a worker (or any other process beside the parent), the parent, or everything at once.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from tests.batch.job_site import Command, Site, kill, wait_until

Victim = Literal["worker", "parent", "all"]
Moment = Literal["request", "write", "time", "start"]

VICTIMS: dict[Victim, int] = {"worker": 6, "parent": 3, "all": 1}
MOMENTS: dict[Moment, int] = {"request": 4, "write": 3, "time": 2, "start": 1}
MOST_STARTS = 200
_LOOK_SECONDS = 0.1
"""Between two looks at how far the job is."""
Kind = TypeVar("Kind", Victim, Moment)


@dataclass
class Requests:
    """Counts requests as they come in, before they are answered; wakes those who wait for one.

    Attributes:
        count: so far.
    """

    count: int = 0
    _came: threading.Condition = field(default_factory=threading.Condition)

    def came(self) -> None:
        """One more; called by the server."""
        with self._came:
            self.count += 1
            self._came.notify_all()

    def wait_for(self, count: int, seconds: float) -> None:
        """Wait until so many have come in, or the time is over."""
        with self._came:
            self._came.wait_for(lambda: self.count >= count, seconds)


@dataclass
class Kills:
    """What was done to a job.

    Attributes:
        victims: kills by victim; `moments`: by moment.
        resumes: times that the job was gone on with.
        story: a line for each of both, for people who look at a failure.
    """

    victims: Counter[str] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    resumes: int = 0
    story: list[str] = field(default_factory=list)
    _begun: float = field(default_factory=time.monotonic)

    def tell(self, what: str) -> None:
        """Add a line to the story."""
        self.story.append(f"{time.monotonic() - self._begun:7.2f} s: {what}")

    @property
    def count(self) -> int:
        """Kills so far."""
        return self.victims.total()


@dataclass
class Killer:
    """Carries a job through its kills.

    Attributes:
        site: where the job runs.
        requests: of its provider.
        finished: how many cases are finished, read from the store.
        cases: how many there are.
        kills: how many to do.
        seed: of every random draw.
    """

    site: Site
    requests: Requests
    finished: Callable[[], int]
    cases: int
    kills: int
    seed: int
    done: Kills = field(default_factory=Kills)

    def carry(self, begin: Command, resume: tuple[str, ...]) -> str:
        """Kill and resume until the job is done; what the last process said.

        Args:
            begin: the first process, just started.
            resume: command line that goes on.

        Raises:
            AssertionError: a process failed by itself, or its workers outlived it.
        """
        draw, command = random.Random(self.seed), begin
        # drawn at once: what is chosen later takes as many draws as there happen to be processes
        plan = list(zip(_shares(VICTIMS, self.kills, draw), _shares(MOMENTS, self.kills, draw), strict=True))
        for _ in range(MOST_STARTS):
            if self.done.count >= self.kills:
                command.wait()
            else:
                self._kill_once(draw, command, *plan[self.done.count])
            status = command.process.poll()
            if status is None:
                continue  # a worker was killed; its parent goes on
            if status == 0:
                return command.text
            assert status < 0, f"the job ended with {status}:\n{command.text[-4000:]}"
            wait_until(lambda: not self.site.processes(), "workers end when their parent was killed")
            command = self.site.start(*resume)
            self.done.resumes += 1
            self.done.tell(f"resumed as {command.pid}")
        raise AssertionError(f"the job does not end: {command.text[-4000:]}")

    def _kill_once(self, draw: random.Random, command: Command, victim: Victim, moment: Moment) -> None:
        """Wait for the moment, and kill; not at all if the job is done by then."""
        self._wait(draw, command, moment)
        if command.process.poll() is not None:
            return
        others = [pid for pid in self.site.processes() if pid != command.pid]
        if victim == "worker":
            hit = bool(others) and kill(draw.choice(others))
        else:
            hit = kill(command.pid)
            if victim == "all":
                for pid in others:
                    kill(pid)
            command.wait()
        if hit:
            self.done.victims[victim] += 1
            self.done.moments[moment] += 1
            self.done.tell(f"{victim} killed at {moment}, {self.finished()} finished")

    def _wait(self, draw: random.Random, command: Command, moment: Moment) -> None:
        """Wait for a moment: kills are spread over the whole job, and come at no even pace.

        None comes later than when the next one may: on a quick machine the job would be done before the last ones.
        """
        share, late = (self.cases * (self.done.count + more) // (self.kills + 2) for more in (0, 1))
        if moment == "start":
            self._wait_for_time(command, draw.uniform(0.0, 3.0), late)
            return
        while self._goes_on(command, share):
            time.sleep(0.1)
        if moment == "request":
            count, end = self.requests.count + draw.randint(1, 12), time.monotonic() + 20.0
            while self.requests.count < count and time.monotonic() < end and self._goes_on(command, late):
                self.requests.wait_for(count, _LOOK_SECONDS)
        elif moment == "time":
            self._wait_for_time(command, draw.uniform(0.0, 3.0), late)
        else:
            self._wait_for_writes(command, draw.randint(1, 40), late)

    def _goes_on(self, command: Command, share: int) -> bool:
        """Whether a process works on its job, and fewer cases than these are finished."""
        return command.process.poll() is None and self.finished() < share

    def _wait_for_time(self, command: Command, seconds: float, late: int) -> None:
        """Until so much time is over."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and self._goes_on(command, late):
            time.sleep(min(left, _LOOK_SECONDS))

    def _wait_for_writes(self, command: Command, count: int, late: int) -> None:
        """Until files of the store have changed so often, looking as often as one can."""
        folder = Path(self.site.files)
        begun, last, seen = time.monotonic(), _stamp(folder), 0
        looked, end = begun, begun + 10.0
        while seen < count and time.monotonic() < end:
            now = _stamp(folder)
            seen += now != last
            last = now
            if time.monotonic() - looked >= _LOOK_SECONDS:
                if not self._goes_on(command, late):
                    return
                looked = time.monotonic()
            time.sleep(0.0005)


def _shares(weights: Mapping[Kind, int], count: int, draw: random.Random) -> list[Kind]:
    """So many kinds by their weights, each at least once where there are enough, in random order."""
    whole = sum(weights.values())
    found = [kind for kind, weight in weights.items() for _ in range(max(1, count * weight // whole))]
    found += draw.choices(list(weights), list(weights.values()), k=max(0, count - len(found)))
    draw.shuffle(found)
    return found[:count]


def _stamp(folder: Path) -> tuple[int, ...]:
    """Sizes and times of what changes with every write: database, its log, and the folders of artefacts and scratch."""
    found: list[int] = []
    for name in ("store.db", "store.db-wal", "artefacts", "scratch"):
        try:
            state = os.stat(folder / name)
        except OSError:
            continue
        found += [state.st_size, state.st_mtime_ns]
    return tuple(found)
