"""What of the answer a graph file still tells: agents must get graphs from which nothing of the gold can be read.

Whoever runs agents through this product need not fear these: it blinds every graph before an agent sees it. The check
is for files that others will hand to agents of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tracescribe.evals.gold.findings import Finding, error, warning
from tracescribe.evals.gold.schema import CANARY, GoldCircuit
from tracescribe.tracer.query_parameters import saved_view

FEATURE_TYPES = ("cross layer transcoder", "unexplored node")
MIN_LABEL = 4
"""Shortest label, in letters, that is searched for in titles: shorter ones stand in many texts by chance."""

N_SHUFFLES = 999
ORDER_P = 0.01
"""A file order in which neighbours share a supernode more often than in all but this share of random orders tells it."""


def leaks(circuit: GoldCircuit, document: Mapping[str, Any], where: str) -> list[Finding]:
    """Everything that a graph document tells of a circuit's answer.

    Args:
        circuit: the gold.
        document: the graph file's JSON; rows of other forms are passed over.
        where: how findings call the file.
    """
    rows = [row for row in document.get("nodes", ()) if isinstance(row, dict)]
    found = [*_feature_labels(circuit, rows, where), *_saved(document, where), *_titles(circuit, document, where)]
    if CANARY in _all_text(document):
        found.append(error(where, "holds the canary of gold files: part of a gold file was copied into it"))
    return [*found, *_order(circuit, rows, where)]


def _feature_labels(circuit: GoldCircuit, rows: Sequence[Mapping[str, Any]], where: str) -> list[Finding]:
    labelled = [row for row in rows if row.get("feature_type") in FEATURE_TYPES and str(row.get("clerp") or "").strip()]
    if not labelled:
        return []
    known = {_plain(label) for label in _labels(circuit)}
    named = sum(_plain(str(row["clerp"])) in known for row in labelled)
    return [
        error(where, f"{len(labelled)} feature nodes carry labels (clerp), {named} of them the gold's; blind the graph")
    ]


def _saved(document: Mapping[str, Any], where: str) -> list[Finding]:
    parameters = document.get("qParams")
    if not isinstance(parameters, dict):
        return []
    view = saved_view(parameters)
    found = []
    if view.pinned:
        found.append(error(where, f"qParams names {len(view.pinned)} pinned nodes; blind the graph"))
    if view.supernodes:
        found.append(error(where, f"qParams names {len(view.supernodes)} supernodes; blind the graph"))
    if parameters.get("clerps") not in (None, "", "[]", []):
        found.append(error(where, "qParams carries labels (clerps); blind the graph"))
    return found


def _titles(circuit: GoldCircuit, document: Mapping[str, Any], where: str) -> list[Finding]:
    """Labels in what a file says beyond nodes and links; words of the prompt say nothing."""
    metadata = document.get("metadata")
    beyond = {key: value for key, value in document.items() if key not in ("nodes", "links", "qParams", "metadata")}
    if isinstance(metadata, dict):
        shown = ("prompt", "prompt_tokens", "scan")
        beyond["metadata"] = {key: value for key, value in metadata.items() if key not in shown}
    slug = beyond["metadata"].pop("slug", "") if "metadata" in beyond else ""
    prompt, labels = _plain(circuit.prompt), sorted(set(_labels(circuit)))
    in_text = [label for label in labels if _tells(_plain(label), _plain(_all_text(beyond)), prompt)]
    in_slug = [label for label in labels if _tells(_plain(label), _plain(str(slug).replace("_", " ")), prompt)]
    found = [error(where, f"its metadata names the gold's label {label!r}; blind the graph") for label in in_text[:5]]
    found += [warning(where, f"its short name holds the gold's label {label!r}; rename it") for label in in_slug[:5]]
    if re.search(r"(pinnedIds|supernodes|clerps)=", _all_text(beyond)):
        found.append(error(where, "its metadata holds the address of a page with pins or supernodes; blind the graph"))
    return found


def _tells(label: str, text: str, prompt: str) -> bool:
    return len(label.replace(" ", "")) >= MIN_LABEL and f" {label} " in f" {text} " and label not in prompt


def _order(circuit: GoldCircuit, rows: Sequence[Mapping[str, Any]], where: str) -> list[Finding]:
    """Whether the order of the rows tells which nodes belong together: in published files it does."""
    groups = {node: number for number, one in enumerate(circuit.supernodes) for node in reversed(one.members)}
    placed = [(groups[row["node_id"]], _place(row)) for row in rows if row.get("node_id") in groups]
    if len(placed) < 3 or _follows_a_rule([_place(row) for row in rows]):
        return []
    order = np.array([group for group, _ in placed])
    seen = _same_neighbours(order)
    rng = np.random.default_rng(0)
    chance = np.array([_same_neighbours(rng.permutation(order)) for _ in range(N_SHUFFLES)])
    p = (1 + int((chance >= seen).sum())) / (1 + N_SHUFFLES)
    shares = f"{seen:.0%} of neighbours share a supernode, {chance.mean():.0%} by chance"
    if p <= ORDER_P:
        return [error(where, f"the order of its nodes betrays the supernodes ({shares}); sort them")]
    return [warning(where, f"its nodes stand in an order of nobody knows what ({shares}); sort them")]


def _place(row: Mapping[str, Any]) -> tuple[float, float, str]:
    layer, position = str(row.get("layer", "")), row.get("ctx_idx")
    depth = -1.0 if layer == "E" else float(layer) if layer.isdigit() and len(layer) < 7 else 1e9
    return depth, float(position) if isinstance(position, int) else -1.0, str(row.get("node_id"))


def _follows_a_rule(places: Sequence[tuple[float, float, str]]) -> bool:
    """Whether rows stand by layer and position, by position and layer, or by id: what each row says of itself."""
    rules = (
        lambda place: place[:2],
        lambda place: (place[1], place[0]),
        lambda place: place[2],
    )
    if any(all(rule(a) <= rule(b) for a, b in pairwise(places)) for rule in rules):
        return True
    # written by a tracer: all features in order, then errors, tokens and outputs, each in order
    drops = sum(a[:2] > b[:2] for a, b in pairwise(places))
    return drops <= 3


def _same_neighbours(order: np.ndarray[Any, np.dtype[np.int64]]) -> float:
    return float((order[1:] == order[:-1]).mean())


def _labels(circuit: GoldCircuit) -> Iterator[str]:
    for supernode in circuit.supernodes:
        yield from supernode.accepted_labels
    for labels in circuit.node_labels.values():
        yield from labels
    yield from circuit.other_labels.values()


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _all_text(value: Any, levels: int = 12) -> str:
    """All texts of a JSON value, with line feeds between."""
    if isinstance(value, str):
        return value
    if levels and isinstance(value, dict):
        return "\n".join(_all_text(one, levels - 1) for one in value.values())
    if levels and isinstance(value, list):
        return "\n".join(_all_text(one, levels - 1) for one in value)
    return ""
