"""The loop that every agent runs: a LangGraph graph with typed state, around one `Proposer`.

    trace -> survey -> screen -> evidence -> label -> test_labels -> group -> hypothesise
          -> register -> experiment -> judge -> revise -> (register again, or) report

The proposer thinks (label, group, hypothesise, revise); everything else is code. A step that fails is recorded and the
loop goes on with what it has; a budget that runs out ends thinking and testing, and the report says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

from tracescribe.agents.agent import Findings, Progress, Proposal, Proposer, no_progress
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.loop_settings import LoopSettings
from tracescribe.agents.report import CircuitReport, StepFailure
from tracescribe.agents.state import LoopState, LoopUpdate, first_state
from tracescribe.tracer.errors import BudgetExceededError, WorkError

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.agents.durable.run_store import RunStore
    from tracescribe.agents.toolbox import Toolbox

__all__ = ["STEPS", "LoopAgent", "LoopSettings", "StepClock"]

STEPS: tuple[str, ...] = (
    "trace",
    "survey",
    "screen",
    "evidence",
    "label",
    "test_labels",
    "group",
    "hypothesise",
    "register",
    "experiment",
    "judge",
    "revise",
    "report",
)
"""Every step, in the order of a first pass."""
RECURSION_LIMIT = 100
"""Steps after which LangGraph takes the loop for endless: a first pass and some twenty rounds of revision."""


@dataclass(frozen=True)
class LoopAgent:
    """An `InterpretationAgent`: the loop around a proposer.

    Attributes:
        proposer: what thinks.
        settings: of the loop.
    """

    proposer: Proposer
    settings: LoopSettings = field(default_factory=LoopSettings)

    @property
    def name(self) -> str:
        """The proposer's name."""
        return self.proposer.name

    def interpret(
        self,
        case: InterpretationCase,
        toolbox: Toolbox,
        budget: Budget,
        progress: Progress = no_progress,
        store: RunStore | None = None,
    ) -> CircuitReport:
        """Interpret one circuit.

        Raises:
            InputError: the prompt or graph cannot be interpreted at all.
            BudgetExceededError: the budget does not even allow the prompt to be traced.
        """
        clock = StepClock(progress)
        with clock.step("trace") as found:
            tools = toolbox.open(case, budget, seed=self.settings.seed)
            found(f"{tools.full.n_nodes} nodes, {tools.pruned.n_nodes} kept")
        run = _LoopRun(tools, self.proposer, self.settings, clock)
        state = run.compile().invoke(first_state(), {"recursion_limit": RECURSION_LIMIT})
        report: CircuitReport = state["report"]
        return report


class StepClock:
    """Times the steps, and tells a `Progress` about them."""

    def __init__(self, progress: Progress) -> None:
        self.seconds: dict[str, float] = {}
        self._progress = progress

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """Time one step; call what it yields with a few words on what was found."""
        details: list[str] = []
        self._progress(name, "start", "", 0.0)
        start = time.monotonic()
        try:
            yield details.append
        finally:
            spent = time.monotonic() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + spent
            self._progress(name, "done", "; ".join(details), spent)


class _Node(Protocol):
    """A node as LangGraph calls it."""

    def __call__(self, state: LoopState) -> LoopUpdate: ...


