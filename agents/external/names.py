"""What the ids of an answer stand for in one case's graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tracescribe.agents.llm.ids import read_ref
from tracescribe.tracer.graph import AttributionGraph, FeatureNode, FeatureRef, NodeKind


@dataclass(frozen=True, eq=False)
class NodeNames:
    """Ids of one graph.

    Attributes:
        nodes: feature nodes by id. Published files hold error nodes with the id of a feature; here an id means the feature.
        refs: features of the graph.
        ends: ids of tokens and outputs.
        index: node index by id, outputs before tokens before what else bears the id.
    """

    nodes: Mapping[str, FeatureNode]
    refs: frozenset[FeatureRef]
    ends: frozenset[str]
    index: Mapping[str, int]

    def ref(self, text: str) -> FeatureRef | None:
        """The feature that a text names, as a node id or as `layer/feature`; None where it names none of this graph."""
        node = self.nodes.get(text)
        ref = node.ref if node is not None else read_ref(text)
        return ref if ref in self.refs else None


def names_of(graph: AttributionGraph) -> NodeNames:
    """The ids of a graph."""
    nodes = {graph.node_ids[int(i)]: graph.feature_node(int(i)) for i in graph.of_kind(NodeKind.FEATURE)}
    ends = [int(i) for kind in (NodeKind.EMBEDDING, NodeKind.LOGIT) for i in graph.of_kind(kind)]
    index = {node_id: number for number, node_id in enumerate(graph.node_ids)}
    index |= {graph.node_ids[i]: i for i in ends}
    return NodeNames(
        nodes=nodes,
        refs=frozenset(node.ref for node in nodes.values()),
        ends=frozenset(graph.node_ids[i] for i in ends),
        index=index,
    )
