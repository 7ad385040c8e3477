"""Takes human hints out of a graph before anyone who must not know them sees it.

Labels, pinned nodes and supernodes are hints, and so is the order of nodes in published files, in which members of one
supernode often stand side by side. A hint can hide in any text and under any key of a stranger's file, so that nothing
is carried over because it looks harmless: what stays is named here, with the form that it must have. What the model
itself says stays: prompt tokens, output tokens, probabilities, weights, activations.

One text cannot be checked without the model's vocabulary: the token within an output's label (`Output "x" (p=0.123)`).
It stays if the rest of the label fits the node.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from typing import Any

import numpy as np

from tracescribe.tracer.graph import AttributionGraph, EdgeTable, NodeKind

_OUTPUT_LABEL = re.compile(r'output:? "(?P<token>.*)" \(p=(?P<probability>[0-9.]{1,8})\)', re.IGNORECASE | re.DOTALL)
_MAX_OUTPUT_TOKEN = 100  # characters; the longest tokens of known vocabularies are runs of as many spaces
_PROBABILITY_DIGITS = 0.006  # published labels are rounded, to two digits at least


def _is_name(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_.\-/@:+]{1,200}", value) is not None


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _is_version(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9][0-9A-Za-z.+\-]{0,60}", value) is not None


def _is_dtype(value: object) -> bool:
    return value in ("float32", "float64", "bfloat16", "float16")


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float)


_PROVENANCE: Mapping[str, Callable[[object], bool]] = {
    "model": _is_name,
    "model_sha256": _is_hash,
    "transcoders": _is_name,
    "transcoders_sha256": _is_hash,
    "tracer_version": _is_version,
    "dtype": _is_dtype,
    "seed": _is_number,
    "n_active_features": _is_number,
    "conservation_error": _is_number,
}

PROVENANCE_KEYS = (*_PROVENANCE, "settings", "pruning", "targets")
"""Provenance that stays, in the form that it must have; a file could hide hints under any other key."""


def blind(graph: AttributionGraph) -> AttributionGraph:
    """The same graph without human hints, nodes and edges in canonical order.

    Feature labels become empty; labels of tokens, errors and outputs are written anew from tokens and probabilities;
    everything a file held beyond the graph is dropped.
    """
    table, ids = graph.nodes, _plain_ids(graph)
    order = np.lexsort((np.array(ids), table.feature, table.position, table.layer, table.kind))
    new_index = np.empty(graph.n_nodes, dtype=np.int64)
    new_index[order] = np.arange(graph.n_nodes)
    target, source = new_index[graph.edges.target], new_index[graph.edges.source]
    edge_order = np.lexsort((source, target))
    labels = tuple(_plain_label(graph, int(i)) for i in order)
    return replace(
        graph,
        nodes=table.take(order),
        node_ids=tuple(ids[i] for i in order),
        labels=labels,
        edges=EdgeTable(target[edge_order], source[edge_order], graph.edges.weight[edge_order]),
        provenance=_plain_provenance(graph.provenance, labels),
        extra={},
    )


def _plain_ids(graph: AttributionGraph) -> list[str]:
    """Node ids; those of errors, which a file may spell as it likes, in our own spelling."""
    table, ids = graph.nodes, list(graph.node_ids)
    times: Counter[str] = Counter()
    for i in graph.of_kind(NodeKind.ERROR).tolist():
        plain = f"{int(table.layer[i])}_-1_{int(table.position[i])}"
        times[plain] += 1
        # a file may hold several errors at one place
        ids[i] = plain if times[plain] == 1 else f"error.{plain}.{times[plain]}"
    return ids


def _plain_provenance(told: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    from tracescribe.tracer.attribution_settings import AttributionSettings
    from tracescribe.tracer.prune import PruneSettings

    kept = {key: told[key] for key, fits in _PROVENANCE.items() if key in told and fits(told[key])}
    for key, model in (("settings", AttributionSettings), ("pruning", PruneSettings)):
        if isinstance(told.get(key), Mapping):
            kept[key] = _plain_settings(told[key], model)
    if isinstance(told.get("targets"), list):
        outputs = {found["token"] for label in labels if (found := _OUTPUT_LABEL.fullmatch(label))}
        kept["targets"] = [_plain_target(target, outputs) for target in told["targets"] if isinstance(target, Mapping)]
    return {key: kept[key] for key in told if key in kept}


def _plain_target(told: Mapping[str, Any], outputs: Container[str]) -> dict[str, Any]:
    """A logit, or a difference of logits, that was asked for: its numbers, and its name if an output is called so."""
    kept: dict[str, Any] = {}
    for key, value in told.items():
        if key == "weights" and isinstance(value, list | tuple):
            pairs = [pair for pair in value if isinstance(pair, list | tuple) and all(_is_number(n) for n in pair)]
            kept[key] = [list(pair) for pair in pairs]
        elif (key == "probability" and _is_number(value)) or (key == "label" and value in outputs):
            kept[key] = value
    return kept


def _plain_settings(told: Mapping[str, Any], model: type) -> dict[str, Any]:
    """Settings that exist, as far as they are numbers; of texts, only those that say nothing, being the default."""
    kept: dict[str, Any] = {}
    for field in fields(model):
        value = told.get(field.name, MISSING)
        numbers = isinstance(value, list | tuple) and all(_is_number(item) for item in value)
        if value is not MISSING and (_is_number(value) or numbers or value == field.default):
            kept[field.name] = value
    return {key: kept[key] for key in told if key in kept}


def _plain_label(graph: AttributionGraph, index: int) -> str:
    kind = graph.nodes.kind[index]
    if kind == NodeKind.FEATURE:
        return ""
    if kind == NodeKind.LOGIT:
        return _plain_output(graph.labels[index], float(graph.nodes.activation[index]))
    prefix = "Emb" if kind == NodeKind.EMBEDDING else "Err: mlp"
    token = graph.token_text(index)
    return f'{prefix}: "{token}"' if kind == NodeKind.EMBEDDING else f'{prefix} "{token}"'


def _plain_output(label: str, probability: float) -> str:
    found = _OUTPUT_LABEL.fullmatch(label)
    if found is None or len(found["token"]) > _MAX_OUTPUT_TOKEN or found["probability"].count(".") > 1:
        return ""
    if not abs(float(found["probability"].strip(".") or 0) - probability) < _PROBABILITY_DIGITS:
        return ""
    return f'Output "{found["token"]}" (p={probability:.3f})'
