"""Prompt to graph file: trace, prune, write."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracescribe.runs import terminal
from tracescribe.runs.loading import load_pair
from tracescribe.runs.trace_progress import trace_progress
from tracescribe.runs.workspace import prepare_file, slug
from tracescribe.tracer.errors import OutputError

if TYPE_CHECKING:
    from tracescribe.tracer.attribution import AttributionSettings
    from tracescribe.tracer.graph import AttributionGraph
    from tracescribe.tracer.prune import PruneSettings


@dataclass(frozen=True)
class TraceRequest:
    """One call of `tracescribe trace`.

    Attributes:
        prompt: the text to trace.
        model, transcoders: names or folders.
        out: the graph file; its suffix tells the format.
        pruned: whether the file holds the pruned graph.
        node_threshold, edge_threshold: shares of influence that kept nodes and edges carry.
        max_logits, logit_probability: the most probable tokens are targets, up to this number or this cumulative share.
        targets: tokens or weighted sums of them ('A - B') to trace instead of the most probable tokens.
        target_difference: two tokens whose difference of logits is traced, after those; None for none.
        max_feature_nodes: trace only so many feature nodes, the most influential; None traces all.
        batch_size: attribution rows at once.
        max_memory: what the process may hold ('8GB'); None for most of what is free.
        dtype, device: of the model and the trace.
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
    target_difference: tuple[str, str] | None
    max_feature_nodes: int | None
    batch_size: int
    max_memory: str | None
    dtype: str
    device: str


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
        InputError: the model, the transcoders, the prompt or a setting cannot be used, or the trace does not fit into
            the given memory.
        AttributionError: the graph breaks a law that it must obey.
        OutputError: the file cannot be written, or its suffix names no format; found out before any work.
    """
    path = _prepare(request.out)
    from tracescribe.tracer.attribution import attribute
    from tracescribe.tracer.logit_targets import resolve_targets
    from tracescribe.tracer.prune import PruneSettings, prune

    settings = _attribution_settings(request)
    pruning = PruneSettings(node_threshold=request.node_threshold, edge_threshold=request.edge_threshold)
    with terminal.StepLog().step("load") as details:
        pair = load_pair(request.model, request.transcoders, dtype=request.dtype, device=request.device)
        details.append(f"{pair.model.model_id}, {pair.transcoders.transcoder_id}")
    resolve_targets(pair.model, settings.targets)  # a misspelled word is told now, not after the clean run
    started = time.perf_counter()
    with trace_progress() as progress:
        graph = attribute(pair.model, pair.transcoders, request.prompt, settings, progress)
        kept = graph
        if request.pruned:
            progress("pruning", 0, 1)
            kept = prune(graph, pruning)
            progress("pruning", 1, 1)
    seconds = time.perf_counter() - started
    _write(path, kept, request.prompt, pruning if request.pruned else None)
    return TraceResult(path, graph, kept, _targets(graph), seconds)


def _prepare(out: Path) -> Path:
    """The absolute path of the graph file, proved writable and of a known format.

    Raises:
        OutputError: it is not.
    """
    from tracescribe.tracer.errors import GraphFormatError
    from tracescribe.tracer.graph_files import format_of

    try:
        format_of(out)
    except GraphFormatError as error:
        raise OutputError(str(error)) from error
    return prepare_file(out)


def _write(path: Path, graph: AttributionGraph, prompt: str, pruning: PruneSettings | None) -> None:
    from tracescribe.tracer.graph_files import format_of, write_graph_file
    from tracescribe.tracer.graph_json import write_graph

    if format_of(path) == "json":
        write_graph(path, graph, slug=slug(prompt), settings=pruning)
    else:
        write_graph_file(path, graph)


def _attribution_settings(request: TraceRequest) -> AttributionSettings:
    from tracescribe.tracer.attribution import AttributionSettings
    from tracescribe.tracer.memory import parse_size

    targets = request.targets
    if request.target_difference is not None:
        targets = (*targets, " - ".join(_literal(token) for token in request.target_difference))
    return AttributionSettings(
        max_n_logits=request.max_logits,
        desired_logit_probability=request.logit_probability,
        batch_size=request.batch_size,
        max_feature_nodes=request.max_feature_nodes,
        targets=targets,
        max_memory=None if request.max_memory is None else parse_size(request.max_memory),
    )


def _literal(token: str) -> str:
    """A token as one term of a difference: in quotes where its own spaces must survive."""
    return f"'{token}'" if token != token.strip() else token


def _targets(graph: AttributionGraph) -> tuple[tuple[str, float], ...]:
    """Outputs with their probabilities, most probable first; a combination has the text of its label."""
    from tracescribe.tracer.graph import NodeKind

    labels = [_output_text(graph.labels[int(i)]) for i in graph.of_kind(NodeKind.LOGIT)]
    probabilities = graph.nodes.activation[graph.of_kind(NodeKind.LOGIT)].tolist()
    return tuple(sorted(zip(labels, probabilities, strict=True), key=lambda target: -target[1]))


def _output_text(label: str) -> str:
    """The text between the quotes of `Output "..." (p=0.123)`."""
    return label[label.find('"') + 1 : label.rfind('"')]


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
