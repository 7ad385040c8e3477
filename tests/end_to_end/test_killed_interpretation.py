"""`tracescribe interpret` killed with -9 at random moments: it goes on, asks nothing twice, and reports the same.

Processes, kills, HTTP and files are real; only the language model behind the server is fake. The moments come from a
seed: at a request that is in flight, at a line of the registry, or after some time.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.agents.fake_server import FakeServer, Question, Reply, good, serving
from tests.agents.fake_thinker import data_of, schema_of, think

DALLAS = "the capital of the state containing Dallas is"
KILLS = {"pipeline": 14, "investigator": 6}
SEED = 20
MOST_PROCESSES = 80
FEW = 6
"""Claims of the first round that are kept: enough for every kind of moment, and half the time."""


def think_boldly(question: Question) -> Reply:
    """As the fake model does, with one false claim at first, and another when that comes back: so there are two rounds."""
    reply = think(question)
    schema = schema_of(question)
    if schema not in ("ClaimsAnswer", "RevisionAnswer"):
        return reply
    data = data_of(question)
    bold = sum(row["kind"] == "steering" for row in data.get("verdicts", ()))
    claim = {"kind": "steering", "supernode": "s1", "expected_token": "Austin", "direction": "down"}
    more = [claim | {"multiplier": 3.0 - bold}] if bold < 2 else []
    answer = json.loads(reply.text)
    return good(answer | {"claims": answer["claims"][:FEW] + more})


@dataclass
class Killer:
    """Kills the process that it is set on, once, at its moment.

    Attributes:
        kind: `request` (the n-th to come in, before it is answered), `registry` (n lines more), `time` (seconds).
        fired: whether it has.
    """

    kind: str = "never"
    amount: float = 0.0
    registry: Path = Path()
    fired: bool = False
    _pid: int | None = None
    _lines: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, pid: int) -> None:
        """Set it on a process that has just begun."""
        self._pid = pid
        self._lines = self._count()
        threading.Thread(target=self._watch, args=(time.monotonic(),), daemon=True).start()

    def request(self) -> None:
        """A request has come in."""
        if self.kind == "request":
            self.amount -= 1
            if self.amount <= 0:
                self._kill()

    def end(self) -> None:
        """The process has ended."""
        with self._lock:
            self._pid = None

    def _watch(self, start: float) -> None:
        while self._pid is not None and not self.fired:
            if (self.kind == "time" and time.monotonic() - start >= self.amount) or (
                self.kind == "registry" and self._count() - self._lines >= self.amount
            ):
                self._kill()
            time.sleep(0.001)

    def _count(self) -> int:
        return self.registry.read_bytes().count(b"\n") if self.registry.is_file() else 0

    def _kill(self) -> None:
        with self._lock:
            if self._pid is not None and not self.fired:
                os.kill(self._pid, signal.SIGKILL)
                self.fired = True


@dataclass
class Machine:
    """Starts processes, and the server that they ask.

    Attributes:
        outputs: folder of what the processes say.
        killer: of the process that runs.
        processes: begun so far.
    """

    server: FakeServer
    starter: subprocess.Popen[str]
    outputs: Path
    processes: int = 0
    killer: Killer = field(default_factory=Killer)

    def think(self, question: Question) -> Reply:
        """The server's script."""
        self.killer.request()
        return think_boldly(question)

    def run(self, style: str, out: Path, killer: Killer, concurrency: int = 1) -> int:
        """One process from its beginning to its end; returns its exit status."""
        arguments = ["interpret", "--prompt", DALLAS, "--out", str(out), "--style", style]
        arguments += ["--concurrency", str(concurrency)]
        arguments += ["--agent", f"openai-compatible:{self.server.url('openai')}#fake-1", "--max-rounds", "2", "--json"]
        assert self.starter.stdin is not None and self.starter.stdout is not None
        self.killer = killer
        self.starter.stdin.write(json.dumps(arguments) + "\n")
        self.starter.stdin.flush()
        killer.begin(int(self.starter.stdout.readline()))
        status = int(self.starter.stdout.readline())
        killer.end()
        self.processes += 1
        if status > 0:
            pytest.fail((self.outputs / f"{self.processes - 1}.out").read_text())
        return status


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("processes")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    command = [sys.executable, "-m", "tests.end_to_end.forking", str(folder)]
    with (
        serving(think) as server,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as starter,
    ):
        machine = Machine(server, starter, folder)
        server.script = machine.think
        yield machine
        assert starter.stdin is not None
        starter.stdin.close()


