"""What edge-selecting baselines share: the replacement model that they cut edges of, and a circuit made of what they keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from tracescribe.agents.baselines.common import BaselineProposer, Groups, gathered
from tracescribe.agents.claims import Frozen
from tracescribe.agents.findings import Supernode, SupernodeEdge
from tracescribe.agents.llm.memory import keep, recall
from tracescribe.agents.survey import Survey
from tracescribe.tracer.errors import InputError
from tracescribe.tracer.graph import AttributionGraph, FeatureNode, NodeKind

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.tracer.replacement_run import ReplacementRun

N_LOGITS = 50
"""Outputs over which distributions are compared: all but a trace of the probability, and a foil for every answer."""
OUTPUT = "output"
End = FeatureNode | int | Literal["output"]
"""Where an edge begins or ends: a feature, a token's position, or the outputs together."""


class Selection(Frozen):
    """What a method keeps of a case's graph.

    Attributes:
        nodes: features of the circuit, best first.
        scores: of features, in and out of the circuit.
        edges: source and destination; features as `layer_feature_position`, tokens as `token_position`, or `output`.
    """

    nodes: tuple[FeatureNode, ...]
    scores: tuple[tuple[FeatureNode, float], ...]
    edges: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class EdgeBaseline(BaselineProposer):
    """A baseline that selects edges of the replacement model; features on them are grouped by position.

    Attributes:
        most_nodes: features whose edges are looked at, most influential first.
    """

    most_nodes: int = 400

    def own_settings(self) -> Mapping[str, object]:
        """How many features are looked at."""
        return {"most_nodes": self.most_nodes, "n_logits": N_LOGITS}

    def select(self, run: ReplacementRun, candidates: list[int], target: int) -> Selection:
        """What the method keeps.

        Args:
            run: the graph as a model.
            candidates: node indices of the features that may be in the circuit, by layer.
            target: place of the answer among the run's outputs.
        """
        raise NotImplementedError

    def groups(self, tools: CaseTools, survey: Survey) -> Groups:
        """The features that are kept, by position: neither method says which belong together."""
        nodes = self._selection(tools, survey).nodes
        return gathered(nodes, [node.position for node in nodes])

    def rank(self, tools: CaseTools, survey: Survey, supernodes: tuple[Supernode, ...]) -> Mapping[FeatureNode, float]:
        """The method's own scores."""
        scores = self._selection(tools, survey).scores
        return {node: score for node, score in scores if node in survey.full.node_of_feature}

    def connect(
        self, tools: CaseTools, survey: Survey, supernodes: tuple[Supernode, ...], edges: tuple[SupernodeEdge, ...]
    ) -> tuple[SupernodeEdge, ...]:
        """Edges between groups of which some members' edge is kept."""
        names: dict[str, set[str]] = {}
        for supernode in supernodes:
            names[supernode.supernode_id] = {end_name(member.node) for member in supernode.members}
        graph = survey.full
        for index in graph.of_kind(NodeKind.EMBEDDING):
            names[graph.node_ids[int(index)]] = {end_name(int(graph.nodes.position[index]))}
        for index in graph.of_kind(NodeKind.LOGIT):
            names[graph.node_ids[int(index)]] = {OUTPUT}
        kept: dict[str, set[str]] = {}
        for source, end in self._selection(tools, survey).edges:
            kept.setdefault(source, set()).add(end)
        return tuple(
            edge
            for edge in edges
            if any(kept.get(source, set()) & names[edge.destination] for source in names[edge.source])
        )

    def _selection(self, tools: CaseTools, survey: Survey) -> Selection:
        """Made once for each case, then remembered.

        Raises:
            InputError: a graph that came alone.
            AttributionError: the graph is no model that can be run.
        """
        key = f"baseline {self.name}"
        found = recall(tools, key, Selection)
        if found is None:
            found = self._select(tools, survey)
            keep(tools, key, found)
        return found

    def _select(self, tools: CaseTools, survey: Survey) -> Selection:
        from tracescribe.tracer.replacement_run import ReplacementRun

        graph = graph_with_outputs(tools, self.name)
        run = ReplacementRun(graph, tools.transcoders)
        known = [node for node in survey.features if node in graph.node_of_feature][: self.most_nodes]
        candidates = sorted(graph.node_of_feature[node] for node in known)
        logits = [int(graph.nodes.feature[i]) for i in run.logits]
        answer = int(survey.full.nodes.feature[survey.full.target_logit or 0])
        return self.select(run, candidates, logits.index(answer) if answer in logits else 0)


def graph_with_outputs(tools: CaseTools, name: str) -> AttributionGraph:
    """The case's prompt traced with many outputs, unpruned.

    Raises:
        InputError: there is nothing to trace it with.
        BudgetExceededError: the forward passes are used up.
    """
    why = tools.why_untestable()
    if why is not None:
        raise InputError(
            f"agent {name} runs the model, and cannot ({why}); give it the weights, or choose another baseline"
        )
    from tracescribe.tracer.attribution import AttributionSettings, attribute_tokens

    tools.charge_once("trace with many outputs")
    settings = AttributionSettings(max_n_logits=N_LOGITS, desired_logit_probability=1.0)
    return attribute_tokens(tools.model, tools.transcoders, tools.clean().tokens, settings)


def end_name(end: End) -> str:
    """An end of an edge as text."""
    if isinstance(end, FeatureNode):
        return f"{end.layer}_{end.feature}_{end.position}"
    return f"token_{end}" if isinstance(end, int) else end


def name_of_node(graph: AttributionGraph, index: int) -> str:
    """The same, of a node of a graph; all outputs are one end."""
    kind = graph.nodes.kind[index]
    if kind == NodeKind.FEATURE:
        return end_name(graph.feature_node(index))
    return OUTPUT if kind == NodeKind.LOGIT else end_name(int(graph.nodes.position[index]))


def reaching_output(edges: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those edges from which a way leads on to the output."""
    edges = set(edges)
    sources: dict[str, list[str]] = {}
    for source, end in edges:
        sources.setdefault(end, []).append(source)
    reached, waiting = {OUTPUT}, [OUTPUT]
    while waiting:
        for source in sources.get(waiting.pop(), []):
            if source not in reached:
                reached.add(source)
                waiting.append(source)
    return {(source, end) for source, end in edges if end in reached}


def log_softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Along the last axis."""
    shifted = values - values.max(axis=-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result
