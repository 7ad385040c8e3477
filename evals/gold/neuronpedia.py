"""What Neuronpedia and circuit-tracer's frontend save of a graph: graph files, saved subgraphs, addresses of pages.

An address is read as text and never fetched; it needs the graph beside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tracescribe.evals.gold.saved import SavedCircuit, SavedGroup
from tracescribe.tracer.errors import GoldFormatError
from tracescribe.tracer.graph import AttributionGraph, NodeKind
from tracescribe.tracer.query_parameters import saved_view

MAX_ADDRESS = 1 << 20
"""Longest address that is read, in characters."""

PINNED_ENDS = "tracescribe_pinned_ends"
"""Key in a graph file's `metadata`: nodes that a review's export pins for the sake of their links; nobody chose them."""

_MODEL_IN_PATH = re.compile(r"^/([A-Za-z0-9._-]+)/graph/?$")
_LISTS = ("pinnedIds", "supernodes", "clerps")


def saved_in_graph(graph: AttributionGraph, name: str) -> SavedCircuit:
    """Pins, supernodes and labels that a graph file carries itself.

    Labels of single nodes in a graph file are told but not scored: published ones are often a program's.
    """
    metadata = graph.extra.get("metadata", {})
    parameters = graph.extra.get("qParams") or {}
    labels = tuple(
        (graph.node_ids[int(i)], graph.labels[int(i)])
        for i in graph.of_kind(NodeKind.FEATURE)
        if graph.labels[int(i)].strip()
    )
    saved = saved_in_parameters(parameters, _text(metadata.get("slug")) or name)
    shown = metadata.get(PINNED_ENDS)
    ends = {one for one in shown if isinstance(one, str)} if isinstance(shown, list) else set[str]()
    return SavedCircuit(
        name=saved.name,
        pins=tuple(node for node in saved.pins if node not in ends),
        groups=saved.groups,
        labels=saved.labels,
        other_labels=labels,
        prompt=graph.prompt,
        model=_text(metadata.get("scan")),
        transcoder=_source_set(metadata),
    )


def saved_in_subgraph(document: Mapping[str, Any], name: str) -> SavedCircuit:
    """Neuronpedia's saved subgraph: the body of its save request, or the entry that comes back."""
    saved = saved_in_parameters(document, _text(document.get("displayName")) or _text(document.get("slug")) or name)
    return SavedCircuit(
        name=saved.name,
        pins=saved.pins,
        groups=saved.groups,
        labels=saved.labels,
        model=_text(document.get("modelId")),
        transcoder=_text(document.get("sourceSetName")),
    )


def saved_in_address(address: str) -> SavedCircuit:
    """What the query of a graph page's address holds.

    Raises:
        GoldFormatError: it is longer than is read, or holds neither pins nor supernodes.
    """
    if len(address) > MAX_ADDRESS:
        raise GoldFormatError(f"the address has {len(address)} characters, at most {MAX_ADDRESS} are read")
    try:
        parts = urlsplit(address.strip())
        query = {key: values[-1] for key, values in parse_qs(parts.query, max_num_fields=200).items()}
    except ValueError as error:
        raise GoldFormatError(f"the address cannot be taken apart ({error}); copy it again") from error
    saved = saved_in_parameters(query, query.get("slug", "") or "circuit")
    if not saved.pins and not saved.groups:
        raise GoldFormatError("the address holds neither pinnedIds nor supernodes; share the page again with its pins")
    model = _MODEL_IN_PATH.match(unquote(parts.path))
    return SavedCircuit(
        name=saved.name,
        pins=saved.pins,
        groups=saved.groups,
        labels=saved.labels,
        model=model[1] if model else "",
    )


def saved_in_parameters(parameters: Mapping[str, Any], name: str) -> SavedCircuit:
    """Pins, supernodes and labels under the names that `qParams`, addresses and saved subgraphs share.

    Raises:
        GoldFormatError: one of them is not a list or the text of one.
    """
    for key in _LISTS:
        value = parameters.get(key)
        if value is not None and not isinstance(value, str | list):
            raise GoldFormatError(f"{key}: found {type(value).__name__}, expected a list or its text")
    view = saved_view(parameters)
    if parameters.get("supernodes") not in (None, "", [], "[]") and not view.supernodes:
        raise GoldFormatError('supernodes: cannot be read; expected [["name", "node id", ...], ...] or its text')
    return SavedCircuit(
        name=name,
        pins=view.pinned,
        groups=tuple(SavedGroup(group.label, group.members) for group in view.supernodes),
        labels=_pairs(parameters.get("clerps")),
    )


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    """Labels that a person gave on the page: `[["node id", "label"], ...]`, or the text of it."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value else []
        except (ValueError, RecursionError) as error:
            raise GoldFormatError(f'clerps: not JSON ({error}); expected [["node id", "label"], ...]') from error
    if not isinstance(value, list):
        return ()
    return tuple((one[0], one[1]) for one in value if isinstance(one, list) and _two_texts(one))


def _two_texts(value: list[Any]) -> bool:
    return len(value) == 2 and all(isinstance(part, str) for part in value)


def _source_set(metadata: Mapping[str, Any]) -> str:
    info = metadata.get("info")
    told = info.get("transcoder_set") if isinstance(info, dict) else None
    return _text(metadata.get("transcoder_set")) or _text(told)


def _text(value: Any) -> str:
    return value[:500] if isinstance(value, str) else ""
