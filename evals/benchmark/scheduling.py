"""Which case is worked on when: circuits outside, agents inside, so that a run that is stopped has compared fairly."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracescribe.evals.benchmark.case_scoring import (
    CaseKey,
    failed_case,
    interpretation_cost,
    interpretation_mark,
    scored_case,
    scoring_mark,
)
from tracescribe.evals.benchmark.processes import Outcome, WorkerPool
from tracescribe.evals.benchmark.results import FAILURE_KINDS, CaseCost, CaseFailure, CaseResult, FailureKind
from tracescribe.evals.benchmark.store import BenchStore
from tracescribe.evals.benchmark.suites import Suite, SuitePart
from tracescribe.evals.benchmark.work import (
    Contestant,
    InterpretTask,
    MeasureTask,
    TraceTask,
    Worker,
    file_sha256,
)
from tracescribe.evals.gold import GoldCircuit, check_circuit, check_stamp
from tracescribe.tracer.errors import InputError, TracescribeError, WorkError
from tracescribe.tracer.provenance import sha256_json

if TYPE_CHECKING:
    from tracescribe.evals.benchmark.settings import BenchProgress, Note, RunSettings
    from tracescribe.evals.scorers.label_similarity import LabelRaters
    from tracescribe.tracer.graph import AttributionGraph

_KIND: dict[str, FailureKind] = {"died": "crash", "timeout": "timeout", "flood": "flood"}
_FIRST, _LATER = 0, 1


@dataclass(eq=False)
class _Circuit:
    """A circuit with cases that are still to be run."""

    number: int
    suite: str
    part: SuitePart
    gold: GoldCircuit
    graph_file: Path
    traced: bool
    cases: list[_Case] = field(default_factory=list)
    graph: AttributionGraph | None = None
    graph_sha256: str = ""
    left: int = 0
    tries: int = 0


@dataclass(eq=False)
class _Case:
    """One agent on one circuit with one seed."""

    circuit: _Circuit
    contestant: Contestant
    seed: int
    specification: str
    report: Path
    cost: CaseCost | None = None
    measured: dict[str, Any] | None = None
    unmeasured: str | None = None
    tries: int = 0


class Schedule:
    """One run: what waits, what is worked on, what is done."""

    def __init__(
        self,
        contestants: Sequence[Contestant],
        suites: Sequence[Suite],
        store: BenchStore,
        settings: RunSettings,
        progress: BenchProgress,
        note: Note,
        raters: LabelRaters,
    ) -> None:
        self._contestants = contestants
        self._store = store
        self._settings = settings
        self._progress = progress
        self._note = note
        self._raters = raters
        self._judge = "" if raters.judge is None else raters.judge.agreement.judge
        self._heap: list[tuple[int, int, int, Callable[[WorkerPool], None]]] = []
        self._order = 0
        self._to_score: deque[_Case] = deque()
        self._done = 0
        self._usd = 0.0
        self._told_limit = False
        circuits = [(suite, part, gold) for suite in suites for part in suite.parts for gold in part.circuits]
        self._total = len(circuits) * len(contestants) * len(settings.seeds)
        for number, (suite, part, gold) in enumerate(circuits):
            self._plan(number, suite, part, gold)

    def run(self) -> None:
        """Work until nothing waits."""
        with WorkerPool(self._settings.jobs, Worker()) as pool:
            while self._heap or pool.busy or self._to_score:
                while self._heap and pool.free:
                    heapq.heappop(self._heap)[3](pool)
                if self._to_score:  # workers have something to do meanwhile
                    self._score(self._to_score.popleft())
                for outcome in pool.wait(0.0 if self._to_score else None):
                    outcome.key(outcome)

    # -- planning -----------------------------------------------------------------------------------------------------

    def _plan(self, number: int, suite: Suite, part: SuitePart, gold: GoldCircuit) -> None:
        file = self._store.graph_file(suite.name, part, gold)
        circuit = _Circuit(number, suite.name, part, gold, file, traced=part.folder is None or gold.graph is None)
        for seed in self._settings.seeds:
            for contestant in self._contestants:
                self._plan_case(circuit, contestant, seed)
        circuit.left = len(circuit.cases)
        if circuit.cases:
            self._push(number, _FIRST, lambda pool: self._prepare(circuit, pool))

    def _plan_case(self, circuit: _Circuit, contestant: Contestant, seed: int) -> None:
        gold, suite = circuit.gold, circuit.suite
        toolbox = circuit.part.toolbox
        interpreted = interpretation_mark(contestant, gold, toolbox, self._settings, seed)
        shufflings = self._shufflings(contestant)
        specification = f"{interpreted}.{scoring_mark(gold, self._settings, shufflings, self._judge)}"
        report = self._store.report_path(suite, contestant.name, seed, gold.gold_id)
        case = _Case(circuit, contestant, seed, specification, report)
        found = self._store.read_result(suite, contestant.name, seed, gold.gold_id)
        if isinstance(found, str):
            self._note(f"{found}; the case is run again")
        elif found is not None and found.status == "scored":
            if found.specification == specification:
                self._done += 1
                self._progress(self._done, self._total, found, True)
                return
            if found.specification.partition(".")[0] == interpreted and report.is_file():
                case.cost = found.cost  # the report stands: only its scores are to be made anew
        circuit.cases.append(case)

    def _push(self, number: int, rank: int, start: Callable[[WorkerPool], None]) -> None:
        self._order += 1
        heapq.heappush(self._heap, (number, rank, self._order, start))

    # -- a circuit's graph --------------------------------------------------------------------------------------------

    def _prepare(self, circuit: _Circuit, pool: WorkerPool) -> None:
        if not circuit.traced or circuit.graph_file.is_file():
            self._open_graph(circuit)
            return
        assert circuit.part.toolbox is not None, "a circuit without a graph has weights"
        circuit.tries += 1
        task = TraceTask(circuit.part.toolbox, circuit.gold.prompt, circuit.graph_file)
        pool.give(lambda outcome: self._traced(circuit, outcome), task, self._settings.limit)

    def _traced(self, circuit: _Circuit, outcome: Outcome) -> None:
        if outcome.kind == "answer":
            self._open_graph(circuit)
        elif outcome.kind == "error":
            # the weights or the prompt are at fault: no agent is
            wrong_call = outcome.answer.get("exit_code") == InputError.exit_code
            raise (InputError if wrong_call else WorkError)(f"gold circuit {circuit.gold.gold_id}: {outcome.message}")
        elif circuit.tries < 2:
            self._push(circuit.number, _FIRST, lambda pool: self._prepare(circuit, pool))
        else:
            failure = CaseFailure(kind=_KIND[outcome.kind], message=f"tracing the prompt: {outcome.message}")
            for case in list(circuit.cases):
                self._finish(case, failed_case(self._key(case), failure, CaseCost(seconds=0.0)))

    def _open_graph(self, circuit: _Circuit) -> None:
        """Read the graph and hold the gold against it: a fault here is the benchmark's, and never booked on an agent."""
        from tracescribe.tracer.graph_files import read_graph_file

        gold = circuit.gold
        graph = read_graph_file(circuit.graph_file)
        check_stamp(gold, *(graph.provenance.get(name) for name in ("model_sha256", "transcoders_sha256")))
        check_circuit(gold, graph, stale=True)
        circuit.graph, circuit.graph_sha256 = graph, file_sha256(circuit.graph_file)
        for case in circuit.cases:
            if case.cost is None:
                self._push(circuit.number, _LATER, self._interpreting(case))
            else:
                self._reported(case)

    # -- a case -------------------------------------------------------------------------------------------------------

    def _interpreting(self, case: _Case) -> Callable[[WorkerPool], None]:
        def start(pool: WorkerPool) -> None:
            if self._too_dear(case):
                self._leave(case)
                return
            circuit, suite = case.circuit, case.circuit.suite
            task = InterpretTask(
                contestant=case.contestant,
                seed=case.seed,
                toolbox=circuit.part.toolbox,
                graph=circuit.graph_file,
                graph_sha256=circuit.graph_sha256,
                case_id=sha256_json(circuit.gold.prompt)[:12],  # neutral: gold ids name the task
                budget=self._settings.budget,
                report=case.report,
                calls=self._store.calls_path(suite, case.contestant.name, case.seed, circuit.gold.gold_id),
            )
            pool.give(lambda outcome: self._interpreted(case, outcome), task, self._settings.limit)

        return start

    def _too_dear(self, case: _Case) -> bool:
        limit = self._settings.max_usd
        if limit is None or not case.contestant.paid or self._usd < limit:
            return False
        if not self._told_limit:
            self._told_limit = True
            self._note(
                f"the run has cost {self._usd:.2f} USD, its limit is {limit:g}: paid cases that wait are left out"
            )
        return True

    def _interpreted(self, case: _Case, outcome: Outcome) -> None:
        if outcome.kind == "answer":
            case.cost = interpretation_cost(outcome.answer)
            self._reported(case)
            return
        told = outcome.answer.get("failure_kind")
        kind: FailureKind = told if told in FAILURE_KINDS else _KIND.get(outcome.kind, "agent error")
        failure = CaseFailure(kind=kind, message=outcome.message)
        self._finish(case, failed_case(self._key(case), failure, CaseCost(seconds=outcome.seconds)))

    def _reported(self, case: _Case) -> None:
        if not self._settings.interventions:
            self._to_score.append(case)
            return
        self._push(case.circuit.number, _FIRST, lambda pool: self._measure(case, pool))

    def _measure(self, case: _Case, pool: WorkerPool) -> None:
        case.tries += 1
        task = MeasureTask(case.circuit.part.toolbox, case.circuit.graph_file, case.report, case.seed)
        pool.give(lambda outcome: self._measured(case, outcome), task, self._settings.limit)

    def _measured(self, case: _Case, outcome: Outcome) -> None:
        if outcome.kind == "answer":
            case.measured = dict(outcome.answer["values"])
            self._to_score.append(case)
        elif outcome.kind == "died" and case.tries < 2:
            self._push(case.circuit.number, _FIRST, lambda pool: self._measure(case, pool))
        else:
            case.unmeasured = outcome.message
            self._note(f"{case.contestant.name} on {case.circuit.gold.gold_id}: not measured: {outcome.message}")
            self._to_score.append(case)

    def _score(self, case: _Case) -> None:
        assert case.circuit.graph is not None and case.cost is not None, "scored after it was interpreted"
        try:
            result = scored_case(
                self._key(case),
                case.report,
                self._store.relative(case.report),
                case.circuit.graph,
                case.measured,
                case.cost,
                self._shufflings(case.contestant),
                self._raters,
            ).model_copy(update={"unmeasured": case.unmeasured})
        except TracescribeError as fault:
            failure = CaseFailure(kind="scoring", message=f"the report cannot be scored: {fault}")
            result = failed_case(self._key(case), failure, case.cost)
        self._finish(case, result)

    def _shufflings(self, contestant: Contestant) -> int:
        """The control is of one agent: what chance gives is much the same for all, and shuffling is slow."""
        return self._settings.shufflings if contestant is self._contestants[0] else 0

    def _key(self, case: _Case) -> CaseKey:
        circuit = case.circuit
        return CaseKey(case.contestant.name, circuit.suite, circuit.gold, case.seed, case.specification)

    def _finish(self, case: _Case, result: CaseResult) -> None:
        self._store.write_result(result)
        self._usd += result.cost.usd or 0.0
        self._done += 1
        self._progress(self._done, self._total, result, False)
        self._leave(case)

    def _leave(self, case: _Case) -> None:
        case.circuit.left -= 1
        if not case.circuit.left:
            case.circuit.graph = None
            case.circuit.cases.clear()
