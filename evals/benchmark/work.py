"""What a worker does: trace a prompt, let an agent interpret a graph, measure a report by interventions.

A worker sees prompts, graphs, weights and reports. Gold never reaches it: scores against gold are computed elsewhere.
"""

from __future__ import annotations

import gc
import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.evals.benchmark.suites import ToolboxSpec
from tracescribe.evals.benchmark.worker_life import Answer
from tracescribe.tracer.errors import WorkError
from tracescribe.tracer.provenance import write_text_atomic

if TYPE_CHECKING:
    from tracescribe.agents.agent import InterpretationAgent
    from tracescribe.agents.report import CircuitReport
    from tracescribe.agents.toolbox import Toolbox
    from tracescribe.tracer.graph import AttributionGraph

KEPT_TOOLBOXES = 2
"""Toolboxes that a worker keeps: suites are run part by part, so that an earlier one hardly comes again."""
TOLD = ("seconds", "llm_calls", "tokens", "usd")
"""What an agent from outside may tell of its own cost."""


class OpenAgent(Protocol):
    """Opens an agent inside a worker; picklable."""

    def __call__(self, seed: int, calls: Path) -> AbstractContextManager[InterpretationAgent]:
        """Open it.

        Args:
            seed: of every random draw.
            calls: file for the record of its calls to a language model.
        """
        ...


@dataclass(frozen=True)
class Contestant:
    """An agent on the board.

    Attributes:
        name: on the board; unique in a run.
        settings: all that decides its results, as plain JSON values; a result made with other settings is not reused.
        open: opens it in a worker.
        paid: whether a case may cost money.
    """

    name: str
    settings: Mapping[str, Any]
    open: OpenAgent
    paid: bool = False


@dataclass(frozen=True)
class TraceTask:
    """Trace a prompt into a graph file."""

    toolbox: ToolboxSpec
    prompt: str
    graph: Path


@dataclass(frozen=True)
class InterpretTask:
    """Let an agent interpret a graph, and write its report.

    Attributes:
        toolbox: None for a graph alone.
        graph_sha256: of the file: every agent is to see the same graph.
        case_id: tells nothing about the circuit.
    """

    contestant: Contestant
    seed: int
    toolbox: ToolboxSpec | None
    graph: Path
    graph_sha256: str
    case_id: str
    budget: Budget
    report: Path
    calls: Path


@dataclass(frozen=True)
class MeasureTask:
    """Measure a report by running the model; what the graph alone can tell, where there is no model."""

    toolbox: ToolboxSpec | None
    graph: Path
    report: Path
    seed: int


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        WorkError: it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise WorkError(f"cannot read {path}: {error.strerror}; run the benchmark again with --fresh") from error


@dataclass(eq=False)
class Worker:
    """Carries out tasks one after the other; toolboxes stay loaded between them."""

    _toolboxes: dict[ToolboxSpec, Toolbox] = field(default_factory=dict, repr=False)

    def __call__(self, task: Any, started: Callable[[], None]) -> Answer:
        """Carry out a task; `started` is told once weights are loaded."""
        toolbox = self._toolbox(task.toolbox)
        try:
            match task:
                case TraceTask():
                    started()
                    return _trace(task, toolbox)
                case InterpretTask():
                    return _interpret(task, toolbox, started)
                case MeasureTask():
                    started()
                    return _measure(task, toolbox)
                case _:
                    raise WorkError(f"a worker does not know the task {type(task).__name__}")
        finally:
            gc.collect()

    def _toolbox(self, spec: ToolboxSpec | None) -> Toolbox:
        from tracescribe.agents.toolbox import Toolbox, load_toolbox

        if spec is None:
            return Toolbox()
        if spec not in self._toolboxes:
            _one_thread()
            while len(self._toolboxes) >= KEPT_TOOLBOXES:
                self._toolboxes.pop(next(iter(self._toolboxes)))
            self._toolboxes[spec] = load_toolbox(spec.model, spec.transcoders, spec.evidence)
        return self._toolboxes[spec]


def _one_thread() -> None:
    """One thread a worker, unless the environment says how many: workers share the cores, and sums do not depend on it."""
    import os

    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1") or "1"))


def _trace(task: TraceTask, toolbox: Toolbox) -> Answer:
    from tracescribe.tracer.attribution import attribute
    from tracescribe.tracer.graph_native import write_native

    assert toolbox.model is not None and toolbox.transcoders is not None, "a toolbox that was loaded has both"
    task.graph.parent.mkdir(parents=True, exist_ok=True)
    write_native(task.graph, attribute(toolbox.model, toolbox.transcoders, task.prompt))
    return {}


def _interpret(task: InterpretTask, toolbox: Toolbox, started: Callable[[], None]) -> Answer:
    graph = _graph(task.graph, task.graph_sha256)
    with task.contestant.open(task.seed, task.calls) as agent:
        started()
        begin = time.monotonic()
        report = agent.interpret(InterpretationCase(case_id=task.case_id, graph=graph), toolbox, task.budget)
        seconds = time.monotonic() - begin
        told = told_cost(agent, report)
    write_text_atomic(task.report, report.model_dump_json(indent=1) + "\n")
    return {"seconds": round(seconds, 3), "told": told}


def told_cost(agent: object, report: CircuitReport) -> dict[str, float | int | None]:
    """What an agent from outside tells of its cost; empty for agents whose cost our own meter counts."""
    found = getattr(agent, "told_cost", None)
    told = found() if callable(found) else found
    if told is None:
        return {}
    values = told if isinstance(told, Mapping) else {name: getattr(told, name, None) for name in TOLD}
    return {name: values[name] for name in TOLD if values.get(name) is not None}


def _measure(task: MeasureTask, toolbox: Toolbox) -> Answer:
    from tracescribe.agents.report import parse_report
    from tracescribe.evals.scorers.by_intervention import score_by_intervention

    report = parse_report(task.report.read_text(encoding="utf-8"))
    found = score_by_intervention(report, toolbox, _graph(task.graph, None), seed=task.seed)
    return {"values": {name: [tally.numerator, tally.denominator] for name, tally in found.items()}}


def _graph(path: Path, sha256: str | None) -> AttributionGraph:
    from tracescribe.tracer.graph_files import read_graph_file

    if sha256 is not None and file_sha256(path) != sha256:
        raise WorkError(f"the graph {path} was changed while the benchmark ran; run it again with --fresh")
    return read_graph_file(path)
