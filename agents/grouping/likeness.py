"""How alike features of one prompt are: by profile and by decoder; and clusters of the alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracescribe.agents.grouping.graph_facts import GraphFacts
from tracescribe.tracer.graph import FeatureNode, FloatArray

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools

Likeness = NDArray[np.float64]
"""`[n, n]`, symmetric."""


def views_of(facts: GraphFacts, rows: Sequence[int]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The three views by which profiles are compared: what feeds, which outputs are fed, and where effects go."""
    chosen = list(rows)
    profiles = facts.profiles
    return profiles.inputs[chosen], profiles.outputs[chosen], profiles.destinations[chosen]


def decoder_cosines(tools: CaseTools, nodes: Sequence[FeatureNode]) -> Likeness | None:
    """Cosines of the features' decoders over all layers written to, `[n, n]`; None without the graph's own transcoders.

    A decoder is laid out by the layer that it writes to, so that features of different layers are compared where both
    write, and a layer that only one of them writes to counts as difference.
    """
    if not tools.can_test:
        return None
    import torch

    transcoders = tools.transcoders
    laid_out = np.zeros((len(nodes), transcoders.n_layers, transcoders.d_model))
    for layer in sorted({node.layer for node in nodes}):
        mine = [row for row, node in enumerate(nodes) if node.layer == layer]
        rows = transcoders.decoder_rows(layer, torch.tensor([nodes[row].feature for row in mine]))
        laid_out[mine, layer : layer + rows.shape[1]] = rows.float().numpy()
    return _cosines(laid_out.reshape(len(nodes), -1))


def agglomerated(likeness: Likeness, least: float) -> list[list[int]]:
    """Clusters by average linkage: two merge while their mean likeness is at least `least`.

    Args:
        likeness: symmetric; the diagonal is not read.

    Returns:
        Rows of each cluster, ascending; clusters by their first row.
    """
    if len(likeness) < 2:
        return [[row] for row in range(len(likeness))]
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    distance = 1.0 - (likeness + likeness.T) / 2
    np.fill_diagonal(distance, 0.0)
    found = fcluster(linkage(squareform(distance, checks=False), method="average"), 1.0 - least, criterion="distance")
    clusters: dict[int, list[int]] = {}
    for row, cluster in enumerate(found):
        clusters.setdefault(int(cluster), []).append(row)
    return list(clusters.values())


def _cosines(rows: NDArray[np.float64]) -> Likeness:
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    units = np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)
    return np.asarray(units @ units.T)
