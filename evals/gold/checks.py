"""Faults of gold circuits that types cannot express: repeated and unknown ids, other graphs, other weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from tracescribe.evals.gold.schema import GoldCircuit
from tracescribe.tracer.errors import GoldFormatError
from tracescribe.tracer.graph import AttributionGraph

MAX_FAULTS_SHOWN = 5
"""Faults of a gold file that one error message spells out; the rest are counted."""


def repeated(ids: Iterable[str]) -> list[str]:
    return sorted(name for name, count in Counter(ids).items() if count > 1)


def _empty_faults(circuit: GoldCircuit) -> list[str]:
    told = (("tokens", circuit.tokens), ("targets", circuit.targets))
    return [
        f"{name}: none are told; a circuit that a graph can be made of has at least 1" for name, of in told if not of
    ]


def circuit_faults(circuit: GoldCircuit) -> list[str]:
    """Everything about a circuit that types cannot express and that is wrong, each with its place in the document."""
    names = {supernode.supernode_id for supernode in circuit.supernodes}
    # people also group nodes that they did not pin, and publish circuits without a graph
    published = circuit.source.kind == "human"
    faults = [] if published and circuit.graph is None else _empty_faults(circuit)
    faults += [f"supernodes: id {i} is used twice" for i in repeated(s.supernode_id for s in circuit.supernodes)]
    faults += [f"selected: {i} is listed twice" for i in repeated(circuit.selected)]
    faults += [f"undecided: {i} is also selected" for i in sorted(set(circuit.undecided) & set(circuit.selected))]
    for number, supernode in enumerate(circuit.supernodes):
        where = f"supernodes[{number}]"
        faults += [f"{where}.members: {i} is listed twice" for i in repeated(supernode.members)]
        if not published:
            faults += [f"{where}.members: {i} is not selected" for i in supernode.members if i not in circuit.selected]
        if supernode.label not in supernode.accepted_labels:
            faults.append(f"{where}.accepted_labels: the label {supernode.label!r} is not among them")
    for number, edge in enumerate(circuit.edges):
        ends = (("source", edge.source), ("destination", edge.destination))
        faults += [f"edges[{number}].{end}: {i} is no supernode" for end, i in ends if i[:1] == "g" and i not in names]
    pairs = [f"{edge.source} -> {edge.destination}" for edge in circuit.edges]
    faults += [f"edges: {pair} is listed twice" for pair in repeated(pairs)]
    for number, trap in enumerate(circuit.traps):
        faults += [f"traps[{number}].members: {i} is selected" for i in trap.members if i in circuit.selected]
        if trap.label not in trap.accepted_labels:
            faults.append(f"traps[{number}].accepted_labels: the label {trap.label!r} is not among them")
    for number, effects in enumerate(circuit.effects):
        if effects.supernode not in names:
            faults.append(f"effects[{number}].supernode: {effects.supernode} is no supernode")
    faults += [f"effects: {i} is listed twice" for i in repeated(e.supernode for e in circuit.effects)]
    return faults


def membership_faults(circuit: GoldCircuit, graph: AttributionGraph) -> list[str]:
    """What of a circuit a graph of its prompt contradicts: other tokens, or node ids that it does not have.

    Undecided nodes may be missing: some of them fire so weakly that they do not on every machine.
    """
    faults = []
    if circuit.tokens != graph.tokens:
        faults.append(f"tokens: gold has {len(circuit.tokens)}, the graph has {len(graph.tokens)} or other ones")
    known = graph.index_of
    faults += [f"selected: {i} is not in the graph" for i in circuit.selected if i not in known]
    for number, supernode in enumerate(circuit.supernodes):
        strangers = [i for i in supernode.members if i not in known and i not in circuit.selected]
        faults += [f"supernodes[{number}].members: {i} is not in the graph" for i in strangers]
    faults += [f"node_labels: {i} is not in the graph" for i in circuit.node_labels if i not in known]
    for number, edge in enumerate(circuit.edges):
        for end, node_id in (("source", edge.source), ("destination", edge.destination)):
            if node_id[:1] != "g" and node_id not in known:
                faults.append(f"edges[{number}].{end}: {node_id} is not in the graph")
    return faults


def raise_if(faults: list[str], where: str, cure: str) -> None:
    if not faults:
        return
    more = f" (and {len(faults) - MAX_FAULTS_SHOWN} more)" if len(faults) > MAX_FAULTS_SHOWN else ""
    raise GoldFormatError(f"{where}: " + "; ".join(faults[:MAX_FAULTS_SHOWN]) + f"{more}; {cure}")


def stale_ids(circuit: GoldCircuit, graph: AttributionGraph) -> tuple[str, ...]:
    """Ids of nodes that a circuit names and its graph does not have, each once.

    People publish circuits that their graphs have outgrown. Such a circuit can still be scored: selection is over the nodes
    of the graph, and a member that is gone stays a member, which nobody finds.
    """
    named = (*circuit.selected, *(i for s in circuit.supernodes for i in s.members), *circuit.node_labels)
    return tuple(dict.fromkeys(i for i in named if i not in graph.index_of))


def check_circuit(circuit: GoldCircuit, graph: AttributionGraph | None = None, *, stale: bool = False) -> None:
    """Check a circuit by itself, and against a graph of its prompt where one is given.

    Args:
        stale: let pass what `stale_ids` tells, where people drew the circuit.

    Raises:
        GoldFormatError: repeated or unknown ids; members, tokens or edge ends that the graph does not have.
    """
    where = f"gold circuit {circuit.gold_id}"
    raise_if(circuit_faults(circuit), where, "correct the file")
    if graph is not None:
        cure = "the graph must be the unpruned trace of the gold's prompt, model and transcoder"
        if stale and circuit.source.kind == "human":
            circuit = circuit.model_copy(update=_without(circuit, set(stale_ids(circuit, graph))))
        raise_if(membership_faults(circuit, graph), where, cure)


def _without(circuit: GoldCircuit, ids: Collection[str]) -> dict[str, object]:
    """Fields of a circuit without some nodes."""
    return {
        "selected": tuple(i for i in circuit.selected if i not in ids),
        "supernodes": tuple(
            s.model_copy(update={"members": tuple(i for i in s.members if i not in ids)}) for s in circuit.supernodes
        ),
        "node_labels": {i: labels for i, labels in circuit.node_labels.items() if i not in ids},
    }


def check_stamp(circuit: GoldCircuit, model_sha256: str | None, transcoder_sha256: str | None) -> None:
    """Refuse to hold gold of one set of weights against results of another.

    Raises:
        GoldFormatError: a hash that both sides know differs.
    """
    stamp = circuit.stamp
    pairs = (
        ("model", stamp.model_sha256, model_sha256),
        ("transcoder", stamp.transcoder_sha256, transcoder_sha256),
    )
    faults = [
        f"{name} weights are {found[:12]}, gold was made for {expected[:12]}"
        for name, expected, found in pairs
        if expected is not None and found is not None and expected != found
    ]
    cure = (
        "use the matching weights, or rebuild the gold with `tracescribe gold build`"
        if circuit.source.kind == "oracle"
        else "use the weights that the gold was made for"
    )
    raise_if(faults, f"gold circuit {circuit.gold_id} belongs to other weights", cure)
