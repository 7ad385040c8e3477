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
    SupernodeEdge,
    Verdict,
)
from tracescribe.agents.report import CircuitReport, StepFailure
from tracescribe.agents.survey import Survey


class LoopState(TypedDict, total=False):
    """What the steps hand on. Fields with `operator.add` grow; the others are replaced.

    Attributes:
        survey: of the graph.
        labels: proposed, then scored.
        supernodes: all defined so far.
        edges: summed direct effects between supernodes, embeddings and logits.
        pending: claims proposed and not yet registered.
        claims: registered so far.
        plans, measurements: of every experiment so far.
        verdicts: of every claim so far; recomputed as a whole, since the correction for multiplicity spans all claims.
        failures: steps that failed without failing the run.
        untestable: reason by claim id, for claims that could not be tested.
        cut_short: why thinking or testing ended early; None while nothing did.
        rounds: rounds of revision done.
        report: the result.
    """

    survey: Survey
    labels: tuple[FeatureLabel, ...]
    supernodes: Annotated[tuple[Supernode, ...], operator.add]
    edges: tuple[SupernodeEdge, ...]
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
