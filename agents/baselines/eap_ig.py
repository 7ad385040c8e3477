"""EAP-IG on the replacement model: an edge's score is what it carries, times the mean gradient on the way up to the prompt.

The gradient is of the log odds of the answer among the outputs, averaged over steps on which tokens and errors grow from
nothing to what they are; what an edge carries is taken against nothing too.

Source: Hanna et al. 2024, "Have Faith in Faithfulness", arXiv 2403.17806: (clean - corrupt activation) times the mean
gradient over steps between the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from tracescribe.agents.baselines import BaselineName
from tracescribe.agents.baselines.edge_selection import EdgeBaseline, Selection, name_of_node, reaching_output
from tracescribe.tracer.graph import NodeKind

if TYPE_CHECKING:
    from tracescribe.tracer.replacement_run import ReplacementRun


@dataclass(frozen=True)
class EapIgBaseline(EdgeBaseline):
    """EAP with integrated gradients.

    Attributes:
        steps: of the way from nothing to the prompt; 5 in the paper.
        share: of all edges' absolute scores that the edges of the circuit carry together.
    """

    NAME: ClassVar[BaselineName] = "eap-ig"
    steps: int = 5
    share: float = 0.95

    def own_settings(self) -> Mapping[str, object]:
        """Steps and share too."""
        return {**super().own_settings(), "steps": self.steps, "share": self.share}

    def select(self, run: ReplacementRun, candidates: list[int], target: int) -> Selection:
        """Features on the best edges; a feature's score is that of its outgoing edges together, whatever their sign."""
        graph = run.graph
        pairs = edge_scores(run, candidates, target, self.steps)
        ordered = sorted(pairs, key=lambda pair: (-abs(pairs[pair]), pair))
        sizes = np.abs([pairs[pair] for pair in ordered])
        enough = int(np.searchsorted(np.cumsum(sizes), self.share * sizes.sum())) + 1 if len(sizes) else 0
        chosen = {(name_of_node(graph, s), name_of_node(graph, e)) for s, e in ordered[:enough]}
        edges = reaching_output(chosen)
        on = {source for source, _ in edges}
        scores = {index: 0.0 for index in candidates}
        for (source, _), score in pairs.items():
            if source in scores:
                scores[source] += score
        inside = [index for index in candidates if name_of_node(graph, index) in on]
        inside.sort(key=lambda index: (-abs(scores[index]), index))
        return Selection(
            nodes=tuple(graph.feature_node(index) for index in inside),
            scores=tuple((graph.feature_node(index), abs(score)) for index, score in scores.items()),
            edges=tuple(sorted(edges)),
        )


def edge_scores(
    run: ReplacementRun, candidates: Sequence[int], target: int, steps: int
) -> dict[tuple[int, int], float]:
    """Score of every edge between candidates, tokens and outputs, by source and destination; all outputs are the first."""
    graph = run.graph
    gradient = np.zeros(graph.n_nodes)
    for step in range(1, steps + 1):
        scale = step / steps
        gradient += run.gradients(_log_odds_gradient(run.run(scale=scale)[0], target), scale) / steps
    ends = [*candidates, *(int(i) for i in run.logits)]
    sources = {*candidates, *(int(i) for i in graph.of_kind(NodeKind.EMBEDDING))}
    output = int(run.logits[0])
    found: dict[tuple[int, int], float] = {}
    carried = run.weight[ends].tocoo()
    for row, source, weight in zip(carried.row, carried.col, carried.data, strict=True):
        if int(source) in sources:
            end = ends[int(row)]
            pair = (int(source), output if graph.nodes.kind[end] == NodeKind.LOGIT else end)
            found[pair] = found.get(pair, 0.0) + float(weight) * float(gradient[end])
    return found


def _log_odds_gradient(logits: NDArray[np.float64], target: int) -> NDArray[np.float64]:
    """Derivative of `log p / (1 - p)` of one output by all outputs, `[n_logits]`: the others share by their probability."""
    others = np.array(logits)
    others[target] = -np.inf
    weights = np.exp(others - others[np.isfinite(others)].max()) if len(logits) > 1 else np.zeros(1)
    gradient = -weights / weights.sum() if len(logits) > 1 else np.zeros(1)
    gradient[target] = 1.0
    return np.asarray(gradient, dtype=np.float64)
