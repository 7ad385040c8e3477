"""ACDC on the replacement model: from the output back, an edge goes if the answer hardly changes without it.

Nodes are features and tokens; an edge that goes carries nothing (a zero in its place). Errors stay: they belong to no
feature. All outputs are one node, as in the paper. Edges of one node are tried in batches that give what trying them one by
one, weakest first, gives.

Source: Conmy et al. 2023, "Towards Automated Circuit Discovery for Mechanistic Interpretability", arXiv 2304.14997.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from tracescribe.agents.baselines import BaselineName
from tracescribe.agents.baselines.edge_selection import (
    EdgeBaseline,
    Selection,
    log_softmax,
    name_of_node,
    reaching_output,
)
from tracescribe.tracer.graph import NodeKind
from tracescribe.tracer.replacement_run import Cut

if TYPE_CHECKING:
    from tracescribe.tracer.replacement_run import ReplacementRun

BATCH = 64
"""Edges tried at once."""


@dataclass(frozen=True)
class AcdcBaseline(EdgeBaseline):
    """ACDC.

    Attributes:
        tau: nats of KL divergence that an edge must be worth to stay. The smallest that the paper tries: an answer that is all
            but certain diverges little while all that it rests on goes (docs/benchmark-agents.md has the figures).
    """

    NAME: ClassVar[BaselineName] = "acdc"
    tau: float = 1e-5

    def own_settings(self) -> Mapping[str, object]:
        """The threshold too."""
        return {**super().own_settings(), "tau": self.tau}

    def select(self, run: ReplacementRun, candidates: list[int], target: int) -> Selection:
        """Features on edges that stay, scored by the best of their edges that was tried."""
        kept, worth = pruned_edges(run, candidates, self.tau)
        graph = run.graph
        named = {(name_of_node(graph, source), name_of_node(graph, end)) for source, end in kept}
        edges = reaching_output(named)
        on = {source for source, _ in edges}
        scores = {index: worth.get(index, 0.0) for index in candidates}
        inside = [index for index in candidates if name_of_node(graph, index) in on]
        inside.sort(key=lambda index: (-scores[index], index))
        return Selection(
            nodes=tuple(graph.feature_node(index) for index in inside),
            scores=tuple((graph.feature_node(index), score) for index, score in scores.items()),
            edges=tuple(sorted(edges)),
        )


def pruned_edges(
    run: ReplacementRun, candidates: Sequence[int], tau: float
) -> tuple[set[tuple[int, int]], dict[int, float]]:
    """Edges that stay as source and destination (the first output for all), and what each source's best edge was worth.

    `run` loses the edges that go.
    """
    graph = run.graph
    output = int(run.logits[0])
    before = log_softmax(run.run())[0]
    now = 0.0
    worth: dict[int, float] = {}
    kept: set[tuple[int, int]] = set()
    sources_of_edges = {*candidates, *(int(i) for i in graph.of_kind(NodeKind.EMBEDDING))}
    weight = run.weight.tolil()
    feeding = {output}
    layer = graph.nodes.layer
    for end in [output, *sorted(candidates, key=lambda i: (-int(layer[i]), i))]:
        rows = [int(i) for i in run.logits] if end == output else [end]
        size = np.abs(run.weight[rows]).sum(axis=0)
        sources = [int(i) for i in np.flatnonzero(np.asarray(size).ravel()) if int(i) in sources_of_edges]
        if end not in feeding:  # nothing of it reaches the output any more
            sources, gone = [], sources
        else:
            sources.sort(key=lambda i: (float(np.asarray(size).ravel()[i]), i))
            staying, gone, now = _tried(run, before, now, -1 if end == output else end, sources, tau, worth)
            kept |= {(source, end) for source in staying}
            feeding |= set(staying)
        for row in rows:
            weight[row, gone] = 0.0
        run.weight = weight.tocsr()
    return kept, worth


def _tried(
    run: ReplacementRun,
    before: NDArray[np.float64],
    now: float,
    target: int,
    sources: Sequence[int],
    tau: float,
    worth: dict[int, float],
) -> tuple[list[int], list[int], float]:
    """Sources whose edge into a target stays, those whose edge goes, and the divergence then."""
    staying: list[int] = []
    gone: list[int] = []
    place = 0
    while place < len(sources):
        batch = sources[place : place + BATCH]
        # row j cuts the first j + 1 edges of the batch: what trying them one by one would have cut, while all of them go
        cuts = [Cut(target, (*gone, *batch[: j + 1])) for j in range(len(batch))]
        after = _divergences(before, run.run(cuts))
        for source, divergence in zip(batch, after, strict=True):
            place += 1
            worth[source] = max(worth.get(source, 0.0), float(divergence) - now)
            if divergence - now >= tau:
                staying.append(source)
                break  # the rows after it have cut it too
            gone.append(source)
            now = float(divergence)
    return staying, gone, now


def _divergences(before: NDArray[np.float64], outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """KL divergence of the outputs as they were from those of each row, nats, `[n_rows]`."""
    result: NDArray[np.float64] = (np.exp(before) * (before - log_softmax(outputs))).sum(axis=-1)
    return result
