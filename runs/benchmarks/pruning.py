"""`tracescribe bench prune`: scores and pruning of graphs of a given size, as a trace hands them over."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from tracescribe.runs.benchmarks.calls import load_prototype
from tracescribe.runs.benchmarks.figures import Figure, FigureBench
from tracescribe.runs.benchmarks.machine import describe_machine, use_threads
from tracescribe.runs.benchmarks.measuring import clock_of, time_alternating
from tracescribe.runs.benchmarks.tracing import REFERENCE_NODES, Progress

if TYPE_CHECKING:
    from tracescribe.tracer.graph import AttributionGraph

N_LAYERS, N_ACTIVE, D_MODEL = 8, 16, 64
"""Of the random per-layer pair whose graphs are pruned: narrow, since pruning never sees the width."""


def bench_prune(
    nodes: tuple[int, ...],
    *,
    threads: int = 1,
    repeats: int = 3,
    prototype: Path | None = None,
    reference_nodes: int = REFERENCE_NODES,
    progress: Progress | None = None,
) -> FigureBench:
    """Time scores and pruning.

    Args:
        nodes: sizes of graphs, about; each is traced from a random prompt of fitting length.
        threads: torch threads.
        repeats: timed calls of each.
        prototype: file of a reference implementation, or None.
        reference_nodes: largest graph that the reference is given, as a dense matrix.
        progress: called after each call.
    """
    reference = load_prototype(prototype) if prototype else None
    with use_threads(threads):
        rows = [
            _bench_size(size, threads, repeats, reference if size <= reference_nodes else None, progress)
            for size in nodes
        ]
    return FigureBench(
        bench="prune",
        settings={"nodes": list(nodes), "repeats": repeats},
        machine=describe_machine(threads),
        clock=clock_of(threads),
        rows=tuple(rows),
        notes=("the reference gets a dense matrix that is already there; times are of scores plus pruning",),
    )


def _bench_size(
    size: int, threads: int, repeats: int, reference: ModuleType | None, progress: Progress | None
) -> dict[str, Figure]:
    from tracescribe.tracer.prune import graph_scores, prune

    graph = traced_graph(size)

    def ours() -> Any:
        return graph_scores(graph), prune(graph)

    timed: dict[str, Callable[[], Any]] = {"ours": ours}
    if reference is not None:
        dense = as_reference_graph(graph)
        module: Any = reference
        timed["reference"] = lambda: (module.scores(dense), module.prune(dense))
    timings = time_alternating(
        timed,
        repeats,
        None if progress is None else lambda done, total: progress(f"prune {graph.n_nodes}", done, total, ""),
    )
    clock = clock_of(threads)
    seconds = timings["ours"].median(clock)
    pruned = prune(graph)
    row: dict[str, Figure] = {
        "nodes": graph.n_nodes,
        "edges": len(graph.edges),
        "kept_nodes": pruned.n_nodes,
        "kept_edges": len(pruned.edges),
        "seconds": seconds,
        "reference_seconds": None,
        "ratio": None,
        "same_nodes": None,
        "same_edges": None,
    }
    if reference is not None:
        theirs = timings["reference"].median(clock)
        nodes, edges = timed["reference"]()[1][:2]
        same = set(np.flatnonzero(nodes.numpy()).tolist()) == {graph.index(node_id) for node_id in pruned.node_ids}
        row |= {"reference_seconds": theirs, "ratio": theirs / seconds, "same_nodes": same}
        row["same_edges"] = int(edges.sum()) == len(pruned.edges)
    return row


def traced_graph(size: int) -> AttributionGraph:
    """An unpruned graph of about so many nodes."""
    from tracescribe.tracer.attribution import attribute_tokens
    from tracescribe.tracer.models import load_model
    from tracescribe.tracer.synthetic import SyntheticShape, random_tokens, write_synthetic
    from tracescribe.tracer.transcoders import load_transcoders

    n_pos = max(4, round(size / (N_LAYERS * (N_ACTIVE + 1) + 1)))
    shape = SyntheticShape(
        kind="plt",
        n_layers=N_LAYERS,
        d_model=D_MODEL,
        n_heads=4,
        n_kv_heads=2,
        d_mlp=2 * D_MODEL,
        n_features=512,
        n_active=N_ACTIVE,
        max_positions=max(64, n_pos),
    )
    with tempfile.TemporaryDirectory(prefix="tracescribe-bench-") as folder:
        written = write_synthetic(Path(folder), shape)
        model, transcoders = load_model(written.model), load_transcoders(written.transcoders)
        return attribute_tokens(model, transcoders, random_tokens(n_pos, shape))


def as_reference_graph(graph: AttributionGraph) -> SimpleNamespace:
    """An unpruned graph as the reference's functions read it: a dense matrix, and how its nodes are counted."""
    import torch

    from tracescribe.tracer.graph import NodeKind

    logits = graph.of_kind(NodeKind.LOGIT)
    return SimpleNamespace(
        adjacency=torch.from_numpy(graph.dense()),
        selected=torch.from_numpy(graph.of_kind(NodeKind.FEATURE)),
        logit_probs=torch.from_numpy(graph.nodes.activation[logits].astype(np.float32)),
        n_layers=graph.n_layers,
        n_pos=graph.n_pos,
    )