class _LoopRun:
    """One pass through the graph: the steps, bound to one case."""

    def __init__(self, tools: CaseTools, proposer: Proposer, settings: LoopSettings, clock: StepClock) -> None:
        self.tools = tools
        self.proposer = proposer
        self.settings = settings
        self.clock = clock

    def compile(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        """The LangGraph graph."""
        from langgraph.graph import END, START, StateGraph

        graph = StateGraph(LoopState)
        steps = STEPS[1:]
        for name in steps:
            graph.add_node(name, self._timed(name, getattr(self, f"_{name}")))
        graph.add_edge(START, steps[0])
        for here, there in pairwise(steps):
            if here != "revise":
                graph.add_edge(here, there)
        graph.add_conditional_edges("revise", lambda state: "register" if state["pending"] else "report")
        graph.add_edge("report", END)
        return graph.compile()

    def _timed(self, name: str, step: Callable[[LoopState, Callable[[str], None]], LoopUpdate]) -> _Node:
        """The step as a node: timed; a failure is recorded, an empty budget cuts the rest short."""

        def node(state: LoopState) -> LoopUpdate:
            with self.clock.step(name) as found:
                try:
                    return step(state, found)
                except BudgetExceededError as error:
                    found("cut short")
                    return LoopUpdate(cut_short=str(error), pending=())
                except WorkError as error:
                    if name in ("survey", "judge", "report"):
                        raise
                    found("failed")
                    return LoopUpdate(failures=(StepFailure(step=name, error=str(error)),))

        return node

    # -- steps --------------------------------------------------------------------------------------------------------

    def _survey(self, state: LoopState, found: Callable[[str], None]) -> LoopUpdate:
        from tracescribe.agents.survey import make_survey

        survey = make_survey(self.tools)
        found(f"{len(survey.features)} features, answer {survey.target_token!r}")
        return LoopUpdate(survey=survey)

    def _screen(self, state: LoopState, found: Callable[[str], None]) -> LoopUpdate:
        from tracescribe.agents.screening import screen

        survey = screen(self.tools, state["survey"])
        found(f"{len(survey.screened)} features needed that the graph does not show")
        return LoopUpdate(survey=survey)

    def _evidence(self, state: LoopState, found: Callable[[str], None]) -> LoopUpdate:
        seen = [self.tools.evidence(node.ref) for node in state["survey"].features]
        contexts = sum(len(evidence.contexts) for evidence in seen if evidence is not None)
        found(f"{contexts} contexts of {sum(e is not None for e in seen)} features")
        return LoopUpdate()

    def _label(self, state: LoopState, found: Callable[[str], None]) -> LoopUpdate:
        proposal = self.proposer.label(self.tools, state["survey"])
        found(f"{len(proposal.items)} labels")
        return LoopUpdate(labels=proposal.items, failures=proposal.failures)

    def _test_labels(self, state: LoopState, found: Callable[[str], None]) -> LoopUpdate:
        from tracescribe.agents.label_scores import score_labels

        labels = score_labels(self.tools, state["labels"], self.settings.experiments)
        scores = [label.score.auc for label in labels if label.score is not None]
        found(f"mean AUC {sum(scores) / len(scores):.2f} over {len(scores)} labels" if scores else "no contexts")
        return LoopUpdate(labels=labels)

    def _group(self, state: LoopState, found: Callable[[str], None]) -> LoopUpdate:
        proposal = self.proposer.group(self.tools, state["survey"], state["labels"])
        found(f"{len(proposal.items)} supernodes")
        return LoopUpdate(supernodes=proposal.items, failures=proposal.failures)

    def _hypothesise(self, state: LoopState, found: Callable[[str], None]) -> LoopUpdate:
        proposal = Proposal[Any]()
        if state["supernodes"] and state["cut_short"] is None:
            proposal = self.proposer.hypothesise(self.tools, state["survey"], state["labels"], state["supernodes"])
        found(f"{len(proposal.items)} claims")
        return LoopUpdate(pending=proposal.items, failures=proposal.failures)

    def _register(self, state: LoopState, found: Callable[[str], None]) -> LoopUpdate:
        pending = state["pending"]
        for supernode in state["supernodes"]:
            self.tools.registry.define(supernode)
        for claim in pending:
            self.tools.registry.register(claim)
        found(f"{len(pending)} claims")
        return LoopUpdate(claims=pending)

    def _experiment(self, state: LoopState, found: Callable[[str], None]) -> LoopUpdate:
        from tracescribe.agents.experiments import run_experiments

        batch = run_experiments(self.tools, state["supernodes"], state["pending"], self.settings.experiments)
        found(f"{len(batch.measurements)} experiments")
        return LoopUpdate(
            plans=batch.plans,
            measurements=batch.measurements,
            untestable=batch.untestable,
            cut_short=batch.cut_short or state["cut_short"],
            pending=(),
        )

    def _judge(self, state: LoopState, found: Callable[[str], None]) -> LoopUpdate:
        from tracescribe.agents.verdicts import judge

        verdicts = judge(
            state["claims"],
            state["plans"],
            state["measurements"],
            dict(state["untestable"]),
        )
        outcomes = [verdict.outcome for verdict in verdicts]
        found(", ".join(f"{outcomes.count(o)} {o}" for o in sorted(set(outcomes))))
        return LoopUpdate(verdicts=verdicts)

    def _revise(self, state: LoopState, found: Callable[[str], None]) -> LoopUpdate:
        if state["rounds"] >= self.settings.max_rounds or state["cut_short"] is not None or not self.tools.can_test:
            return LoopUpdate(pending=())
        findings = Findings(
            state["labels"],
            state["supernodes"],
            state["claims"],
            state["measurements"],
            state["verdicts"],
        )
        revision = self.proposer.revise(self.tools, state["survey"], findings)
        found(f"{len(revision.claims)} new claims")
        return LoopUpdate(
            supernodes=revision.supernodes,
            pending=revision.claims,
            failures=revision.failures,
            rounds=state["rounds"] + 1,
        )

    def _report(self, state: LoopState, found: Callable[[str], None]) -> LoopUpdate:
        from tracescribe.agents.assembly import assemble_report

        report = assemble_report(self.tools, self.proposer, self.settings, state, self.clock.seconds)
        found(f"{len(report.summary)} sentences")
        return LoopUpdate(report=report)
