"""Graph files: the JSON of Neuronpedia and of circuit-tracer's frontend, out and in.

Source: schema of circuit-tracer 0.4.1 (github.com/decoderesearch/circuit-tracer) and Neuronpedia's graph pages. Errors
are written with the newer ids (`{layer}_-1_{position}`), which cannot collide with features; both spellings are read.
A block `metadata.tracescribe` carries what the schema has no place for, so that a saved graph can be interpreted later
with its weights.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ValidationError

from tracescribe.tracer.errors import OutputError, TranscoderMismatchError
from tracescribe.tracer.graph import AttributionGraph, NodeKind
from tracescribe.tracer.graph_document import MAX_BYTES, parse_document, read_bytes
from tracescribe.tracer.graph_import import KIND_OF_TYPE, OWN_KEY, import_graph
from tracescribe.tracer.graph_rows import MAX_LINKS, MAX_TEXT, GenerationSettings, PruningSettings
from tracescribe.tracer.provenance import version, write_bytes_atomic

if TYPE_CHECKING:
    from tracescribe.tracer.models import LanguageModel
    from tracescribe.tracer.prune import PruneSettings
    from tracescribe.tracer.transcoders import TranscoderSet

SCHEMA_VERSION = 1
"""Version of the schema that is written: `feature` is the Cantor number of layer and index."""

_TYPE_OF_KIND = {kind: name for name, kind in KIND_OF_TYPE.items()}


def read_graph(path: str | Path) -> AttributionGraph:
    """Read a graph file, plain or gzipped.

    Raises:
        GraphFormatError: no such file, or one that is malformed, truncated, hostile or enormous; the message names the
            path inside the document.
    """
    path = Path(path)
    return parse_graph(read_bytes(path), name=str(path))


def parse_graph(content: bytes, *, name: str = "graph") -> AttributionGraph:
    """Read a graph from the bytes of a file, plain or gzipped.

    Args:
        content: the file's bytes.
        name: how error messages call it.

    Raises:
        GraphFormatError: as `read_graph`.
    """
    return import_graph(parse_document(content, name), name)


def write_graph(
    path: str | Path, graph: AttributionGraph, *, slug: str | None = None, settings: PruneSettings | None = None
) -> None:
    """Write a graph file, gzipped if its name ends in `.gz`; readers see the old file or the new, never a part.

    Args:
        path: the file.
        graph: what to write.
        slug: short name; as read, or of the model, if None.
        settings: how the graph was pruned, if the caller knows better than the graph.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(path)
    content = dump(to_json(graph, slug=slug, settings=settings), path)
    # no time stamp: the same graph gives the same bytes
    write_bytes_atomic(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def dump(document: Mapping[str, Any], path: Path) -> bytes:
    """A document as bytes.

    Raises:
        OutputError: it is larger than is read back, or holds what JSON cannot.
    """
    try:
        content = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, TypeError) as error:
        raise OutputError(f"cannot write {path}: the graph holds a value that JSON does not have ({error})") from error
    n_links = len(document["links"])
    if len(content) > MAX_BYTES or n_links > MAX_LINKS:
        raise OutputError(
            f"cannot write {path}: {len(content)} bytes and {n_links} links, at most {MAX_BYTES} and {MAX_LINKS} are "
            "read back; prune the graph, or write the native format (.tsgraph)"
        )
    return content


def to_json(
    graph: AttributionGraph, *, slug: str | None = None, settings: PruneSettings | None = None
) -> dict[str, Any]:
    """The graph as a JSON document.

    Fields of a graph that was read come back as they were, but for what has changed since and for the ids of errors.

    Args:
        graph: what to write.
        slug: short name; as read, or of the model, if None.
        settings: how the graph was pruned, if the caller knows better than the graph.
    """
    extra = graph.extra
    document = {
        "metadata": _metadata(graph, slug, settings),
        "qParams": _query_parameters(extra),
        "nodes": [_node_row(graph, i) for i in range(graph.n_nodes)],
        "links": _link_rows(graph),
        **extra.get("document", {}),
    }
    order = [key for key in extra.get("order", ()) if key in document]
    return {key: document[key] for key in dict.fromkeys([*order, *document])}


def check_belongs(graph: AttributionGraph, model: LanguageModel, transcoders: TranscoderSet) -> None:
    """Refuse a graph that was traced from other weights.

    Raises:
        TranscoderMismatchError: the graph does not say what it was traced from, or it was something else.
    """
    found = graph.provenance
    compared = [
        ("model", "model_sha256", model.model_id, model.weights_sha256),
        ("transcoders", "transcoders_sha256", transcoders.transcoder_id, transcoders.sha256),
    ]
    faults = []
    for name, key, expected_id, expected in compared:
        if not isinstance(found.get(key), str):
            faults.append(f"it does not say which {name} weights it came from")
        elif found[key] != expected:
            faults.append(
                f"{name} is {str(found.get(name))[:60]!r} with hash {found[key][:12]!r}, given {expected_id!r} with "
                f"{expected[:12]!r}"
            )
    if faults:
        raise TranscoderMismatchError(
            f"the graph of {graph.prompt[:60]!r} does not belong to these weights: {'; '.join(faults)}; trace the "
            "prompt again, or use the graph without weights"
        )


def cantor_number(layer: int, feature: int) -> int:
    """Number of a feature in schema version 1, and the name of its feature file."""
    return (layer + feature) * (layer + feature + 1) // 2 + feature


def _query_parameters(extra: Mapping[str, Any]) -> dict[str, Any]:
    found = extra.get("qParams")
    if found is not None:
        return dict(found)
    # readers need them, so that a file without any gets the state of a new one
    return {"pinnedIds": [], "supernodes": [], "linkType": "both", "clickedId": "", "sg_pos": ""}


