"""What the benchmark's tests run in worker processes: agents that answer from files, and misbehave."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.evals.bench_acts import CheatedError
from tracescribe.agents.agent import Progress, no_progress
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.report import CircuitReport, parse_report
from tracescribe.agents.toolbox import Toolbox
from tracescribe.evals.benchmark.suites import Suite, SuitePart
from tracescribe.evals.benchmark.work import Contestant
from tracescribe.evals.gold import GoldCircuit, GoldGraph
from tracescribe.tracer.graph import AttributionGraph
from tracescribe.tracer.graph_json import write_graph

CANNED_SECONDS = 0.1


@dataclass(frozen=True)
class Canned:
    """An agent that gives reports from files, and misbehaves on the prompts that begin with a word that tells how.

    Attributes:
        reports: folder of `<first word of the prompt>.json`.
        good: misbehaves on nothing.
        slow: takes `CANNED_SECONDS` for a case.
        seen: file that gets a line for every case; empty for none.
    """

    name: str
    reports: str
    good: bool = False
    slow: bool = False
    seen: str = ""

    def interpret(
        self, case: InterpretationCase, toolbox: Toolbox, budget: Budget, progress: Progress = no_progress
    ) -> CircuitReport:
        assert case.graph is not None
        word = case.graph.tokens[1]
        if self.seen:
            with Path(self.seen).open("a", encoding="utf-8") as file:
                file.write(f"{word}\n")
        if self.slow:
            time.sleep(CANNED_SECONDS)
        if not self.good:
            match word:
                case "crash":
                    os._exit(7)
                case "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "hang":
                    time.sleep(600)
                case "bug":
                    raise RuntimeError("lost the thread")
                case "cheat":
                    raise CheatedError("told 3 s, took 1000 s")
                case "elsewhere":
                    word = "plain"
        return parse_report((Path(self.reports) / f"{word}.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class OpenCanned:
    """Opens a `Canned`."""

    agent: Canned

    @contextmanager
    def _open(self) -> Iterator[Canned]:
        yield self.agent

    def __call__(self, seed: int, calls: Path) -> Any:
        return self._open()


def canned(name: str, reports: Path, *, paid: bool = False, settings: int = 0, **more: Any) -> Contestant:
    """A contestant that answers from files."""
    return Contestant(name, {"number": settings}, OpenCanned(Canned(name, str(reports), **more)), paid)


def small_suite(folder: Path, gold: GoldCircuit, graph: AttributionGraph, words: tuple[str, ...]) -> Suite:
    """A suite of copies of one circuit, each with a first word of its own, and reports on them in `reports/`."""
    from tracescribe.agents.baselines import baseline_agent

    circuits = []
    (folder / "reports").mkdir(parents=True, exist_ok=True)
    for word in words:
        tokens = ("<bos>", word, "y", "z")
        own = replace(graph, prompt=f"{word} y z", tokens=tokens)
        path = f"graphs/{word}.json"
        (folder / "graphs").mkdir(exist_ok=True)
        write_graph(folder / path, own)
        circuits.append(
            gold.model_copy(
                update={
                    "gold_id": f"{word}-01",
                    "family": "odd" if len(word) % 2 else "even",
                    "prompt": own.prompt,
                    "tokens": tokens,
                    "graph": GoldGraph(path=path),
                }
            )
        )
        case = InterpretationCase(case_id="x", graph=own)
        report = baseline_agent("position").interpret(case, Toolbox(), Budget())
        (folder / "reports" / f"{word}.json").write_text(report.model_dump_json(), encoding="utf-8")
    return Suite("small", (SuitePart(tuple(circuits), folder),))
