"""The typed state that flows through the loop's LangGraph graph."""

from __future__ import annotations

import operator
from typing import Annotated, TypedDict

from tracescribe.agents.claims import Claim
from tracescribe.agents.findings import (
    ExperimentPlan,
    FeatureLabel,
    Measurement,
    Supernode,
    Verdict,
)
from tracescribe.agents.report import CircuitReport, StepFailure
from tracescribe.agents.survey import Survey


class LoopState(TypedDict):
    """What the steps hand on. Fields with `operator.add` grow; the others are replaced.

    Attributes:
        survey: of the graph.
        labels: proposed, then scored.
        supernodes: all defined so far.
        pending: claims proposed and not yet tested.
        claims: registered so far.
        plans, measurements: of every experiment so far.
        verdicts: of every claim so far; recomputed as a whole, since the correction for multiplicity spans all claims.
        failures: steps that failed without failing the run.
        untestable: (claim id, reason) for claims that could not be tested.
        cut_short: why thinking or testing ended early; None while nothing did.
        rounds: rounds of revision done.
        report: the result; only the last step sets it.
    """

    survey: Survey
    labels: tuple[FeatureLabel, ...]
    supernodes: Annotated[tuple[Supernode, ...], operator.add]
    pending: tuple[Claim, ...]
    claims: Annotated[tuple[Claim, ...], operator.add]
    plans: Annotated[tuple[ExperimentPlan, ...], operator.add]
    measurements: Annotated[tuple[Measurement, ...], operator.add]
    verdicts: tuple[Verdict, ...]
    failures: Annotated[tuple[StepFailure, ...], operator.add]
    untestable: Annotated[tuple[tuple[str, str], ...], operator.add]
    cut_short: str | None
    rounds: int
    report: CircuitReport


class LoopUpdate(TypedDict, total=False):
    """What one step changes; fields as in `LoopState`."""

    survey: Survey
    labels: tuple[FeatureLabel, ...]
    supernodes: tuple[Supernode, ...]
    pending: tuple[Claim, ...]
    claims: tuple[Claim, ...]
    plans: tuple[ExperimentPlan, ...]
    measurements: tuple[Measurement, ...]
    verdicts: tuple[Verdict, ...]
    failures: tuple[StepFailure, ...]
    untestable: tuple[tuple[str, str], ...]
    cut_short: str | None
    rounds: int
    report: CircuitReport


def first_state() -> LoopUpdate:
    """The state before the first step: everything but survey and report, empty."""
    return LoopUpdate(
        labels=(),
        supernodes=(),
        pending=(),
        claims=(),
        plans=(),
        measurements=(),
        verdicts=(),
        failures=(),
        untestable=(),
        cut_short=None,
        rounds=0,
    )
