"""Gold files out: a set in our own form, with blinded graphs beside it, or in the form of graph pages."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tracescribe.evals.gold.checks import circuit_faults, raise_if, repeated
from tracescribe.evals.gold.importing import Imported, with_graph
from tracescribe.evals.gold.schema import GoldCircuit, GoldSet
from tracescribe.tracer.blinding import blind
from tracescribe.tracer.graph_json import dump, to_json
from tracescribe.tracer.provenance import write_bytes_atomic, write_text_atomic

GOLD_FILE = "gold.json"
GRAPHS = "graphs"


def write_gold(imported: Iterable[Imported], out: Path, name: str) -> tuple[GoldSet, Path]:
    """Write circuits as a gold set, and their graphs blinded into a folder `graphs` beside it.

    Args:
        imported: circuits with their graphs.
        out: a file that ends in `.json`, or a folder for `gold.json`.
        name: of the set.

    Returns:
        The set and its file.

    Raises:
        GoldFormatError: repeated ids, or a circuit with faults.
        OutputError: a file cannot be written.
    """
    path = out if out.suffix == ".json" else out / GOLD_FILE
    found = list(imported)
    raise_if(
        [f"id {i} is used twice" for i in repeated(one.circuit.gold_id for one in found)],
        str(path),
        "give each circuit a name",
    )
    circuits = []
    for one in found:
        circuit = _with_written_graph(one, path.parent)
        raise_if(circuit_faults(circuit), f"gold circuit {circuit.gold_id}", "correct the source")
        circuits.append(circuit)
    gold = GoldSet(name=name, circuits=tuple(circuits))
    write_text_atomic(path, gold.model_dump_json(indent=1) + "\n")
    return gold, path


def _with_written_graph(one: Imported, folder: Path) -> GoldCircuit:
    if one.graph is None:
        return one.circuit.model_copy(update={"graph": None})
    relative = f"{GRAPHS}/{one.circuit.gold_id}.json"
    target = folder / relative
    content = dump(to_json(blind(one.graph), slug=one.circuit.gold_id), target)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(target, content)
    return with_graph(one.circuit, relative, hashlib.sha256(content).hexdigest())


def graph_page_form(circuit: GoldCircuit) -> dict[str, Any]:
    """A circuit as graph pages save it: Neuronpedia's saved subgraph, lists not texts.

    It holds the answer: an agent must not get it, which is why it carries the canary as well.
    """
    return {
        "modelId": circuit.stamp.model,
        "slug": circuit.gold_id,
        "displayName": circuit.gold_id,
        "pinnedIds": list(circuit.selected),
        "supernodes": [[supernode.label, *supernode.members] for supernode in circuit.scorable_supernodes],
        "clerps": [[node, labels[0]] for node, labels in circuit.node_labels.items()],
        "canary": circuit.canary,
    }


def as_text(document: Any) -> str:
    """A document as JSON text that ends in a line feed."""
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"
