"""The benchmark: agents times gold circuits, each case scored, written down, and never computed twice.

Every case of every agent ends in one file, written atomically after the case is done, so that a run killed at any moment
loses the running case at most; run again with the same folder, it goes on where it stopped. A case that fails is
recorded as failed: it enters no average, every table tells how many there were, and the next run tries it again.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.evals.gold import GoldCircuit, check_circuit, check_stamp
from tracescribe.evals.scores import Scores, score_report
from tracescribe.tracer.errors import GoldFormatError, SettingError, TracescribeError
from tracescribe.tracer.provenance import sha256_json, version, write_json_atomic, write_text_atomic

if TYPE_CHECKING:
    from tracescribe.agents.agent import InterpretationAgent
    from tracescribe.agents.report import CircuitReport
    from tracescribe.agents.toolbox import Toolbox
    from tracescribe.tracer.graph import AttributionGraph

_log = logging.getLogger(__name__)

CASE_SCHEMA = "tracescribe-bench-case/1"


class CaseResult(BaseModel):
    """How one agent did on one gold circuit.

    Attributes:
        specification: hash of everything that decides the result; a result with another one is not reused.
        status: `scored`, or `failed` with an `error`; a failure has no scores.
        verdicts: number of claims by outcome.
        seconds: of the interpretation, scoring not included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_id: Literal["tracescribe-bench-case/1"] = "tracescribe-bench-case/1"
    agent: str
    gold_id: str
    family: str
    tags: tuple[str, ...]
    specification: str
    status: Literal["scored", "failed"]
    error: str | None = None
    scores: Scores | None = None
    verdicts: dict[str, int] = {}
    cut_short: str | None = None
    seconds: float


class BenchProgress(Protocol):
    """Told after every case of every agent."""

    def __call__(self, done: int, total: int, result: CaseResult, reused: bool) -> None:
        """`reused`: the result was found in the folder."""
        ...


def _silent(done: int, total: int, result: CaseResult, reused: bool) -> None:
    """A `BenchProgress` that tells nobody."""


@dataclass(frozen=True)
class BenchSettings:
    """What is run.

    Attributes:
        tasks: families of gold circuits; empty for all.
        limit: most circuits per family, in the set's order; None for all.
        budget: of one interpretation.
        reuse: take results that the folder already holds.

    Raises:
        SettingError: a limit below 1.
    """

    tasks: tuple[str, ...] = ()
    limit: int | None = None
    budget: Budget = field(default_factory=Budget)
    reuse: bool = True

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise SettingError(f"limit is {self.limit}, but a benchmark needs at least 1 circuit per task")


@dataclass(frozen=True)
class BenchResult:
    """Results of a benchmark, by agent, each in the order of the gold circuits."""

    results: Mapping[str, tuple[CaseResult, ...]]

    def scores(self, agent: str) -> dict[str, Scores]:
        """Scores of one agent's cases by gold id; failed cases are absent."""
        return {result.gold_id: result.scores for result in self.results[agent] if result.scores is not None}

    def failures(self, agent: str) -> tuple[CaseResult, ...]:
        """Cases that an agent failed."""
        return tuple(result for result in self.results[agent] if result.status == "failed")


def choose_circuits(circuits: Sequence[GoldCircuit], settings: BenchSettings) -> tuple[GoldCircuit, ...]:
    """The circuits that a benchmark runs.

    Raises:
        SettingError: a task that no circuit belongs to.
    """
    families = tuple(dict.fromkeys(circuit.family for circuit in circuits))
    unknown = [task for task in settings.tasks if task not in families]
    if unknown:
        raise SettingError(f"no gold circuit belongs to task {unknown[0]!r}; tasks are {', '.join(families)}")
    chosen: list[GoldCircuit] = []
    for family in settings.tasks or families:
        members = [circuit for circuit in circuits if circuit.family == family]
        chosen += members if settings.limit is None else members[: settings.limit]
    return tuple(chosen)


def run_bench(
    agents: Sequence[InterpretationAgent],
    circuits: Sequence[GoldCircuit],
    toolbox: Toolbox,
    out: Path,
    settings: BenchSettings | None = None,
    progress: BenchProgress = _silent,
) -> BenchResult:
    """Run agents on gold circuits and score their reports.

    Args:
        agents: with different names; every one gets the same toolbox and budget, and nothing of the gold.
        circuits: of the toolbox' model and transcoders.
        out: folder of the results; `<agent>/<gold id>.json` and the report beside it.

    Raises:
        SettingError: two agents of one name, a toolbox without a model, or a task without circuits.
        GoldFormatError: gold of other weights.
        OutputError: the folder cannot be written to.
    """
    settings = settings or BenchSettings()
    bench = _Bench(agents, choose_circuits(circuits, settings), toolbox, out, settings)
    return bench.run(progress)


def folder_name(agent: str) -> str:
    """An agent's name as the name of a folder."""
    return re.sub(r"[^a-z0-9._-]+", "-", agent.lower()).strip("-.") or "agent"


