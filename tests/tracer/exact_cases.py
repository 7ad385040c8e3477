"""Tiny random models of every family with random transcoders of every kind, and what the autograd oracle finds there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.tracer.autograd_oracle import (
    OracleGraph,
    open_hugging_face,
    read_transcoders,
    read_values,
    trace_by_autograd,
)
from tests.tracer.dense_reference import Counts, Pruned
from tests.tracer.tiny_families import VOCAB_SIZE, write_family
from tests.tracer.tiny_transcoders import TranscoderShape, write_transcoders
from tracescribe.tracer.graph import AttributionGraph, NodeKind
from tracescribe.tracer.models import LanguageModel, load_model
from tracescribe.tracer.prune import PruneSettings, prune, prune_masks
from tracescribe.tracer.transcoders import TranscoderSet, load_transcoders

EXACT = 1e-9
"""Largest difference in float64, relative to the largest value compared."""

N_POS = 8


@dataclass(frozen=True, eq=False)
class Case:
    """A prompt of a tiny model with transcoders on disk.

    Attributes:
        model_folder, transcoder_folder: what the tracer opens.
        tokens: `[n_pos]`.
        hf: the model, opened by `transformers` alone.
    """

    model_folder: Path
    transcoder_folder: Path
    tokens: Tensor
    hf: nn.Module

    def open(self) -> tuple[LanguageModel, TranscoderSet]:
        """The pair, opened by the tracer in float64."""
        return load_model(self.model_folder, dtype="float64"), load_transcoders(self.transcoder_folder, dtype="float64")

    def oracle(self, **settings: Any) -> OracleGraph:
        """The edges by autograd; see `trace_by_autograd`."""
        return trace_by_autograd(self.hf, read_transcoders(self.transcoder_folder), self.tokens, **settings)


def random_tokens(n_pos: int, seed: int) -> Tensor:
    """BOS and random words, `[n_pos]`."""
    words = torch.randint(3, VOCAB_SIZE, (n_pos - 1,), generator=torch.Generator().manual_seed(seed))
    return torch.cat([torch.zeros(1, dtype=torch.int64), words])


def make_case(
    folder: Path, family: str, shape: TranscoderShape, *, n_pos: int = N_POS, seed: int = 0, **config: Any
) -> Case:
    """Write a model and transcoders that fire on a random prompt of it.

    Args:
        folder: a model of the same family and seed that lies there is taken as it is.
        family: see `tests.tracer.tiny_families`.
        shape: of the transcoders.
        n_pos: tokens of the prompt.
        seed: of weights and prompt.
        config: changes to the model's configuration.
    """
    model_folder = folder / f"model_{seed}"
    if not model_folder.exists():
        write_family(model_folder, family, seed=seed, **config)
    hf, tokens = open_hugging_face(model_folder), random_tokens(n_pos, seed)
    place = folder / f"transcoder_{len(list(folder.glob('transcoder_*')))}"
    write_transcoders(place, shape, read_values(hf, shape.reads, tokens))
    return Case(model_folder, place, tokens, hf)


def node_counts(oracle: OracleGraph) -> Counts:
    """How many nodes the oracle's matrix has of each kind."""
    n_layers, n_pos = oracle.errors.shape[:2]
    return Counts(len(oracle.active), n_layers * n_pos, n_pos, len(oracle.logit_tokens))


def dense(graph: AttributionGraph) -> NDArray[np.float64]:
    """Edges as a matrix, rows are targets, in the dtype of their weights or wider."""
    matrix = np.zeros((graph.n_nodes, graph.n_nodes))
    matrix[graph.edges.target, graph.edges.source] = graph.edges.weight
    return matrix


def relative(found: Any, expected: Any) -> float:
    """Largest difference over the largest expected value; infinite where the shapes differ or a number is NaN."""
    first, second = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if first.shape != second.shape:
        return float("inf")
    if not first.size:
        return 0.0
    error = np.abs(first - second).max() / max(np.abs(second).max(), 1e-300)
    return float(error) if np.isfinite(error) else float("inf")


def differences(
    graph: AttributionGraph, oracle: OracleGraph, kept: NDArray[np.int64] | None = None
) -> dict[str, float]:
    """How far a graph is from the oracle's, by quantity; node sets give 0 or infinity.

    Args:
        graph: unpruned.
        oracle: of the same prompt.
        kept: places in `oracle.active` of the features that a node budget keeps; None for all.
    """
    table, n_active = graph.nodes, len(oracle.active)
    features, logits = graph.of_kind(NodeKind.FEATURE), graph.of_kind(NodeKind.LOGIT)
    selected = np.arange(n_active) if kept is None else kept
    nodes = np.concatenate([selected, np.arange(n_active, len(oracle.adjacency))])
    found = np.stack([table.layer[features], table.position[features], table.feature[features]], axis=1)
    targets = np.concatenate([features, logits])
    expected_bias = oracle.bias.numpy()[nodes]
    result = {
        "active features": relative(found, oracle.active.numpy()[selected]),
        "logit tokens": relative(table.feature[logits], oracle.logit_tokens),
        "edges": relative(dense(graph), oracle.adjacency.numpy()[np.ix_(nodes, nodes)]),
        "activations": relative(table.activation[features], oracle.activations.numpy()[selected]),
        "probabilities": relative(table.activation[logits], oracle.logit_probabilities),
        "bias": relative(table.bias[targets], expected_bias[targets]) if len(nodes) == graph.n_nodes else np.inf,
    }
    return result


def tolerances(graph: AttributionGraph) -> dict[str, float]:
    """Largest allowed difference by quantity: columns that the graph keeps in float32 are compared as such."""
    table = graph.nodes
    columns = {"activations": table.activation, "probabilities": table.activation, "bias": table.bias}
    single = {name: 1e-6 for name, column in columns.items() if column.dtype == np.float32}
    return dict.fromkeys(("active features", "logit tokens", "edges", *columns), EXACT) | single


def faults(graph: AttributionGraph, oracle: OracleGraph, kept: NDArray[np.int64] | None = None) -> list[str]:
    """Quantities in which a graph is not the oracle's; empty if it is."""
    allowed = tolerances(graph)
    found = differences(graph, oracle, kept)
    return [f"{name} differ by {error:.1e}" for name, error in found.items() if not error <= allowed[name]]


def wrongly_pruned(graph: AttributionGraph, settings: PruneSettings, expected: Pruned) -> list[str]:
    """In what pruning, by masks and by itself, differs from its definition; empty if in nothing."""
    masks, found = prune_masks(graph, settings), list[str]()
    edges = np.zeros_like(expected.edges)
    edges[graph.edges.target[masks.edges], graph.edges.source[masks.edges]] = True
    if (masks.nodes != expected.nodes).any() or (edges != expected.edges).any():
        found.append(f"the masks of {settings} differ")
    pruned = prune(graph, settings)
    place = np.flatnonzero(expected.nodes)
    if pruned.node_ids != tuple(graph.node_ids[i] for i in place):
        return [*found, f"the nodes that {settings} keeps differ"]
    kept = np.where(expected.edges, dense(graph), 0)[np.ix_(place, place)]
    if (dense(pruned) != kept).any():
        found.append(f"the edges that {settings} keeps differ")
    return found
