"""The loop that every agent runs: a LangGraph graph with typed state, around one `Proposer`.

    trace -> survey -> screen -> evidence -> label -> test_labels -> group -> hypothesise
          -> register -> experiment -> judge -> assess -> revise -> (register again, or) report

The proposer thinks (label, group, hypothesise, revise); everything else is code. A step that fails is recorded and the
loop goes on with what it has; a budget that runs out ends thinking and testing, and the report says so.

With a `RunStore`, the state is on disk after every step, and every plan and measurement as it is made: the same call
after a kill goes on at the step that the kill cut off.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tracescribe.agents.agent import Progress, Proposer, no_progress
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.loop_graph import STEPS, DrawnEdge, GraphDrawing, compile_loop, graph_drawing
from tracescribe.agents.loop_settings import LoopSettings
from tracescribe.agents.loop_steps import LoopSteps, StepClock
from tracescribe.agents.report import CircuitReport
from tracescribe.agents.state import first_state

if TYPE_CHECKING:
    from pydantic import JsonValue

    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.agents.durable.run_store import OpenRun, RunStore
    from tracescribe.agents.toolbox import Toolbox

__all__ = ["STEPS", "DrawnEdge", "GraphDrawing", "LoopAgent", "LoopSettings", "StepClock", "graph_drawing"]

STEPS_OF_A_ROUND = 5
"""register, experiment, judge, assess, revise."""


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

        Args:
            store: keeps the run, so that the same call goes on with it after a kill; None keeps it in memory. Until the
                store is told that the run is finished, the same call gives the same report again.

        Raises:
            InputError: the prompt or graph cannot be interpreted at all.
            BudgetExceededError: the budget does not even allow the prompt to be traced.
            RunLockedError: another process works in the store.
            RunMismatchError: the store holds an unfinished run of something else.
            RunDamagedError: the store's files cannot be read.
            RegistryLogError: the store's registry log is damaged, or does not fit its checkpoints.
        """
        clock = StepClock(progress)
        with store.open() if store is not None else nullcontext() as run:
            with clock.step("trace") as found:
                tools = (
                    toolbox.open(case, budget, seed=self.settings.seed)
                    if run is None
                    else toolbox.open(case, budget, seed=self.settings.seed, clock=run.clock)
                )
                found(f"{tools.full.n_nodes} nodes, {tools.pruned.n_nodes} kept")
            return self._in_memory(tools, clock) if run is None else self._kept(run, tools, clock)

    def _in_memory(self, tools: CaseTools, clock: StepClock) -> CircuitReport:
        steps = LoopSteps(tools, self.proposer, self.settings, clock)
        state = compile_loop(steps.nodes()).invoke(first_state(), {"recursion_limit": self._limit})
        report: CircuitReport = state["report"]
        return report

    def _kept(self, run: OpenRun, tools: CaseTools, clock: StepClock) -> CircuitReport:
        from tracescribe.agents.durable.checkpoints import CONFIG

        run.begin(self._fingerprint(tools))
        tools.keep_in(run.registry())
        checkpoints = run.checkpoints()
        before = checkpoints.state()
        if before is not None and "report" in before:
            return before["report"]
        steps = LoopSteps(
            tools,
            self.proposer,
            self.settings,
            clock,
            going_on=before is not None,
            seconds_before=run.seconds_before,
        )
        graph = compile_loop(steps.nodes(), checkpoints.saver)
        start = None if before is not None else first_state(tools.snapshot(), clock.seconds)
        config: Any = {**CONFIG, "recursion_limit": self._limit}
        # `sync`: a step's state is on the disk before the next step begins
        state = graph.invoke(start, config, durability="sync")
        report: CircuitReport = state["report"]
        return report

    @property
    def _limit(self) -> int:
        """Steps after which LangGraph takes the loop for endless."""
        return len(STEPS) + STEPS_OF_A_ROUND * (self.settings.max_rounds + 1)

    def _fingerprint(self, tools: CaseTools) -> Mapping[str, JsonValue]:
        """What a run is of: whoever goes on with it must agree in all of this."""
        from tracescribe.agents.reporting.assembly import provenance_of

        provenance = provenance_of(tools, self.proposer, self.settings)
        return {
            "case": tools.case.case_id,
            "budget": tools.meter.budget.model_dump(mode="json"),
            **provenance.model_dump(mode="json"),
        }