class _Bench:
    """One run of the benchmark."""

    def __init__(
        self,
        agents: Sequence[InterpretationAgent],
        circuits: tuple[GoldCircuit, ...],
        toolbox: Toolbox,
        out: Path,
        settings: BenchSettings,
    ) -> None:
        names = [folder_name(agent.name) for agent in agents]
        if len(set(names)) < len(names):
            raise SettingError(f"agents need different names, found {', '.join(agent.name for agent in agents)}")
        if toolbox.model is None or toolbox.transcoders is None:
            raise SettingError("a benchmark needs a toolbox with a model and transcoders; load one with load_toolbox")
        for circuit in circuits:
            check_stamp(circuit, toolbox.model.weights_sha256, toolbox.transcoders.sha256)
        self.agents = agents
        self.circuits = circuits
        self.toolbox = toolbox
        self.out = out
        self.settings = settings

    def run(self, progress: BenchProgress) -> BenchResult:
        """All cases: circuit by circuit, so that a run that is stopped early has compared its agents fairly."""
        found: dict[str, list[CaseResult]] = {agent.name: [] for agent in self.agents}
        total = len(self.agents) * len(self.circuits)
        for circuit in self.circuits:
            graph: AttributionGraph | None = None
            for agent in self.agents:
                specification = self._specification(agent, circuit)
                result = self._stored(agent, circuit, specification)
                reused = result is not None
                if result is None:
                    graph = graph or self._trace(circuit)
                    result = self._interpret(agent, circuit, graph, specification)
                found[agent.name].append(result)
                progress(sum(map(len, found.values())), total, result, reused)
        return BenchResult({name: tuple(results) for name, results in found.items()})

    def _trace(self, circuit: GoldCircuit) -> AttributionGraph:
        from tracescribe.tracer.attribution import attribute

        assert self.toolbox.model is not None and self.toolbox.transcoders is not None, "checked on entry"
        graph = attribute(self.toolbox.model, self.toolbox.transcoders, circuit.prompt)
        check_circuit(circuit, graph)
        return graph

    def _path(self, agent: InterpretationAgent, circuit: GoldCircuit) -> Path:
        return self.out / folder_name(agent.name) / f"{circuit.gold_id}.json"

    def _specification(self, agent: InterpretationAgent, circuit: GoldCircuit) -> str:
        return sha256_json(
            {
                "product": version(),
                "agent": agent.name,
                "settings": agent_settings(agent),
                "pruning": self.toolbox.pruning.as_json(),
                "budget": self.settings.budget.model_dump(mode="json"),
                "gold": circuit.model_dump(mode="json"),
            }
        )

    def _stored(self, agent: InterpretationAgent, circuit: GoldCircuit, specification: str) -> CaseResult | None:
        """The result of an earlier run, if it was made in the same way."""
        path = self._path(agent, circuit)
        if not self.settings.reuse or not path.is_file():
            return None
        try:
            stored = CaseResult.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, ValidationError):
            _log.warning("%s is not a benchmark result; the case is run again", path)
            return None
        if stored.specification != specification:
            _log.info("%s was made in another way; the case is run again", path)
            return None
        return stored if stored.status == "scored" else None

    def _interpret(
        self, agent: InterpretationAgent, circuit: GoldCircuit, graph: AttributionGraph, specification: str
    ) -> CaseResult:
        # the case carries a neutral id: gold ids name the task
        case = InterpretationCase(case_id=sha256_json(circuit.prompt)[:12], prompt=circuit.prompt)
        start = time.monotonic()
        outcome = self._report(agent, case)
        seconds = round(time.monotonic() - start, 3)
        path, scores, error = self._path(agent, circuit), None, outcome if isinstance(outcome, str) else None
        report = None if isinstance(outcome, str) else outcome
        if report is not None:
            write_text_atomic(path.with_suffix(".report.json"), report.model_dump_json(indent=1) + "\n")
            try:
                scores = score_report(report, circuit, graph)
            except GoldFormatError as fault:
                error = f"the report cannot be scored: {fault}"
        result = CaseResult(
            agent=agent.name,
            gold_id=circuit.gold_id,
            family=circuit.family,
            tags=circuit.tags,
            specification=specification,
            status="failed" if scores is None else "scored",
            error=error,
            scores=scores,
            verdicts=report.verdict_counts() if report is not None else {},
            cut_short=report.cut_short if report is not None else None,
            seconds=seconds,
        )
        write_json_atomic(path, result.model_dump(mode="json"))
        return result

    def _report(self, agent: InterpretationAgent, case: InterpretationCase) -> CircuitReport | str:
        """The agent's report, or why there is none."""
        try:
            return agent.interpret(case, self.toolbox, self.settings.budget)
        except Exception as fault:  # noqa: BLE001 - an agent may be anybody's code: it fails its case, not the run
            error = str(fault) if isinstance(fault, TracescribeError) else f"{type(fault).__name__}: {fault}"
            _log.warning("%s failed on %r: %s", agent.name, case.prompt, error, exc_info=True)
            return error


def agent_settings(agent: InterpretationAgent) -> dict[str, object]:
    """Every setting of an agent of this product; for others their name is all that is known."""
    from tracescribe.agents.loop import LoopAgent

    if not isinstance(agent, LoopAgent):
        return {}
    return {
        "proposer": dict(agent.proposer.settings()),
        "prompts": dict(agent.proposer.prompt_versions()),
        "loop": asdict(agent.settings),
    }
