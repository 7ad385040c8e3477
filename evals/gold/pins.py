"""Which node a published id means: published pages spell ids of one graph in several ways.

Seen so far: `layer_feature_position`; the `jsNodeId` of a node's row; the row's own `feature` number in place of the
index (a Cantor number, or `layer * 100000 + index`); old ids of errors; an id without its position. An id that could
mean two nodes means none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tracescribe.tracer.graph import AttributionGraph, NodeKind

NOT_THERE = "not in the graph"
AMBIGUOUS = "could mean several nodes"


@dataclass
class Resolved:
    """Published ids as node ids.

    Attributes:
        node_ids: those that were found, in order, each once.
        dropped: the others, with the reason.
    """

    node_ids: list[str] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)


class NodeNames:
    """All spellings of a graph's nodes."""

    def __init__(self, graph: AttributionGraph) -> None:
        self._known = frozenset(graph.node_ids)
        self._spellings: dict[str, set[str]] = {}
        self._old_errors: set[str] = set()
        rows = graph.extra.get("nodes", {})
        table = graph.nodes
        for index, node_id in enumerate(graph.node_ids):
            kind, row = table.kind[index], rows.get(node_id, {})
            layer, feature, position = int(table.layer[index]), int(table.feature[index]), int(table.position[index])
            spellings = [row.get("jsNodeId"), row.get("node_id")]
            if kind == NodeKind.FEATURE:
                spellings += [f"{layer}_{feature}-{position}", f"{layer}_{feature}"]
                spellings += [f"{layer}_{row['feature']}_{position}"] if isinstance(row.get("feature"), int) else []
            if kind == NodeKind.ERROR:
                self._old_errors.add(f"0_{layer}_{position}")
            for spelling in spellings:
                if isinstance(spelling, str):
                    self._spellings.setdefault(spelling, set()).add(node_id)

    def find(self, told: str) -> tuple[str | None, str]:
        """The node that an id means, and "", or None and the reason.

        A node's own id means that node, unless it is also what older files call an error.
        """
        meant = {told} if told in self._known else self._spellings.get(told, set())
        if told in self._known and told in self._old_errors:
            return None, AMBIGUOUS
        if len(meant) == 1:
            return next(iter(meant)), ""
        return None, AMBIGUOUS if meant else NOT_THERE

    def resolve(self, told: Iterable[str]) -> Resolved:
        """Several ids at once."""
        found = Resolved()
        for one in told:
            node_id, reason = self.find(one)
            if node_id is None:
                found.dropped[one] = reason
            elif node_id not in found.node_ids:
                found.node_ids.append(node_id)
        return found
