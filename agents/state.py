"""The typed state that flows through the loop's LangGraph graph: plain data, so that it can be kept on disk.

The survey is no part of it: it holds arrays, and is computed again where a run goes on in another process.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Annotated, TypedDict

from tracescribe.agents.claims import Claim
from tracescribe.agents.findings import (
    CircuitEffect,
    ExperimentPlan,
    FeatureLabel,
    Measurement,
    Supernode,
    Verdict,
)
from tracescribe.agents.report import CircuitReport, StepFailure, Stopped
from tracescribe.agents.tools_snapshot import ToolsSnapshot


def with_supernodes(known: Sequence[Supernode], more: Sequence[Supernode]) -> tuple[Supernode, ...]:
    """Supernodes with others added: one with a known id takes the known one's place, the rest come behind."""
    return tuple({supernode.supernode_id: supernode for supernode in (*known, *more)}.values())


class LoopState(TypedDict):
    """What the steps hand on. Fields with `operator.add` grow; supernodes grow or are renewed; the others are replaced.

    Attributes:
        screened: whether the screen came through; then the survey holds what it brought in.
        labels: proposed, then scored.
        supernodes: all defined so far; their quality is filled in by the step `assess`.
        pending: claims proposed and not yet tested.
        claims: registered so far.
        plans, measurements: of every experiment so far.
        verdicts: of every claim so far; recomputed as a whole, since the correction for multiplicity spans all claims.
        circuit: what the supernodes that stand do together; None where it was not measured.
        failures: steps that failed without failing the run.
        untestable: (claim id, reason) for claims that could not be tested.
        cut_short: why thinking or testing ended early; None while nothing did.
        rounds: rounds of revision done.
        answered: how many of the claims, from the first, a revision has seen the verdicts of.
        stopped: why revision ended; None while it may go on.
        tools: what was spent, given out and remembered by the end of the step before.
        seconds: spent in each step, over all processes of the run.
        report: the result; only the last step sets it.
    """

    screened: bool
    labels: tuple[FeatureLabel, ...]
    supernodes: Annotated[tuple[Supernode, ...], with_supernodes]
    pending: tuple[Claim, ...]
    claims: Annotated[tuple[Claim, ...], operator.add]
    plans: Annotated[tuple[ExperimentPlan, ...], operator.add]
    measurements: Annotated[tuple[Measurement, ...], operator.add]
    verdicts: tuple[Verdict, ...]
    circuit: CircuitEffect | None
    failures: Annotated[tuple[StepFailure, ...], operator.add]
    untestable: Annotated[tuple[tuple[str, str], ...], operator.add]
    cut_short: str | None
    rounds: int
    answered: int
    stopped: Stopped | None
    tools: ToolsSnapshot
    seconds: dict[str, float]
    report: CircuitReport


class LoopUpdate(TypedDict, total=False):
    """What one step changes; fields as in `LoopState`."""

    screened: bool
    labels: tuple[FeatureLabel, ...]
    supernodes: tuple[Supernode, ...]
    pending: tuple[Claim, ...]
    claims: tuple[Claim, ...]
    plans: tuple[ExperimentPlan, ...]
    measurements: tuple[Measurement, ...]
    verdicts: tuple[Verdict, ...]
    circuit: CircuitEffect | None
    failures: tuple[StepFailure, ...]
    untestable: tuple[tuple[str, str], ...]
    cut_short: str | None
    rounds: int
    answered: int
    stopped: Stopped | None
    tools: ToolsSnapshot
    seconds: dict[str, float]
    report: CircuitReport


def first_state(tools: ToolsSnapshot | None = None, seconds: dict[str, float] | None = None) -> LoopUpdate:
    """The state before the first step: everything but the report, empty."""
    return LoopUpdate(
        screened=False,
        labels=(),
        supernodes=(),
        pending=(),
        claims=(),
        plans=(),
        measurements=(),
        verdicts=(),
        circuit=None,
        failures=(),
        untestable=(),
        cut_short=None,
        rounds=0,
        answered=0,
        stopped=None,
        tools=tools or ToolsSnapshot(),
        seconds=dict(seconds or {}),
    )
