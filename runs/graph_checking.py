"""What `tracescribe graph` does: convert files, find their faults, compare them with weights, tell what they hold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracescribe.runs import terminal
from tracescribe.runs.loading import load_pair
from tracescribe.runs.workspace import prepare_file

if TYPE_CHECKING:
    from tracescribe.tracer.graph import AttributionGraph

MOST_FEATURES = 10
"""Features that `show` lists."""


@dataclass(frozen=True)
class GraphCheck:
    """What a check found.

    Attributes:
        path: the file.
        faults: what keeps the graph from being used, each with its place in the file.
        notes: what is worth knowing.
        nodes, links: counts; 0 in a file with faults.
        hashes_agree: whether the graph names exactly the given weights; None if it names none, or none were given.
        largest_difference: between the graph's activations and a clean run, relative to the layer's largest; None
            without weights.
    """

    path: Path
    faults: tuple[str, ...]
    notes: tuple[str, ...] = ()
    nodes: int = 0
    links: int = 0
    hashes_agree: bool | None = None
    largest_difference: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        return {
            "graph": str(self.path),
            "valid": not self.faults,
            "faults": list(self.faults),
            "notes": list(self.notes),
            "nodes": self.nodes,
            "links": self.links,
            "hashes_agree": self.hashes_agree,
            "largest_activation_difference": self.largest_difference,
        }


def check_graph(path: Path, model: str | None, transcoders: str | None) -> GraphCheck:
    """Look for everything that is wrong with a graph file, and compare it with weights if some are given.

    Raises:
        GraphFormatError: no such file, or a name that tells no format.
        SettingError: only one of model and transcoders is given.
        TranscoderMismatchError: the graph was traced from other weights.
        GraphFormatError: its words are not those of its token ids.
    """
    from tracescribe.tracer.errors import GraphFormatError, SettingError
    from tracescribe.tracer.graph_files import file_faults, format_of, read_graph_file
    from tracescribe.tracer.graph_notes import graph_notes

    path = path.expanduser()
    format_of(path)
    if not path.is_file():
        raise GraphFormatError(f"cannot read graph file {path}: no such file; check the path")
    if (model is None) != (transcoders is None):
        missing = "--model" if model is None else "--transcoders"
        raise SettingError(f"{missing} is missing: activations are compared with a model and its transcoders")
    faults = file_faults(path)
    if faults:
        return GraphCheck(path, faults)
    graph = read_graph_file(path)
    agree, difference = (None, None) if model is None or transcoders is None else _compare(graph, model, transcoders)
    notes = tuple(graph_notes(graph))
    return GraphCheck(path, (), notes, graph.n_nodes, len(graph.edges), agree, difference)


def _compare(graph: AttributionGraph, model: str, transcoders: str) -> tuple[bool | None, float]:
    from tracescribe.tracer.activation_check import check_activations
    from tracescribe.tracer.graph_json import check_belongs
    from tracescribe.tracer.token_check import check_tokens

    pair = load_pair(model, transcoders)
    names_weights = "model_sha256" in graph.provenance and "transcoders_sha256" in graph.provenance
    if names_weights:
        check_belongs(graph, pair.model, pair.transcoders)
        check_tokens(graph, pair.model)
    return (True if names_weights else None), check_activations(graph, pair.model, pair.transcoders)


def convert_graph(source: Path, target: Path, *, blinded: bool) -> dict[str, Any]:
    """Write a graph in another format; the suffixes tell which.

    Raises:
        GraphFormatError: a file that cannot be read, or a name that tells no format.
        OutputError: the result cannot be written.
    """
    from tracescribe.tracer.graph_files import format_of, read_graph_file, write_graph_file

    format_of(target)
    path = prepare_file(target)
    graph = read_graph_file(source.expanduser())
    if blinded:
        from tracescribe.tracer.blinding import blind

        graph = blind(graph)
    write_graph_file(path, graph)
    return {
        "graph": str(path),
        "format": format_of(path),
        "nodes": graph.n_nodes,
        "links": len(graph.edges),
        "bytes": path.stat().st_size,
        "blinded": blinded,
    }


def describe_graph(path: Path) -> dict[str, Any]:
    """What a graph file holds, as plain JSON values.

    Raises:
        GraphFormatError: the file cannot be read.
    """
    from tracescribe.tracer.graph import NodeKind
    from tracescribe.tracer.graph_files import format_of, read_graph_file
    from tracescribe.tracer.graph_notes import feature_numbering, graph_notes
    from tracescribe.tracer.query_parameters import saved_view

    path = path.expanduser()
    with terminal.StepLog().step("read") as details:
        graph = read_graph_file(path)
        details.append(f"{graph.n_nodes} nodes, {len(graph.edges)} links")
    view = saved_view(graph.extra.get("qParams"))
    scores, told = graph.scores, graph.provenance
    return {
        "graph": str(path),
        "format": format_of(path),
        "prompt": graph.prompt,
        "tokens": list(graph.tokens),
        "layers": graph.n_layers,
        "nodes": {kind.name.lower(): len(graph.of_kind(kind)) for kind in NodeKind},
        "links": len(graph.edges),
        "outputs": _outputs(graph),
        "top_features": _top_features(graph),
        "replacement_score": None if scores is None else scores.replacement,
        "completeness_score": None if scores is None else scores.completeness,
        "model": told.get("model") if isinstance(told.get("model"), str) else None,
        "transcoders": told.get("transcoders") if isinstance(told.get("transcoders"), str) else None,
        "feature_numbering": feature_numbering(graph),
        "pinned": list(view.pinned),
        "supernodes": [{"label": group.label, "members": list(group.members)} for group in view.supernodes],
        "notes": graph_notes(graph),
    }


def _outputs(graph: AttributionGraph) -> list[dict[str, Any]]:
    from tracescribe.tracer.graph import NodeKind

    table = graph.nodes
    rows = [
        {"node": graph.node_ids[i], "label": graph.labels[i], "probability": _number(float(table.activation[i]))}
        for i in graph.of_kind(NodeKind.LOGIT).tolist()
    ]
    return sorted(rows, key=lambda row: -(row["probability"] or 0.0))


def _top_features(graph: AttributionGraph) -> list[dict[str, Any]]:
    """The most influential features; none for a graph that does not tell influence."""
    from tracescribe.tracer.graph import NodeKind

    table = graph.nodes
    known = [i for i in graph.of_kind(NodeKind.FEATURE).tolist() if _number(float(table.influence[i])) is not None]
    chosen = sorted(known, key=lambda i: float(table.influence[i]))[:MOST_FEATURES]
    return [
        {
            "node": graph.node_ids[i],
            "token": graph.token_text(i),
            "activation": _number(float(table.activation[i])),
            "influence": float(table.influence[i]),
            "label": graph.labels[i],
        }
        for i in chosen
    ]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
