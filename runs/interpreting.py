"""From a prompt or a graph file to a report folder: load, trace, let an agent interpret, write."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracescribe.runs import terminal
from tracescribe.runs.loading import choose_threads, named_or_path
from tracescribe.runs.workspace import default_report_folder, prepare_folder
from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tracescribe.agents.budget import Budget
    from tracescribe.agents.durable.run_store import RunStore
    from tracescribe.agents.rendering import ReportFiles
    from tracescribe.agents.report import CircuitReport
    from tracescribe.agents.toolbox import Toolbox
    from tracescribe.runs.agent_choice import PreparedAgent
    from tracescribe.runs.call_summary import CallSummary
    from tracescribe.tracer.graph import AttributionGraph

CALL_LOG = "llm_calls.jsonl"
"""The record of every language-model call beside a report: what it holds is not asked, and not paid for, again."""
RUN_FOLDER = "run"
"""The run itself beside its report, so that the same call goes on with it after a kill."""
GRAPH_FILE = "graph.json"
"""The unpruned graph beside a report: what was interpreted, and what scores are computed against."""

STEP_NAMES = {
    "trace": "blind",
    "survey": "prune",
    "test_labels": "test labels",
}
"""What people read for a step of the loop, where it differs from its name. The command line has traced already
(see docs/decisions/0007-trace-once.md): the loop's first step only blinds the graph."""


@dataclass(frozen=True)
class InterpretRequest:
    """One call of `tracescribe interpret`.

    Attributes:
        prompt: the text to interpret, or None for a graph.
        graph: a graph file, or None for a prompt.
        model, transcoders: names or folders; without effect if `weights` is False.
        evidence: folder of a scan; None takes the embedded model's own for it, and none for others.
        weights: whether to load the model; False interprets a graph alone, and no claim is tested.
        out: folder of the report.
        keep: whether the run is kept in the folder, so that the same call goes on with it after a kill.
        fresh: throw away an unfinished run that is there.
    """

    prompt: str | None
    graph: Path | None
    model: str
    transcoders: str
    evidence: Path | None
    weights: bool
    out: Path
    keep: bool = True
    fresh: bool = False


@dataclass(frozen=True, eq=False)
class Interpretation:
    """A report, and everything about how it came to be.

    Attributes:
        report: as the agent gave it.
        graph: that was interpreted, unpruned.
        toolbox: what the agent could act on.
        files: of the report.
        graph_file: the graph beside them.
        seconds: by step, as people saw them.
        resumed: whether an unfinished run was gone on with.
        calls: what was sent to a language model, and how it went; None where none was asked.
    """

    report: CircuitReport
    graph: AttributionGraph
    toolbox: Toolbox
    files: ReportFiles
    graph_file: Path
    seconds: Mapping[str, float]
    resumed: bool = False
    calls: CallSummary | None = None

    def to_json(self) -> dict[str, Any]:
        """The outcome as plain JSON values."""
        report = self.report
        return {
            "prompt": report.prompt,
            "answer": report.targets[0].token if report.targets else None,
            "report": str(self.files.json),
            "html": str(self.files.html),
            "markdown": str(self.files.markdown),
            "graph": str(self.graph_file),
            "tested": report.tested,
            "cut_short": report.cut_short,
            "verdicts": report.verdict_counts(),
            "failures": [failure.model_dump(mode="json") for failure in report.failures],
            "stopped": None if report.stopped is None else report.stopped.model_dump(mode="json"),
            "resumed": self.resumed,
            "cost": report.cost.model_dump(mode="json", exclude={"seconds", "seconds_by_step"}),
            "language_model": None if self.calls is None else self.calls.as_json(),
            "seconds": {step: round(seconds, 3) for step, seconds in self.seconds.items()},
            "seconds_total": round(sum(self.seconds.values()), 3),
        }


class LoopProgress:
    """Shows the steps of an agent's loop in a step log."""

    def __init__(self, log: terminal.StepLog) -> None:
        self._log = log

    def __call__(self, step: str, status: str, detail: str, seconds: float) -> None:
        """Begin or finish a step.

        Args:
            step: its name in the loop.
            status: `start` or `done`.
            detail: what it found.
            seconds: not used; the log has its own clock.
        """
        if status == "start":
            self._log.begin(STEP_NAMES.get(step, step))
        elif sys.exc_info()[0] is not None:
            # the loop tells the end of a step also while an error passes through it
            self._log.abandon()
        else:
            self._log.finish(detail)


