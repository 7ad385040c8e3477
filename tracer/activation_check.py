"""Whether a graph's activations are what its prompt gives on a model: the last doubt about an imported graph.

`graph_json.check_belongs` compares hashes, which only graphs of this product carry. A published graph says what it came
from by name at most; running its prompt once settles the matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tracescribe.tracer.errors import TranscoderMismatchError
from tracescribe.tracer.graph import AttributionGraph, NodeKind

if TYPE_CHECKING:
    from tracescribe.tracer.models import LanguageModel
    from tracescribe.tracer.transcoders import TranscoderSet

TOLERANCE = 1e-2
"""Largest allowed difference, relative to the layer's largest activation. Float32 traces agree to 1e-5; published graphs
are mostly traced in bfloat16, whose numbers have 8 binary digits (one part in 256), and differ by some parts in a
thousand of the layer's scale."""

_MAX_SHOWN = 3


def check_activations(
    graph: AttributionGraph, model: LanguageModel, transcoders: TranscoderSet, *, tolerance: float = TOLERANCE
) -> float:
    """Compare the activations of a graph's feature nodes with a clean run of its prompt.

    Args:
        graph: with token ids; a file without tokens' ids, or with some tokens pruned away, has none.
        model: the model that it may have come from.
        transcoders: the transcoders that it may have come from.
        tolerance: largest allowed difference, relative to the largest activation of the layer.

    Returns:
        The largest difference, relative to the largest activation of the layer, in the graph or in the run; 0 for a
        graph without known activations.

    Raises:
        TranscoderMismatchError: the graph cannot be compared, has layers, features or tokens that the model or the
            transcoders do not have, or differs by more than the tolerance.
    """
    import torch

    from tracescribe.tracer.clean_run import clean_run

    _refuse_misfit(graph, model, transcoders)
    run = clean_run(model, transcoders, torch.tensor(graph.token_ids, dtype=torch.int64))
    table = graph.nodes
    nodes = np.flatnonzero((table.kind == NodeKind.FEATURE) & np.isfinite(table.activation))
    largest, worst = 0.0, list[tuple[float, int, float]]()
    for layer in np.unique(table.layer[nodes]).tolist():
        inside = nodes[table.layer[nodes] == layer]
        # positions at which features were set to zero have no nodes, so that nothing needs to be masked here
        computed = run.activations(layer, zero_positions=0)[table.position[inside], table.feature[inside]]
        expected = computed.detach().double().cpu().numpy()
        told = table.activation[inside].astype(np.float64)
        scale = max(float(np.abs(expected).max()), float(np.abs(told).max()), np.finfo(np.float32).tiny)
        difference = np.abs(told - expected) / scale
        place = int(difference.argmax())
        largest = max(largest, float(difference[place]))
        worst.append((float(difference[place]), int(inside[place]), float(expected[place])))
    if largest > tolerance:
        shown = "; ".join(
            f"{graph.node_ids[i]} is {float(table.activation[i]):.5g}, computed {value:.5g}"
            for _, i, value in sorted(worst, reverse=True)[:_MAX_SHOWN]
        )
        raise TranscoderMismatchError(
            f"the graph of {graph.prompt[:60]!r} was not traced from these weights: activations differ by up to "
            f"{largest:.2g} of their layer's largest, at most {tolerance:.2g} is allowed ({shown}); graphs traced in "
            "bfloat16 differ by some thousandths: give the weights that the graph came from, or a larger tolerance"
        )
    return largest


def _refuse_misfit(graph: AttributionGraph, model: LanguageModel, transcoders: TranscoderSet) -> None:
    table, faults = graph.nodes, []
    if not graph.token_ids:
        faults.append("it does not tell the ids of all its tokens")
    elif max(graph.token_ids) >= model.vocab_size:
        faults.append(f"token id {max(graph.token_ids)}, but the vocabulary has {model.vocab_size} entries")
    elif len(graph.token_ids) > model.max_positions:
        faults.append(f"{len(graph.token_ids)} tokens, but the model takes {model.max_positions}")
    features = graph.of_kind(NodeKind.FEATURE)
    n_features = np.array(transcoders.n_features)
    for i in features.tolist():
        layer, feature = int(table.layer[i]), int(table.feature[i])
        if layer >= len(n_features):
            faults.append(f"node {graph.node_ids[i]}, but the transcoders have {len(n_features)} layers")
        elif feature >= n_features[layer]:
            faults.append(f"node {graph.node_ids[i]}, but layer {layer} has {n_features[layer]} features")
        if len(faults) >= _MAX_SHOWN:
            break
    if faults:
        raise TranscoderMismatchError(
            f"the graph of {graph.prompt[:60]!r} cannot be compared with these weights: {'; '.join(faults)}; give the "
            "model and the transcoders that it was traced from"
        )
