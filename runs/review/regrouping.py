"""What the graph says of links once a reviewer has put nodes into other supernodes, as reports say it of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tracescribe.runs.review.stored import StoredReport, graph_of_case

if TYPE_CHECKING:
    from tracescribe.runs.review.drafts import Effects, Ends
    from tracescribe.runs.store.database import Store
    from tracescribe.tracer.graph import AttributionGraph


def effects_of_case(store: Store, stored: StoredReport) -> Effects | None:
    """Direct effects between supernodes of a case's graph; None where none was kept.

    The graph is read when the first supernode has other members than the report's, not before; reading it may raise
    `GraphFormatError`, `ArtefactDamagedError`, `ArtefactMissingError` and `StoreError`.
    """
    if stored.graph_sha256 is None:
        return None

    def effects(groups: Mapping[str, Sequence[str]]) -> Mapping[Ends, float]:
        graph = graph_of_case(store, stored.case_id)
        return {} if graph is None else effects_of_graph(graph, groups)  # None: deleted just now

    return effects


def effects_of_graph(graph: AttributionGraph, groups: Mapping[str, Sequence[str]]) -> Mapping[Ends, float]:
    """Direct effects between supernodes, embeddings and logits, summed and chosen as those of reports are.

    Args:
        groups: node ids by supernode; those that the graph does not have count for nothing.
    """
    from tracescribe.agents.grouping.circuit_edges import summed_effects

    known = {
        name: [graph.index_of[node] for node in members if node in graph.index_of] for name, members in groups.items()
    }
    return {(source, destination): weight for source, destination, weight in summed_effects(graph, known)}
