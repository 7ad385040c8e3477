"""What an agent is, and what thinks inside one.

An `InterpretationAgent` turns a case into a report. All agents of this package run the same loop (`agents.loop`); they
differ in their `Proposer` alone, which labels, groups, and proposes claims. A proposer never tests, judges or reports:
code does that, by rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeVar, runtime_checkable

from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.claims import Claim
from tracescribe.agents.findings import CircuitEffect, FeatureLabel, Measurement, Supernode, SupernodeEdge, Verdict
from tracescribe.agents.report import CircuitReport, StepFailure
from tracescribe.agents.survey import Survey
from tracescribe.tracer.graph import FeatureNode

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.agents.durable.run_store import RunStore
    from tracescribe.agents.toolbox import Toolbox

Item_co = TypeVar("Item_co", covariant=True)


@dataclass(frozen=True)
class Proposal(Generic[Item_co]):
    """What one thinking step gives: its items, and the failures met on the way (recorded in the report)."""

    items: tuple[Item_co, ...] = ()
    failures: tuple[StepFailure, ...] = ()


@dataclass(frozen=True)
class Findings:
    """Everything found in the rounds so far, for the step that revises.

    Attributes:
        rounds: of revision done so far.
        circuit: what the circuit as a whole does; None where nothing can be run.
        labels: with detection scores where there is evidence.
        supernodes, claims: all that were defined and registered.
        measurements, verdicts: of every claim so far.
    """

    labels: tuple[FeatureLabel, ...]
    supernodes: tuple[Supernode, ...]
    claims: tuple[Claim, ...]
    measurements: tuple[Measurement, ...]
    verdicts: tuple[Verdict, ...]
    rounds: int = 0
    circuit: CircuitEffect | None = None


@dataclass(frozen=True)
class Revision:
    """New supernodes and new claims after a round of verdicts; earlier ones stand as they are.

    Attributes:
        supernodes: new ones, with new ids.
        claims: new ones, with new ids.
    """

    supernodes: tuple[Supernode, ...] = ()
    claims: tuple[Claim, ...] = ()
    failures: tuple[StepFailure, ...] = ()


@dataclass(frozen=True)
class PoorLabel:
    """A label that scored poorly, sent back once.

    Attributes:
        label: with its scores.
        missed: contexts in which the feature fires and the label says that it does not, or on which words it fires; each as
            text in which every token that it fires on is marked as `<<token>>`.
        false_alarms: contexts in which the feature is silent and the label says that it fires; nothing in them is marked.
        missed_ids, false_alarm_ids: ids of the same contexts, for who can look them up.
    """

    label: FeatureLabel
    missed: tuple[str, ...]
    false_alarms: tuple[str, ...]
    missed_ids: tuple[str, ...] = ()
    false_alarm_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class JudgeTask:
    """One context to be judged by a label's words alone.

    Attributes:
        text: the context; for fuzzing with some tokens marked as `<<token>>`.
    """

    text: str


class LabelJudge(Protocol):
    """Tells from a label's words alone where a feature fires."""

    @property
    def name(self) -> str:
        """The model's name and the prompt's version, as `JudgedScore.judge` holds it."""
        ...

    def judge(
        self,
        tools: CaseTools,
        label: FeatureLabel,
        method: Literal["detection", "fuzzing"],
        tasks: Sequence[JudgeTask],
    ) -> tuple[bool | None, ...]:
        """One answer for each task; None where no usable one came.

        Raises:
            BudgetExceededError: a limit is reached.
        """
        ...


class Proposer(Protocol):
    """The thinking steps of the loop.

    Every step may raise a `WorkError`: the loop then records the failure, and goes on with what it has. New ids come
    from `tools.new_claim_id()` and `tools.new_supernode_id()`. A `BudgetExceededError` ends the thinking; the report is
    then marked as cut short.
    """

    @property
    def name(self) -> str:
        """The agent's name, as reports and leaderboards show it."""
        ...

    def settings(self) -> Mapping[str, object]:
        """Every setting that decides the outcome, as plain JSON values."""
        ...

    def prompt_versions(self) -> Mapping[str, str]:
        """Prompt template versions by id; empty where no language model is asked."""
        ...

    def label(self, tools: CaseTools, survey: Survey) -> Proposal[FeatureLabel]:
        """Label the features of the survey, without scores: the loop scores labels on contexts unseen here."""
        ...

    def label_judge(self) -> LabelJudge | None:
        """Who judges labels by their words; None where code judges them by their predicates alone."""
        ...

    def relabel(self, tools: CaseTools, survey: Survey, poor: tuple[PoorLabel, ...]) -> Proposal[FeatureLabel]:
        """Better labels for those that scored poorly, made once from counter-examples; one left out stays as it was."""
        ...

    def group(self, tools: CaseTools, survey: Survey, labels: tuple[FeatureLabel, ...]) -> Proposal[Supernode]:
        """Group features into supernodes; a feature may stay ungrouped."""
        ...

    def hypothesise(
        self,
        tools: CaseTools,
        survey: Survey,
        labels: tuple[FeatureLabel, ...],
        supernodes: tuple[Supernode, ...],
    ) -> Proposal[Claim]:
        """Propose claims about the supernodes and labels; the loop registers and tests them."""
        ...

    def revise(self, tools: CaseTools, survey: Survey, findings: Findings) -> Revision:
        """Answer the verdicts with new supernodes and claims; an empty revision ends the loop."""
        ...

    def rank(self, tools: CaseTools, survey: Survey, supernodes: tuple[Supernode, ...]) -> Mapping[FeatureNode, float]:
        """How much every feature node of `survey.full` matters, larger is more; nodes left out come last.

        Args:
            supernodes: as the report will hold them, rejected ones marked.
        """
        ...

    def connect(
        self, tools: CaseTools, survey: Survey, supernodes: tuple[Supernode, ...], edges: tuple[SupernodeEdge, ...]
    ) -> tuple[SupernodeEdge, ...]:
        """Which edges of the circuit the report tells: some or all of `edges`, as they are.

        Args:
            edges: every edge between the supernodes, input tokens and outputs, with the graph's summed direct effects.
        """
        ...


class Progress(Protocol):
    """Told when a step of the loop begins and ends."""

    def __call__(self, step: str, status: str, detail: str, seconds: float) -> None:
        """`status` is `start` or `done`; `detail` says in a few words what the step found; `seconds` it took."""
        ...


def no_progress(step: str, status: str, detail: str, seconds: float) -> None:
    """A `Progress` that tells nobody."""


@runtime_checkable
class InterpretationAgent(Protocol):
    """Turns a case into a circuit report."""

    @property
    def name(self) -> str:
        """The agent's name, as reports and leaderboards show it."""
        ...

    def interpret(
        self, case: InterpretationCase, toolbox: Toolbox, budget: Budget, progress: Progress = no_progress
    ) -> CircuitReport:
        """Interpret one circuit.

        Raises:
            InputError: the case cannot be interpreted at all (unknown word, over-long prompt, ...).
        """
        ...


class DurableAgent(InterpretationAgent, Protocol):
    """An agent whose run can be kept on disk; every agent of this package is one."""

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
            store: where the run is kept, so that it goes on where it stopped after a kill; None keeps it in memory.

        Raises:
            InputError: the case cannot be interpreted at all, or the store holds another run.
        """
        ...
