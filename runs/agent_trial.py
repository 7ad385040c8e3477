"""One case for one agent, to see whether it answers as it should: for who writes an agent of their own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs.agent_choice import AgentChoice, budget_with, prepare_agent
from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from tracescribe.agents.agent import InterpretationAgent
    from tracescribe.agents.case import InterpretationCase
    from tracescribe.agents.report import CircuitReport

PROMPT = "the capital of the state containing Dallas is"
"""Of the case that is tried where none is named."""


@dataclass(frozen=True)
class TrialRequest:
    """Which agent is tried on what.

    Attributes:
        spec: as `--agent` takes it.
        case: id of a case of the oracle suite; None for `prompt` or `graph`.
        prompt: of the embedded model; None with neither of the others takes `PROMPT`.
        graph: a graph file, interpreted alone.
        seconds: of the budget; None leaves the default.
        agent_env: variables that an agent from outside may see.
    """

    spec: str
    case: str | None = None
    prompt: str | None = None
    graph: Path | None = None
    seconds: float | None = None
    seed: int = 0
    agent_env: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trial:
    """What came of it.

    Attributes:
        agent: its name.
        prompt: of the case.
        seconds: measured, loading aside.
        failure: kind and message where the agent lost the case; None where there is a report.
        counts: of what the report holds, by name.
        outcomes: verdicts by outcome.
        faults: what was left out of its answer, and why.
        told: the cost that it told; None where it told nothing.
    """

    agent: str
    prompt: str
    seconds: float
    failure: tuple[str, str] | None
    counts: dict[str, int]
    outcomes: dict[str, int]
    faults: tuple[str, ...]
    told: dict[str, object] | None


def try_agent(request: TrialRequest, call_log: Path) -> Trial:
    """Run an agent on one case.

    Args:
        call_log: where a record of calls would go; none is made, since no agent here asks a language model.

    Raises:
        InputError: no such agent or case, or one that costs money.
    """
    prepared = prepare_agent(
        AgentChoice(spec=request.spec, seed=request.seed, agent_env=request.agent_env), max_usd=None, plan_only=True
    )
    if prepared.llm is not None:
        raise InputError(
            f"agent {prepared.name} costs money on every case; see what it would cost with --dry-run of interpret"
        )
    case, prompt = _case(request)
    with prepared.enter(call_log) as agent:
        return _tried(agent, case, prompt, request)


def _case(request: TrialRequest) -> tuple[InterpretationCase, str]:
    from tracescribe.agents.case import InterpretationCase

    if sum(given is not None for given in (request.case, request.prompt, request.graph)) > 1:
        raise InputError("give one of --case, --prompt and --graph")
    if request.graph is not None:
        from tracescribe.tracer.graph_files import read_graph_file

        graph = read_graph_file(request.graph)
        return InterpretationCase("case", graph=graph), graph.prompt
    prompt = request.prompt or PROMPT
    if request.case is not None:
        from tracescribe.evals.oracle.building import load_oracle_gold

        prompt = load_oracle_gold().circuit(request.case).prompt
    return InterpretationCase("case", prompt=prompt), prompt


def _tried(agent: InterpretationAgent, case: InterpretationCase, prompt: str, request: TrialRequest) -> Trial:
    from tracescribe.agents.external.agent import ExternalAgent
    from tracescribe.agents.external.errors import ExternalAgentError
    from tracescribe.agents.toolbox import Toolbox, load_toolbox

    toolbox = Toolbox() if case.prompt is None else load_toolbox()
    failure: tuple[str, str] | None = None
    report: CircuitReport | None = None
    start = time.monotonic()
    try:
        report = agent.interpret(case, toolbox, budget_with(seconds=request.seconds))
    except ExternalAgentError as error:
        failure = (error.failure_kind, str(error).removeprefix(f"{error.failure_kind}: "))
    seconds = time.monotonic() - start
    told = agent.told_cost() if isinstance(agent, ExternalAgent) else None
    return Trial(
        agent=agent.name,
        prompt=prompt,
        seconds=seconds,
        failure=failure,
        counts={} if report is None else _counts(report),
        outcomes={} if report is None else _outcomes(report),
        faults=() if report is None else tuple(f"{fault.step}: {fault.error}" for fault in report.failures),
        told=None if told is None else told.model_dump(mode="json", exclude_none=True),
    )


def _counts(report: CircuitReport) -> dict[str, int]:
    return {
        "supernodes": len(report.supernodes),
        "members": sum(len(supernode.members) for supernode in report.supernodes),
        "labels": len(report.labels),
        "edges": len(report.edges),
        "ranked features": len(report.importance),
        "claims": len(report.claims),
    }


def _outcomes(report: CircuitReport) -> dict[str, int]:
    found = [verdict.outcome for verdict in report.verdicts]
    return {outcome: found.count(outcome) for outcome in dict.fromkeys(found)}
