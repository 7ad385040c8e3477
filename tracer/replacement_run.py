"""Run a complete attribution graph as the model that it is: what follows when edges are cut or inputs are turned down.

Attention patterns and norm denominators stay as they are in the graph's prompt; features keep their activation function, so
that one which loses its input goes out, and what it fed loses that. With nothing changed, every activation comes out as the
graph has it.

Source: Ameisen et al. 2025, "Circuit Tracing" (transformer-circuits.pub): the local replacement model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracescribe.tracer.errors import AttributionError
from tracescribe.tracer.graph import AttributionGraph, IntArray, NodeKind

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from tracescribe.tracer.transcoders import TranscoderSet

Array = NDArray[np.float64]
TOLERANCE = 1e-2
"""Of an activation, relative: edges and biases of a traced graph sum up far closer, a thinned graph is far off."""


@dataclass(frozen=True, eq=False)
class Cut:
    """One row of a run: contributions that are taken away.

    Attributes:
        target: node index, or -1 for all outputs together.
        sources: node indices whose edges into the target are cut.
    """

    target: int
    sources: Sequence[int]


class ReplacementRun:
    """A graph that runs.

    Attributes:
        graph: complete: every active feature, with biases.
        weight: direct effects of sources as active as they are, `[n_nodes target, n_nodes source]`; a caller may set
            entries to zero to cut edges for good.
        logits: node indices of the outputs.

    Raises:
        AttributionError: edges and biases do not sum up to the activations, so that the graph is no model.
    """

    def __init__(self, graph: AttributionGraph, transcoders: TranscoderSet) -> None:
        from scipy.sparse import csr_array

        nodes, edges, n = graph.nodes, graph.edges, graph.n_nodes
        self.graph = graph
        self.weight: csr_array = csr_array(
            (edges.weight.astype(np.float64), (edges.target, edges.source)), shape=(n, n)
        )
        self.logits: IntArray = graph.of_kind(NodeKind.LOGIT)
        self._bias = np.nan_to_num(nodes.bias.astype(np.float64))
        self._clean = np.where(nodes.kind == NodeKind.FEATURE, nodes.activation.astype(np.float64), 1.0)
        self._threshold = _thresholds(graph, transcoders)
        features = graph.of_kind(NodeKind.FEATURE)
        layers = sorted({int(nodes.layer[i]) for i in features})
        self._layers = [features[nodes.layer[features] == layer] for layer in layers]
        summed = np.asarray(self.weight.sum(axis=1)).ravel() + self._bias
        off = np.abs(summed[features] - self._clean[features]) > TOLERANCE * np.maximum(1.0, self._clean[features])
        if len(features) and off.any():
            raise AttributionError(
                f"the graph cannot be run: the inputs of {int(off.sum())} of {len(features)} features do not sum up to their "
                "activations; trace the prompt anew, without a node budget and unpruned"
            )

    def run(self, cuts: Sequence[Cut] = (), scale: float = 1.0) -> Array:
        """Outputs, each relative to the mean of all that the model has, `[max(1, n_cuts), n_logits]`.

        Args:
            cuts: each a row of its own, beside what `weight` has lost for all rows.
            scale: of tokens and errors, 1 as they are.
        """
        values, _ = self._forward(cuts, scale)
        out = np.asarray((self.weight[self.logits] @ values.T).T) + self._bias[self.logits]
        for row, cut in enumerate(cuts):
            if cut.target < 0 and len(cut.sources):
                sources = list(cut.sources)
                out[row] -= np.asarray(self.weight[self.logits][:, sources] @ values[row, sources])
        return out

    def gradients(self, output_gradient: Array, scale: float = 1.0) -> Array:
        """Derivative of a number by every node's input, `[n_nodes]`, given its derivative by the outputs `[n_logits]`.

        Steps of activation functions are not derived: a feature that is out passes nothing on.

        Args:
            scale: of tokens and errors, at which the derivative is taken.
        """
        _, on = self._forward((), scale)
        gradient = np.zeros(self.graph.n_nodes)
        gradient[self.logits] = output_gradient
        upward = self.weight.T.tocsr()
        for layer in reversed(self._layers):
            passed = np.asarray(upward[layer] @ gradient)
            gradient[layer] = passed * on[0, layer] / self._clean[layer]
        return gradient

    def _forward(self, cuts: Sequence[Cut], scale: float) -> tuple[Array, NDArray[np.bool_]]:
        """Every node's value as a share of what it is in the prompt, and which features are on, `[n_rows, n_nodes]`."""
        rows = max(1, len(cuts))
        values = np.full((rows, self.graph.n_nodes), scale)
        on = np.zeros((rows, self.graph.n_nodes), dtype=bool)
        for layer in self._layers:
            values[:, layer] = 0.0
        for layer in self._layers:
            pre = np.asarray((self.weight[layer] @ values.T).T) + self._bias[layer]
            for row, cut in enumerate(cuts):
                place = np.flatnonzero(layer == cut.target)
                if len(place) and len(cut.sources):
                    sources = list(cut.sources)
                    lost = self.weight[[cut.target]][:, sources] @ values[row, sources]
                    pre[row, place[0]] -= float(np.asarray(lost).ravel()[0])
            on[:, layer] = pre > self._threshold[layer]
            values[:, layer] = np.where(on[:, layer], pre, 0.0) / self._clean[layer]
        return values, on


def _thresholds(graph: AttributionGraph, transcoders: TranscoderSet) -> Array:
    """Input that each feature must pass to be on, `[n_nodes]`.

    A function that chooses among features (TopK and its like) is taken to choose as it did in the prompt.
    """
    nodes = graph.nodes
    found = np.full(graph.n_nodes, -np.inf)
    for layer in sorted({int(nodes.layer[i]) for i in graph.of_kind(NodeKind.FEATURE)}):
        mine = np.flatnonzero((nodes.kind == NodeKind.FEATURE) & (nodes.layer == layer))
        stored = transcoders.stored.layers[layer]
        if stored.activation.kind == "jumprelu" and stored.threshold is not None:
            threshold = stored.threshold.read().double().numpy()[nodes.feature[mine]]
            found[mine] = np.maximum(threshold, 0.0) if stored.activation.rectified else threshold
        elif stored.activation.kind == "relu" or stored.activation.rectified:
            found[mine] = 0.0
    return found