def run_interpretation(
    request: InterpretRequest,
    chosen: PreparedAgent,
    budget: Budget,
    log: terminal.StepLog,
) -> Interpretation:
    """Interpret a prompt or a graph, and write the report.

    Args:
        request: what to interpret, with what, and where the report goes.
        chosen: the agent; entered once the graph is there, so that a call that was wrong leaves no file.
        budget: of the interpretation.
        log: shows the steps.

    Raises:
        InputError: the prompt, the graph, the model or the transcoders cannot be used; or the folder holds an
            unfinished run of something else.
        WorkError: the work failed.
        OutputError: the folder cannot be written to; found out before any work.
    """
    check_sources(request)
    folder = prepare_folder(request.out)
    from tracescribe.agents.case import InterpretationCase
    from tracescribe.agents.durable.run_store import RunStore
    from tracescribe.agents.rendering import write_report
    from tracescribe.runs.call_summary import summarise_calls
    from tracescribe.tracer.graph_json import write_graph

    graph, toolbox = open_case(request, log)
    # the case's name enters no path and tells nothing: gold is found by prompt, never by name
    case = InterpretationCase(case_id="case", graph=graph)
    store = RunStore(folder / RUN_FOLDER) if request.keep else None
    resumed = _begin(store, request.fresh)
    with _told_how_to_go_on(store, log), chosen.enter(folder / CALL_LOG) as agent:
        report = agent.interpret(case, toolbox, budget, LoopProgress(log), store)
        with log.step("write") as details:
            graph_file = folder / GRAPH_FILE
            write_graph(graph_file, graph)
            files = write_report(report, graph, folder, evidence=toolbox.look_up if report.tested else None)
            details.append(str(folder))
        if store is not None:
            store.finish()
    calls = None if chosen.llm is None else summarise_calls(report, folder / CALL_LOG)
    return Interpretation(report, graph, toolbox, files, graph_file, dict(log.seconds), resumed, calls)


def _begin(store: RunStore | None, fresh: bool) -> bool:
    """Whether an unfinished run is there to go on with; with `fresh` it is thrown away."""
    if store is None or not store.is_unfinished:
        return False
    if fresh:
        store.fresh()
        return False
    terminal.stderr().print(terminal.styled(f"  going on with the unfinished run in {store.folder}"), soft_wrap=True)
    return True


@contextmanager
def _told_how_to_go_on(store: RunStore | None, log: terminal.StepLog) -> Iterator[None]:
    """Tell what becomes of a run that stops before its report is written, whatever stopped it."""
    try:
        yield
    except BaseException as error:
        log.abandon()
        # a wrong call has its own cure in its message, and the run that is there may be another's
        if store is not None and store.is_unfinished and not isinstance(error, InputError):
            told = f"  the run is kept in {store.folder}: the same command goes on with it, --fresh starts anew"
            terminal.stderr().print(terminal.styled(told), soft_wrap=True)
        raise


def report_folder(prompt: str | None, graph: Path | None) -> Path:
    """Where a report goes when nobody says: named after its prompt, or after its graph file."""
    return default_report_folder(prompt if prompt is not None else graph.stem if graph is not None else "")


def check_sources(request: InterpretRequest) -> None:
    """Raise an `InputError` unless there is exactly one thing to interpret, and weights where they are needed."""
    if (request.prompt is None) == (request.graph is None):
        raise InputError("give either a prompt or a graph: --prompt, --prompt-file or --graph, and only one of them")
    if request.prompt is not None and not request.weights:
        raise InputError("a prompt cannot be traced without weights; leave --no-weights out, or give a --graph")


def open_case(request: InterpretRequest, log: terminal.StepLog) -> tuple[AttributionGraph, Toolbox]:
    """The graph to interpret, and what the agent may act on: reads or traces, and loads.

    Raises:
        InputError: the prompt, the graph, the model or the transcoders cannot be used.
    """
    from tracescribe.tracer.graph_files import read_graph_file

    graph: AttributionGraph | None = None
    if request.graph is not None:
        with log.step("read") as details:
            graph = read_graph_file(request.graph.expanduser())
            details.append(f"{graph.n_nodes} nodes, {len(graph.edges)} edges")
    with log.step("load") as details:
        toolbox = _toolbox(request)
        details.append(_loaded(toolbox))
    if graph is None:
        with log.step("trace") as details:
            graph = _trace(request, toolbox)
            details.append(f"{graph.n_nodes} nodes, {len(graph.edges)} edges")
    return graph, toolbox


def _toolbox(request: InterpretRequest) -> Toolbox:
    from tracescribe.agents.toolbox import Toolbox, load_toolbox
    from tracescribe.tracer import embedded

    if not request.weights:
        return Toolbox()
    evidence: str | Path | None = request.evidence
    if evidence is None and request.model == embedded.MODEL_ID:
        evidence = embedded.MODEL_ID
    toolbox = load_toolbox(named_or_path(request.model), named_or_path(request.transcoders), evidence)
    if toolbox.model is not None:
        choose_threads(toolbox.model)
    return toolbox


def _loaded(toolbox: Toolbox) -> str:
    if toolbox.model is None:
        return "no weights: claims will stay untested"
    scan = "no evidence: labels come from the graph alone"
    if toolbox.evidence is not None:
        scan = f"evidence from {toolbox.evidence.n_sentences} sentences"
    return f"{toolbox.model.model_id}, {scan}"


def _trace(request: InterpretRequest, toolbox: Toolbox) -> AttributionGraph:
    from tracescribe.tracer.attribution import attribute

    assert request.prompt is not None and toolbox.model is not None and toolbox.transcoders is not None
    return attribute(toolbox.model, toolbox.transcoders, request.prompt)