def _metadata(graph: AttributionGraph, slug: str | None, settings: PruneSettings | None) -> dict[str, Any]:
    metadata = dict(graph.extra.get("metadata", {}))
    told = graph.provenance.get("pruning")
    pruning = asdict(settings) if settings is not None else told if isinstance(told, dict) else None
    if not metadata:
        metadata = _fresh_metadata(graph)
        known = _fitting(PruningSettings, pruning or {})
        if known:
            metadata["pruning_settings"] = known
            metadata["node_threshold"] = known.get("node_threshold", 1.0)
    if slug is not None:
        metadata["slug"] = slug
    metadata.update(prompt=graph.prompt, prompt_tokens=list(graph.tokens))
    bias = graph.nodes.bias
    metadata[OWN_KEY] = {
        "format": 1,
        "n_layers": graph.n_layers,
        **({"dtype": "float64"} if graph.edges.weight.dtype == np.float64 else {}),
        "token_ids": list(graph.token_ids),
        "scores": None if graph.scores is None else asdict(graph.scores),
        "provenance": dict(graph.provenance),
        "bias": {graph.node_ids[i]: float(bias[i]) for i in np.flatnonzero(np.isfinite(bias))},
        "ambiguous_links": list(graph.extra.get("ambiguous_links", [])),
    }
    return metadata


def _fresh_metadata(graph: AttributionGraph) -> dict[str, Any]:
    model, traced = graph.provenance.get("model"), graph.provenance.get("settings")
    model = model[:MAX_TEXT] if isinstance(model, str) else "unknown"
    traced = traced if isinstance(traced, dict) else {}
    generation = {
        "max_n_logits": traced.get("max_n_logits"),
        "desired_logit_prob": traced.get("desired_logit_probability"),
        "batch_size": traced.get("batch_size"),
        "max_feature_nodes": traced.get("max_feature_nodes"),
    }
    return {
        "slug": model,
        "scan": model,
        "transcoder_list": [],
        "prompt_tokens": list(graph.tokens),
        "prompt": graph.prompt,
        "node_threshold": 1.0,
        "schema_version": SCHEMA_VERSION,
        "info": {"generator": {"name": "tracescribe", "version": version()}},
        "generation_settings": _fitting(GenerationSettings, generation),
    }


def _node_row(graph: AttributionGraph, index: int) -> dict[str, Any]:
    node_id, label = graph.node_ids[index], graph.labels[index]
    read = graph.extra.get("nodes", {}).get(node_id)
    if read is None:
        return _fresh_row(graph, index)
    table, row = graph.nodes, {**read, "node_id": node_id}
    if label != (read.get("clerp") or ""):
        row["clerp"] = label
    changed = {"influence": table.influence}
    if table.kind[index] == NodeKind.FEATURE:
        changed["activation"] = table.activation
    elif table.kind[index] == NodeKind.LOGIT:
        changed["token_prob"] = table.activation
    for key, column in changed.items():
        before, now = read.get(key), _number(float(column[index]))
        if now is not None and (before is None or column.dtype.type(before) != column[index]):
            row[key] = now
    return row


def _fresh_row(graph: AttributionGraph, index: int) -> dict[str, Any]:
    table, node_id = graph.nodes, graph.node_ids[index]
    kind, layer = NodeKind(int(table.kind[index])), int(table.layer[index])
    position, feature = int(table.position[index]), int(table.feature[index])
    number = _number(float(table.activation[index]))
    shown = {
        NodeKind.FEATURE: (str(layer), cantor_number(layer, max(feature, 0)), f"{layer}_{feature}-0"),
        NodeKind.ERROR: (str(layer), -1, f"{layer}_{position}-0"),
        NodeKind.EMBEDDING: ("E", position, f"E_{feature}-{position}"),
        NodeKind.LOGIT: (node_id.split("_")[0], feature, f"L_{feature}-{position}"),
    }
    layer_text, feature_number, js_id = shown[kind]
    return {
        "node_id": node_id,
        "feature": feature_number,
        "layer": layer_text,
        "ctx_idx": position,
        "feature_type": _TYPE_OF_KIND[kind],
        "token_prob": (number or 0.0) if kind == NodeKind.LOGIT else 0.0,
        "is_target_logit": index == graph.target_logit,
        "run_idx": 0,
        "reverse_ctx_idx": 0,
        "jsNodeId": js_id,
        "clerp": graph.labels[index],
        "influence": None if kind == NodeKind.LOGIT else _number(float(table.influence[index])),
        "activation": number if kind == NodeKind.FEATURE else None,
    }


def _link_rows(graph: AttributionGraph) -> list[dict[str, Any]]:
    ids, read, edges = graph.node_ids, graph.extra.get("links", {}), graph.edges
    columns = (edges.source.tolist(), edges.target.tolist(), edges.weight.tolist())
    if not read:
        return [{"source": ids[s], "target": ids[t], "weight": weight} for s, t, weight in zip(*columns, strict=True)]
    narrow, rows = edges.weight.dtype.type, []
    for s, t, weight in zip(*columns, strict=True):
        ends = {"source": ids[s], "target": ids[t]}
        before = read.get((ids[s], ids[t]))
        if before is not None and narrow(before["weight"]) == weight:
            rows.append({**before, **ends})
        else:
            rows.append({**(before or {}), **ends, "weight": weight})
    return rows


def _fitting(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a model of the document knows and takes; Neuronpedia refuses nulls, so that these go too."""
    found = {}
    for key in model.model_fields:
        try:
            model.model_validate({key: values.get(key)})
        except ValidationError:
            continue
        if values.get(key) is not None:
            found[key] = values[key]
    return found


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
