"""The strongest way from the prompt to the answer: a circuit in one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracescribe.agents.rendering.visible_text import visible_text, visible_token
from tracescribe.runs.web.report_words import supernode_names

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport

MOST_STEPS = 6
"""Of the path; a longer one would fill the head of the page."""


@dataclass(frozen=True)
class Link:
    """A reference on the page: where it leads and what it is called."""

    target: str
    text: str


def strongest_path(report: CircuitReport) -> tuple[Link, ...]:
    """From the most probable answer back along the strongest strengthening link each time; supernodes that stand alone."""
    if not report.targets:
        return ()
    answer = max(report.targets, key=lambda target: target.probability)
    names = supernode_names(report)
    fallen = {node.supernode_id for node in report.supernodes if node.rejected}
    strongest: dict[str, tuple[float, str]] = {}
    for edge in report.edges:
        best = strongest.get(edge.destination, (0.0, ""))
        if edge.source not in fallen and (edge.weight, edge.source) > best:
            strongest[edge.destination] = (edge.weight, edge.source)
    path: list[Link] = []
    seen: set[str] = set()
    at = strongest.get(answer.node_id, (0.0, ""))[1]
    while at and at not in seen and len(path) < MOST_STEPS:
        seen.add(at)
        path.insert(0, Link(f"supernode:{at}", names[at]) if at in names else Link(f"node:{at}", _token_of(at, report)))
        at = strongest.get(at, (0.0, ""))[1]
    return (*path, Link(f"node:{answer.node_id}", visible_token(answer.token))) if path else ()


def _token_of(node_id: str, report: CircuitReport) -> str:
    position = node_id.rpartition("_")[2]
    if node_id.startswith("E_") and position.isdecimal() and int(position) < len(report.tokens):
        return f"“{visible_token(report.tokens[int(position)])}”"
    return visible_text(node_id)
