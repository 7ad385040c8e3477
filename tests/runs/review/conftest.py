"""An agent's report and its graph, made once; stores that hold it; people who review it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tracescribe.runs.access.roles import Principal
from tracescribe.runs.review.acts import Act
from tracescribe.runs.review.bringing_in import bring_in
from tracescribe.runs.review.loading import load_review
from tracescribe.runs.review.saving import save_act
from tracescribe.runs.review.states import ReviewState
from tracescribe.runs.store.database import Store, open_store, parse_address

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport
    from tracescribe.tracer.graph import AttributionGraph

ROSA = Principal("token:rosa", "reviewer")
ROLF = Principal("token:rolf", "reviewer")
VERA = Principal("token:vera", "viewer")


@dataclass(frozen=True)
class Folder:
    """What `tracescribe interpret` writes, as bytes."""

    report: CircuitReport
    report_bytes: bytes
    graph_bytes: bytes


@pytest.fixture(scope="session")
def graph() -> AttributionGraph:
    """A made-up graph with more features than the embedded model's have."""
    from tracescribe.runs.benchmarks.large_graph import large_graph

    return large_graph(80, 300)


@pytest.fixture(scope="session")
def folder(graph: AttributionGraph) -> Folder:
    """The offline agent's report on a graph without its weights: quick, and every claim untested."""
    from tracescribe.agents.budget import Budget
    from tracescribe.agents.case import InterpretationCase
    from tracescribe.agents.offline import offline_agent
    from tracescribe.agents.rendering.files import render_json
    from tracescribe.agents.toolbox import Toolbox
    from tracescribe.tracer.graph_json import dump, to_json

    report = offline_agent().interpret(InterpretationCase("case", graph=graph), Toolbox(), Budget())
    return Folder(report, render_json(report).encode(), dump(to_json(graph), Path("graph.json")))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store on SQLite."""
    opened = open_store(parse_address(str(tmp_path / "store")), create=True)
    yield opened
    opened.close()


@pytest.fixture
def case_id(store: Store, folder: Folder) -> str:
    """The report in the store."""
    return bring_in(store, folder.report_bytes, folder.graph_bytes, "made up")


Doing = Callable[..., ReviewState]


@pytest.fixture
def do(store: Store, case_id: str) -> Doing:
    """Saves acts of somebody's own review, one after the other; gives what the review comes to."""

    def doing(who: Principal, *acts: Act, why: str = "") -> ReviewState:
        state = load_review(store, case_id, None, who.name)
        for act in acts:
            state = save_act(store, who, case_id, None, state.version, act, why)
        return state

    return doing
