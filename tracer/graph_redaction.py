"""Graphs as they may be stored: prompt, tokens, labels and everything else that a file tells, redacted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracescribe.tracer.graph import AttributionGraph
    from tracescribe.tracer.redaction import Redactor


def redacted_graph(graph: AttributionGraph, redactor: Redactor) -> AttributionGraph:
    """A graph whose texts hold nothing that must not be written; the same object where there is nothing to cut.

    Nodes, edges and numbers stay, ids of tokens among them. A node's id that is cut becomes another one of its own.
    """
    tokens = redactor.tokens(graph.tokens, graph.prompt)
    prompt = redactor.text(graph.prompt)
    labels = graph.labels
    if redactor.touches(labels):
        labels = tuple(map(redactor.text, labels))
    parted = {
        place: (old, new) for place, (old, new) in enumerate(zip(graph.tokens, tokens, strict=True)) if old != new
    }
    if parted:  # labels of embeddings and errors hold one token each, which alone may look harmless
        labels = tuple(
            _without(label, *parted[place]) if (place := int(graph.nodes.position[node])) in parted else label
            for node, label in enumerate(labels)
        )
    changed: dict[str, Any] = {
        "prompt": prompt,
        "tokens": tokens,
        "node_ids": _node_ids(graph.node_ids, redactor),
        "labels": labels,
        "provenance": _value(graph.provenance, redactor),
        "extra": _value(graph.extra, redactor),
    }
    same = all(getattr(graph, name) == value for name, value in changed.items())
    return graph if same else replace(graph, **changed)


def _without(label: str, token: str, placeholder: str) -> str:
    return label.replace(token, placeholder) if token and token in label else label


def _node_ids(node_ids: tuple[str, ...], redactor: Redactor) -> tuple[str, ...]:
    if not redactor.touches(node_ids):
        return node_ids
    return tuple(
        f"redacted_{number}" if redactor.found(node_id) else node_id for number, node_id in enumerate(node_ids)
    )


def _value(value: Any, redactor: Redactor, *, of_tokens: bool = False) -> Any:
    """A JSON value, redacted; lists of tokens are searched as the text that they make."""
    if isinstance(value, Mapping):
        keys = list(redactor.value(dict.fromkeys(value)))
        return {
            new: redactor.field(key, inner)
            if isinstance(inner, str)
            else _value(inner, redactor, of_tokens=isinstance(key, str) and "token" in key.lower())
            for new, (key, inner) in zip(keys, value.items(), strict=True)
        }
    if isinstance(value, list | tuple):
        if of_tokens and all(isinstance(inner, str) for inner in value):
            return type(value)(redactor.tokens(value))
        return type(value)(_value(inner, redactor) for inner in value)
    return redactor.value(value)
