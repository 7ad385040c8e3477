"""What an agent is, and what thinks inside one.

An `InterpretationAgent` turns a case into a report. All agents of this package run the same loop (`agents.loop`); they
differ in their `Proposer` alone, which labels, groups, and proposes claims. A proposer never tests, judges or reports:
code does that, by rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, runtime_checkable

from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.claims import Claim
from tracescribe.agents.findings import FeatureLabel, Measurement, Supernode, Verdict
from tracescribe.agents.report import CircuitReport, StepFailure
from tracescribe.agents.survey import Survey

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools
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
        labels: with detection scores where there is evidence.
        supernodes, claims: all that were defined and registered.
        measurements, verdicts: of every claim so far.
    """

    labels: tuple[FeatureLabel, ...]
    supernodes: tuple[Supernode, ...]
    claims: tuple[Claim, ...]
    measurements: tuple[Measurement, ...]
    verdicts: tuple[Verdict, ...]


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
