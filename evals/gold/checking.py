"""Checks of gold before it is used: each file by itself, circuits against their graphs, and what graphs give away."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tracescribe.evals.gold.checks import circuit_faults, membership_faults, repeated
from tracescribe.evals.gold.findings import Finding, error, warning
from tracescribe.evals.gold.folders import content_of, files_of, graph_path, is_own, read_circuits
from tracescribe.evals.gold.leaks import leaks
from tracescribe.evals.gold.published import NOT_TOLD
from tracescribe.evals.gold.saved import DEGENERATE_SELECTION
from tracescribe.evals.gold.schema import CANARY, GoldCircuit
from tracescribe.tracer.errors import GoldFormatError, GraphFormatError
from tracescribe.tracer.graph import AttributionGraph, NodeKind
from tracescribe.tracer.graph_document import load_json, read_bytes, unpack
from tracescribe.tracer.graph_files import format_of, read_graph_file


def check_gold(path: Path, graph: Path | None = None) -> tuple[tuple[Finding, ...], int]:
    """Check a gold file, or all gold of a folder.

    Args:
        path: of the file or folder.
        graph: the graph of a file's circuits, in place of the one that each names.

    Returns:
        What was found, errors first, and how many circuits were looked at.

    Raises:
        GoldFormatError: no such file or folder, or nothing in it that could be gold.
    """
    path = path.expanduser()
    folder = path.parent if path.is_file() else path
    found: list[Finding] = []
    circuits: list[GoldCircuit] = []
    for file in [path] if path.is_file() else files_of(folder):
        try:
            if is_own(content := content_of(file)) and CANARY.encode() not in content:
                found.append(error(str(file), "no canary: add the key `canary` as docs/gold.md gives it"))
            circuits += read_circuits(file, folder, checked=False)
        except GoldFormatError as fault:
            found.append(error(str(file), str(fault).removeprefix(f"{file}: ")))
    ids = Counter(circuit.gold_id for circuit in circuits)
    found += [error(str(path), f"id {gold_id} is used {n} times") for gold_id, n in ids.items() if n > 1]
    prompts = Counter(circuit.prompt for circuit in circuits if circuit.prompt != NOT_TOLD)
    found += [warning(str(path), f"{n} circuits are of the prompt {p[:60]!r}") for p, n in prompts.items() if n > 1]
    for circuit in circuits:
        found += check_one(circuit, folder, graph)
    if not circuits and not found:
        raise GoldFormatError(f"{path}: no gold in it; see `tracescribe gold import --help`")
    return tuple(sorted(found, key=lambda one: one.level)), len(circuits)


def check_one(circuit: GoldCircuit, folder: Path, graph_file: Path | None = None) -> list[Finding]:
    """Check one circuit, with its graph if it has one.

    Args:
        circuit: the gold.
        folder: that its graph's path is relative to.
        graph_file: read in place of the graph that it names.
    """
    where = circuit.gold_id
    found = [error(where, fault) for fault in circuit_faults(circuit)]
    found += [*_own_warnings(circuit, where), *_unbearable(circuit, where)]
    try:
        path = graph_file or graph_path(folder, circuit)
    except GoldFormatError as fault:
        return [*found, error(where, str(fault))]
    if path is None:
        if circuit.source.kind == "human" and circuit.can_score:
            found.append(error(where, "no graph, but can_score names scores: no agent could be given anything"))
        return found
    return [*found, *_graph_findings(circuit, path, told=graph_file is None)]


def _own_warnings(circuit: GoldCircuit, where: str) -> list[Finding]:
    """What is odd in a circuit by itself."""
    found = []
    if circuit.canary != CANARY:
        found.append(error(where, "its canary is another one: copy the one of docs/gold.md"))
    if circuit.source.licence == NOT_TOLD:
        found.append(warning(where, "the source tells no licence: do not pass the file on"))
    members = [node for supernode in circuit.supernodes for node in supernode.members]
    if overlap := repeated(members):
        found.append(warning(where, f"in two supernodes: {_some(overlap)}; the first listed counts for ARI"))
    labels = [supernode.label.strip().lower() for supernode in circuit.supernodes]
    if again := [label for label in repeated(labels) if label]:
        found.append(warning(where, f"labels of several supernodes: {_some(again)}; they are matched by members"))
    if nameless := sum(not label for label in labels):
        found.append(warning(where, f"{nameless} supernodes have no name"))
    if empty := [s.supernode_id for s in circuit.supernodes if not s.members]:
        found.append(warning(where, f"supernodes without members: {_some(empty)}"))
    if unpinned := sorted(set(members) - set(circuit.selected)):
        found.append(warning(where, f"grouped but not selected: {_some(unpinned)}"))
    if circuit.dropped:
        found.append(warning(where, f"stale pins that the source lists: {_some(circuit.dropped)}; they were dropped"))
    if "automated_labels" in circuit.tags and circuit.can_score:
        found.append(error(where, "its labels come from a program, but can_score names scores"))
    return found


def _unbearable(circuit: GoldCircuit, where: str) -> list[Finding]:
    """Scores that the circuit says it is good for, and that it has nothing for."""
    content: Mapping[str, Any] = {
        "selection": circuit.selected,
        "grouping": circuit.scorable_supernodes,
        "labels": [supernode for supernode in circuit.scorable_supernodes if supernode.label],
        "node_labels": circuit.node_labels,
        "edges": circuit.edges,
        "causal": circuit.effects,
    }
    return [
        error(where, f"can_score names {kind}, but there is nothing to score it by")
        for kind in circuit.can_score
        if not content[kind]
    ]


def _graph_findings(circuit: GoldCircuit, path: Path, *, told: bool) -> list[Finding]:
    where = f"{circuit.gold_id}: {path.name}"
    found: list[Finding] = []
    try:
        content = read_bytes(path)
        sha256 = circuit.graph.sha256 if circuit.graph is not None and told else None
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            found.append(error(where, "the file is not the one that the gold names: its sha256 differs"))
        if format_of(path) == "json":
            document = load_json(unpack(content, str(path)), str(path))
            if isinstance(document, dict):
                found += [*_collisions(circuit, document, where), *leaks(circuit, document, where)]
        graph = read_graph_file(path)
    except GraphFormatError as fault:
        return [*found, error(where, f"the graph cannot be read: {fault}")]
    return [*found, *_against_graph(circuit, graph, where)]


def _collisions(circuit: GoldCircuit, document: Mapping[str, Any], where: str) -> list[Finding]:
    """Ids that two nodes of the file have, whatever their kinds: old ids of errors can equal those of features."""
    rows = document.get("nodes")
    ids = [str(row.get("node_id")) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    twice = repeated(ids)
    meant = [one for one in twice if one in _listed(circuit)]
    others = [one for one in twice if one not in meant]
    found = [error(where, f"{one} is listed by the gold and is the id of two nodes") for one in meant]
    return [*found, *([warning(where, f"ids of two nodes: {_some(others)}")] if others else [])]


def _against_graph(circuit: GoldCircuit, graph: AttributionGraph, where: str) -> list[Finding]:
    found = [error(where, fault) for fault in membership_faults(circuit, graph)]
    lost = [node for node in (*circuit.undecided, *circuit.other_labels) if node not in graph.index_of]
    if lost:
        found.append(warning(where, f"undecided or labelled nodes that the graph does not have: {_some(lost)}"))
    features = {graph.node_ids[int(i)] for i in graph.of_kind(NodeKind.FEATURE)}
    selected = features & set(circuit.selected)
    if "selection" in circuit.can_score:
        if not selected:
            found.append(error(where, "can_score names selection, but no feature node is selected"))
        elif len(selected) == len(features):
            found.append(error(where, "can_score names selection, but every feature node is selected"))
        elif len(selected) >= DEGENERATE_SELECTION * len(features):
            found.append(
                warning(where, f"{len(selected)} of {len(features)} feature nodes are selected: hardly a test")
            )
    if strangers := sorted(set(circuit.node_labels) - features):
        found.append(error(where, f"node_labels of nodes that are no features: {_some(strangers)}"))
    return found


def _listed(circuit: GoldCircuit) -> frozenset[str]:
    return frozenset((*circuit.selected, *(node for s in circuit.supernodes for node in s.members)))


def _some(names: Iterable[str], most: int = 5) -> str:
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(str(one)[:60] for one in listed[:most]) + more
