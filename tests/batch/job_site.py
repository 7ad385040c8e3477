"""Where a batch job of the tests runs: real processes of the command line, a real store, and a counting fake provider.

Every process carries a mark in its environment, so that all of them are found also when their parent is gone; the
command line's folders of keys, state and configuration lie inside the site, so that nothing outside it is touched.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.agents.fake_server import FakeServer
from tracescribe.runs.store.addresses import DEFAULT_STORE
from tracescribe.tracer.embedded.training.corpus import sample

MARK = "TRACESCRIBE_TEST_MARK"
TRACESCRIBE = (sys.executable, "-m", "tracescribe.runs")
PATIENCE = 600.0
"""Seconds after which a condition that must come is given up; no test passes or fails by how fast it comes."""


def prompts(count: int, seed: int = 7) -> list[str]:
    """Different prompts in words of the embedded model."""
    draw, found = random.Random(seed), dict[str, None]()
    while len(found) < count:
        found.setdefault(sample(draw).prompt)
    return list(found)


@dataclass(eq=False)
class Command:
    """One process of the command line.

    Attributes:
        process: itself.
        output: file of what it says on both streams.
    """

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    def wait(self, seconds: float = 3600.0) -> int:
        """Its exit status: minus the signal that killed it."""
        return self.process.wait(seconds)

    @property
    def text(self) -> str:
        """What it has said so far."""
        return self.output.read_text(encoding="utf-8", errors="replace")


def wait_until(
    condition: Callable[[], bool], what: str, seconds: float = PATIENCE, *, by: Command | None = None
) -> None:
    """Wait until a condition holds.

    Args:
        by: the process that brings it about.

    Raises:
        AssertionError: it did not come, or the process ended before.
    """
    end = time.monotonic() + seconds
    while not condition():
        ended = by is not None and by.process.poll() is not None
        assert not ended or condition(), f"ended before {what}: {by.text[-4000:] if by else ''}"
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain: {what}"
        time.sleep(0.02)


@dataclass(eq=False)
class Site:
    """A folder to work in, a store, and the processes that were started for them.

    Attributes:
        folder: everything that the test writes.
        store: as `--store` takes it.
        environment: of every process, beside what is inherited.
    """

    folder: Path
    store: str
    environment: dict[str, str] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    _commands: int = 0
    _started: list[Command] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        home = self.folder / "home"
        own = {
            MARK: self.mark,
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "TRACESCRIBE_STORE": self.store,
            "TRACESCRIBE_ARTEFACTS": str(self.files / "artefacts"),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }
        self.environment = own | self.environment

    @property
    def files(self) -> Path:
        """Folder of the store's files: of all of them, or where its database is a server, of the artefacts."""
        return self.folder / "store"

    @property
    def scratch(self) -> Path:
        """Folder of cases that are being worked on."""
        base = self.folder / DEFAULT_STORE if "://" in self.store else Path(self.store)
        return base / "scratch"

    # -- commands -------------------------------------------------------------------------------------------------------

    def start(self, *arguments: str, **environment: str) -> Command:
        """Begin a command line in a session of its own."""
        return self.start_program(*TRACESCRIBE, *arguments, **environment)

    def start_program(self, *command_line: str, **environment: str) -> Command:
        """Begin any program as one of the site's."""
        self._commands += 1
        output = self.folder / "said" / f"{self._commands:03d}.txt"
        output.parent.mkdir(exist_ok=True)
        with output.open("wb") as stream:
            process = subprocess.Popen(
                command_line,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=os.environ | self.environment | environment,
                start_new_session=True,
            )
        command = Command(process, output)
        self._started.append(command)
        return command

    def run(self, *arguments: str, status: int | None = 0, **environment: str) -> str:
        """Run a command line to its end; what it said.

        Raises:
            AssertionError: its exit status is not the one that was awaited.
        """
        command = self.start(*arguments, **environment)
        found = command.wait()
        assert status is None or found == status, f"{arguments} ended with {found}:\n{command.text[-4000:]}"
        return command.text

    def json(self, *arguments: str, status: int | None = 0) -> Any:
        """What a command line prints with `--json`."""
        done = subprocess.run(
            [*TRACESCRIBE, *arguments, "--json"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=self.folder,
            env=os.environ | self.environment,
            check=False,
        )
        assert status is None or done.returncode == status, f"{arguments}: {done.stderr.decode()[-4000:]}"
        return json.loads(done.stdout)

    # -- processes ------------------------------------------------------------------------------------------------------

    def processes(self) -> list[int]:
        """Every live process that belongs to the site, whoever its parent is by now."""
        wanted, found = f"{MARK}={self.mark}".encode(), list[int]()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if wanted in (entry / "environ").read_bytes().split(b"\0") and not _is_dead(entry):
                    found.append(int(entry.name))
            except OSError:  # it ended, or is not ours
                continue
        return sorted(found)

    def kill_all(self) -> None:
        """End whatever is left, for the end of a test."""
        end = time.monotonic() + PATIENCE
        while found := self.processes():  # one may be started by another just before that is killed
            for pid in found:
                kill(pid)
            assert time.monotonic() < end, f"these do not end: {found}"
            time.sleep(0.02)
        for command in self._started:
            command.process.wait(PATIENCE)

    # -- jobs -----------------------------------------------------------------------------------------------------------

    def write_job(self, server: FakeServer | None, texts: Sequence[str], **changes: Any) -> Path:
        """A job's file beside its prompts: cheap settings, and a language model behind the server.

        Args:
            server: the provider; None takes the offline agent.
            texts: prompts.
            changes: fields of the job that replace those here; None leaves a field out.
        """
        (self.folder / "prompts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
        job: dict[str, Any] = {
            "name": "kills",
            "prompts": {"file": "prompts.txt"},
            "agent": {"spec": "offline", "max_rounds": 0},
            "budget": {"case": {"experiments": 2}},
            "executor": {"kind": "local", "workers": 2},
        }
        if server is not None:
            spec = f"openai-compatible:{server.url('openai')}#fake-1"
            job["agent"] = {"spec": spec, "style": "pipeline", "max_rounds": 0, "concurrency": 2}
        merged = {name: value for name, value in (job | changes).items() if value is not None}
        path = self.folder / "job.json"
        path.write_text(json.dumps(merged, indent=1), encoding="utf-8")
        return path


def kill(pid: int, sign: signal.Signals = signal.SIGKILL) -> bool:
    """Send a signal; whether the process was still there."""
    try:
        os.kill(pid, sign)
    except ProcessLookupError:
        return False
    return True


def _is_dead(entry: Path) -> bool:
    """Whether a process has ended and only waits for its parent to notice."""
    return (entry / "stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}


def without_times(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report but for how long it took."""
    cost = {**report["cost"], "seconds": 0.0, "seconds_by_step": {}}
    return {**report, "cost": cost}
