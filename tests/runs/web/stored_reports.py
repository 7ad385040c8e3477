"""Reports in a store: by three agents on one prompt, and one on another prompt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs.review.bringing_in import bring_in

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport
    from tracescribe.runs.store.database import Store
    from tracescribe.tracer.graph import AttributionGraph

AGENTS = ("offline", "influence", "random")


def report_of(graph: AttributionGraph, agent: str) -> CircuitReport:
    """What an agent says of a graph without its weights: quick, and every claim untested."""
    from tracescribe.agents.baselines import baseline_agent
    from tracescribe.agents.budget import Budget
    from tracescribe.agents.case import InterpretationCase
    from tracescribe.agents.offline import offline_agent
    from tracescribe.agents.toolbox import Toolbox

    made = offline_agent() if agent == "offline" else baseline_agent(agent)  # type: ignore[arg-type]
    return made.interpret(InterpretationCase("case", graph=graph), Toolbox(), Budget())


def bring(store: Store, report: CircuitReport, graph: AttributionGraph) -> str:
    """The case id of a report that is brought in."""
    from tracescribe.agents.rendering.files import render_json
    from tracescribe.tracer.graph_json import dump, to_json

    return bring_in(
        store, render_json(report).encode(), dump(to_json(graph), Path("graph.json")), report.provenance.agent, "tests"
    )
