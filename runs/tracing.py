"""Prompt to graph file: trace, prune, write."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracescribe.runs import terminal
from tracescribe.runs.loading import load_pair
from tracescribe.runs.workspace import prepare_file, slug

if TYPE_CHECKING:
    from tracescribe.tracer.attribution import AttributionSettings
    from tracescribe.tracer.graph import AttributionGraph
    from tracescribe.tracer.models import LanguageModel


@dataclass(frozen=True)
class TraceRequest:
    """One call of `tracescribe trace`.

    Attributes:
        prompt: the text to trace.
        model, transcoders: names or folders.
        out: the graph file.
        pruned: whether the file holds the pruned graph.
        node_threshold, edge_threshold: shares of influence that kept nodes and edges carry.
        max_logits, logit_probability: the most probable tokens are targets, up to this number or this cumulative share.
        targets: tokens to trace instead of the most probable ones.
        max_feature_nodes: trace only so many feature nodes, the most influential; None traces all.
        batch_size: attribution rows at once.
    """

    prompt: str
    model: str
    transcoders: str
    out: Path
    pruned: bool
    node_threshold: float
    edge_threshold: float
    max_logits: int
    logit_probability: float
    targets: tuple[str, ...]
    max_feature_nodes: int | None
    batch_size: int


@dataclass(frozen=True, eq=False)
class TraceResult:
    """What a trace gave.

    Attributes:
        path: the graph file.
        graph: as traced; `kept` as written.
        targets: output tokens with their probabilities, most probable first.
        seconds: of tracing and pruning, without loading.
    """

    path: Path
    graph: AttributionGraph
    kept: AttributionGraph
    targets: tuple[tuple[str, float], ...]
    seconds: float


def trace_prompt(request: TraceRequest) -> TraceResult:
    """Trace a prompt and write its graph.

    Raises:
        InputError: the model, the transcoders, the prompt or a setting cannot be used.
        AttributionError: the graph breaks a law that it must obey.
        OutputError: the file cannot be written; found out before any work.
    """
    path = prepare_file(request.out)
    from tracescribe.tracer.attribution import attribute
    from tracescribe.tracer.graph_json import write_graph
    from tracescribe.tracer.prune import PruneSettings, prune

    log = terminal.StepLog()
    with log.step("load") as details:
        pair = load_pair(request.model, request.transcoders)
        details.append(f"{pair.model.model_id}, {pair.transcoders.transcoder_id}")
    settings = _attribution_settings(request, pair.model)
    pruning = PruneSettings(node_threshold=request.node_threshold, edge_threshold=request.edge_threshold)
    started = time.perf_counter()
    with log.step("trace") as details:
        graph = attribute(pair.model, pair.transcoders, request.prompt, settings)
        details.append(f"{graph.n_nodes} nodes, {len(graph.edges)} edges")
    kept = graph
    if request.pruned:
        with log.step("prune") as details:
            kept = prune(graph, pruning)
            details.append(f"{kept.n_nodes} nodes, {len(kept.edges)} edges")
    seconds = time.perf_counter() - started
    write_graph(path, kept, slug=slug(request.prompt), settings=pruning if request.pruned else None)
    return TraceResult(path, graph, kept, _targets(graph, pair.model), seconds)


def _attribution_settings(request: TraceRequest, model: LanguageModel) -> AttributionSettings:
    from tracescribe.tracer.attribution import AttributionSettings

    return AttributionSettings(
        max_n_logits=request.max_logits,
        desired_logit_probability=request.logit_probability,
        batch_size=request.batch_size,
        max_feature_nodes=request.max_feature_nodes,
        target_tokens=tuple(model.token_id(token) for token in request.targets),
    )


def _targets(graph: AttributionGraph, model: LanguageModel) -> tuple[tuple[str, float], ...]:
    from tracescribe.tracer.graph import NodeKind

    table = graph.nodes
    logits = [int(i) for i in graph.of_kind(NodeKind.LOGIT)]
    found = [(model.token_text(int(table.feature[i])), float(table.activation[i])) for i in logits]
    return tuple(sorted(found, key=lambda target: -target[1]))


def summary(result: TraceResult) -> dict[str, Any]:
    """The result as plain JSON values."""
    from tracescribe.tracer.graph import NodeKind

    kept, scores = result.kept, result.graph.scores
    return {
        "graph": str(result.path),
        "prompt": kept.prompt,
        "tokens": list(kept.tokens),
        "targets": [{"token": token, "probability": round(p, 6)} for token, p in result.targets],
        "nodes": kept.n_nodes,
        "edges": len(kept.edges),
        "features": len(kept.of_kind(NodeKind.FEATURE)),
        "nodes_before_pruning": result.graph.n_nodes,
        "edges_before_pruning": len(result.graph.edges),
        "replacement_score": None if scores is None else scores.replacement,
        "completeness_score": None if scores is None else scores.completeness,
        "seconds": round(result.seconds, 3),
    }
