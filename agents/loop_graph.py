"""The shape of the loop, as a LangGraph graph: what can be drawn without a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

from tracescribe.agents.state import LoopState, LoopUpdate

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.graph.state import CompiledStateGraph

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
    "assess",
    "revise",
    "report",
)
"""Every step, in the order of a first pass. `trace` comes before the graph: it opens the case that the graph works on."""


class Step(Protocol):
    """A node as LangGraph calls it."""

    def __call__(self, state: LoopState) -> LoopUpdate: ...


@dataclass(frozen=True)
class DrawnEdge:
    """A way from one step to another.

    Attributes:
        conditional: whether the state decides if it is taken.
    """

    source: str
    destination: str
    conditional: bool


@dataclass(frozen=True)
class GraphDrawing:
    """The compiled graph, for people.

    Attributes:
        nodes, edges: with LangGraph's `__start__` and `__end__`.
        mermaid: the same as text that Mermaid draws.
    """

    nodes: tuple[str, ...]
    edges: tuple[DrawnEdge, ...]
    mermaid: str

    def as_json(self) -> dict[str, object]:
        """The drawing as plain JSON values."""
        return asdict(self)


def compile_loop(
    steps: Mapping[str, Step], saver: BaseCheckpointSaver[str] | None = None
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """The graph.

    Args:
        steps: by name, all of `STEPS` but `trace`.
        saver: keeps the state after every step; None keeps it in memory.
    """
    from langgraph.graph import END, START, StateGraph

    graph = StateGraph(LoopState)
    names = STEPS[1:]
    for name in names:
        graph.add_node(name, steps[name])
    graph.add_edge(START, names[0])
    for here, there in pairwise(names):
        if here != "revise":
            graph.add_edge(here, there)
    graph.add_conditional_edges("revise", after_revision, ["register", "report"])
    graph.add_edge("report", END)
    return graph.compile(checkpointer=saver)


def after_revision(state: LoopState) -> str:
    """Where the loop goes after revising: new claims are registered and tested, else the report is written."""
    return "register" if state["pending"] else "report"


def graph_drawing() -> GraphDrawing:
    """The loop's graph as LangGraph compiles it; loads no model."""

    def nothing(state: LoopState) -> LoopUpdate:
        return LoopUpdate()

    drawn = compile_loop(dict.fromkeys(STEPS[1:], nothing)).get_graph()
    return GraphDrawing(
        nodes=tuple(drawn.nodes),
        edges=tuple(DrawnEdge(edge.source, edge.target, edge.conditional) for edge in drawn.edges),
        mermaid=drawn.draw_mermaid(),
    )