def timeless(out: Path) -> dict[str, Any]:
    """The report in a folder without its times."""
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    report["cost"] |= {"seconds": 0.0, "seconds_by_step": {}}
    return report


def registry(out: Path) -> list[Any]:
    """The lines of the registry's log, without what was spent by then."""
    lines = [json.loads(line) for line in (out / "run" / "registry.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "spent"} for line in lines]


def moment(draw: random.Random, out: Path, seconds: float) -> Killer:
    """When the next process dies."""
    kind = draw.choice(["request", "request", "registry", "time"])
    amount = {"request": draw.randint(1, 8), "registry": draw.randint(1, 16), "time": draw.uniform(0.0, seconds)}[kind]
    return Killer(kind, amount, out / "run" / "registry.jsonl")


def check_calls(out: Path, sent: Counter[str], in_flight: int) -> None:
    """No answered request was sent again; each that was sent twice was in flight at a kill, and the ledger says so."""
    events = [json.loads(line) for line in (out / "llm_calls.jsonl").read_text().splitlines()]
    answered: set[str] = set()
    resent: Counter[str] = Counter()
    for event in events:
        if event["event"] == "answer":
            assert event["request_sha256"] not in answered
            answered.add(event["request_sha256"])
        elif event["event"] == "intent":
            assert event["request_sha256"] not in answered
            resent[event["idempotency_key"]] += event["resent"]
    again = {key: times - 1 for key, times in sent.items() if times > 1}
    assert all(times <= resent[key] for key, times in again.items())
    assert resent.total() <= in_flight
    assert len(answered) == len(sent)


def without_seconds(text: str) -> list[str]:
    """The lines of a report's file but those of its times."""
    lines = text.splitlines()
    begin = next(n for n, line in enumerate(lines) if '"seconds":' in line)
    end = next(n for n, line in enumerate(lines) if '"experiments":' in line and n > begin)
    return lines[:begin] + lines[end:]


def check_recorded(machine: Machine, style: str, out: Path) -> None:
    """A finished run starts anew, and every question is answered from the record: the same bytes but for the times."""
    first, calls = (out / "report.json").read_text(), machine.server.calls
    assert machine.run(style, out, Killer()) == 0
    assert machine.server.calls == calls
    again = (out / "report.json").read_text()
    assert without_seconds(again) == without_seconds(first)


@pytest.mark.parametrize("style", KILLS)
def test_killed_at_random_moments(machine: Machine, tmp_path: Path, style: str) -> None:
    start = time.monotonic()
    whole = tmp_path / "whole"
    assert machine.run(style, whole, Killer()) == 0
    seconds = time.monotonic() - start
    expected, fixed = timeless(whole), registry(whole)
    check_recorded(machine, style, whole)
    assert expected["stopped"]["rounds"] == (1 if style == "pipeline" else 0)

    draw = random.Random(f"{SEED} {style}")
    kills, processes, kinds = 0, 0, Counter[str]()
    while kills < KILLS[style]:
        out = tmp_path / f"after {kills} kills"
        before, kills_before, kept = Counter(machine.server.sent), kills, list[bytes]()
        concurrency = draw.choice([1, 1, 4])  # decides when an answer comes, never which: the report is the same
        while True:
            processes += 1
            assert processes < MOST_PROCESSES
            killer = moment(draw, out, seconds) if kills < KILLS[style] else Killer()
            status = machine.run(style, out, killer, concurrency)
            if not killer.fired:
                assert status == 0
                break
            if status == 0:
                break  # the kill came too late
            assert status == -signal.SIGKILL
            kills += 1
            kinds[killer.kind] += 1
            log = out / "run" / "registry.jsonl"
            if (out / "run" / "finished").exists():
                kept.clear()  # its report was written, so the next process starts anew
                continue
            kept.append(log.read_bytes().rpartition(b"\n")[0] if log.exists() else b"")
        assert timeless(out) == expected
        assert registry(out) == fixed
        # whatever stood in the log at a kill still stands there: no plan, control or measurement was lost or made anew
        final = (out / "run" / "registry.jsonl").read_bytes()
        assert all(final.startswith(lines) for lines in kept)
        assert (out / "run" / "finished").exists()
        check_calls(out, machine.server.sent - before, concurrency * (kills - kills_before))
        shutil.rmtree(out)
    assert style != "pipeline" or len(kinds) >= 2
