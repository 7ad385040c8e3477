"""The graph of a case: traced, taken from the store where the same trace took long before, or as it was submitted."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs.executors.scratch import case_scratch
from tracescribe.runs.store.artefacts import Artefact
from tracescribe.runs.store.errors import ArtefactDamagedError, ArtefactMissingError
from tracescribe.tracer.errors import OutputError, PromptError
from tracescribe.tracer.provenance import sha256_json, version, write_bytes_atomic

if TYPE_CHECKING:
    from tracescribe.runs.executors.case_weights import LoadedWeights
    from tracescribe.runs.executors.contract import CaseLease
    from tracescribe.runs.store.database import Store
    from tracescribe.tracer.graph import AttributionGraph

KEEP_AFTER_SECONDS = 1.0
"""A trace that took longer is kept for every later case of the same prompt; a shorter one is quicker made than stored."""
GRAPH_FILE, NATIVE_FILE = "graph.json", "graph.tsgraph"


def case_graph(store: Store, lease: CaseLease, loaded: LoadedWeights) -> AttributionGraph:
    """The unpruned graph that a case is about.

    Raises:
        InputError: a prompt that cannot be traced, or a graph that cannot be read.
        StoreError: the store cannot be used, or the submitted graph is damaged or gone.
    """
    case = lease.case
    if case.graph_sha256 is not None:
        from tracescribe.tracer.graph_json import parse_graph

        return parse_graph(store.artefacts.read(case.graph_sha256), name=case.title)
    if case.prompt is None:
        raise PromptError(f"case {case.case_id} has neither a prompt nor a graph; submit the job again")
    if loaded.toolbox.model is None or loaded.toolbox.transcoders is None:
        raise PromptError("a prompt cannot be traced without weights; submit graphs, or set weights.load")
    key = _key(case.prompt, loaded)
    scratch = case_scratch(store, lease.case_id)
    found = _kept(store, key, scratch)
    return found if found is not None else _traced(store, lease, loaded, key, case.prompt)


def graph_artefact(graph: AttributionGraph, scratch: Path) -> Artefact:
    """A graph as `tracescribe interpret` writes it, and `tracescribe score` reads it; natively where it is too large.

    Args:
        scratch: folder of the case.
    """
    from tracescribe.tracer.graph_json import dump, to_json

    try:
        return Artefact(GRAPH_FILE, "graph", dump(to_json(graph), Path(GRAPH_FILE)))
    except OutputError:
        return Artefact(NATIVE_FILE, "graph", _native(graph, scratch))


def _traced(store: Store, lease: CaseLease, loaded: LoadedWeights, key: str, prompt: str) -> AttributionGraph:
    from tracescribe.tracer.attribution import attribute

    assert loaded.toolbox.model is not None and loaded.toolbox.transcoders is not None
    start = time.monotonic()
    graph = attribute(loaded.toolbox.model, loaded.toolbox.transcoders, prompt)
    if time.monotonic() - start > KEEP_AFTER_SECONDS and "graph" in lease.job.output.keep:
        _keep(store, lease, key, graph)
    return graph


def _key(prompt: str, loaded: LoadedWeights) -> str:
    """Hash of everything that decides a trace."""
    from tracescribe.tracer.attribution_settings import AttributionSettings

    model, transcoders = loaded.toolbox.model, loaded.toolbox.transcoders
    assert model is not None and transcoders is not None
    return sha256_json(
        {
            "kind": "trace",
            "product": version(),
            "prompt": prompt,
            "model_sha256": model.weights_sha256,
            "transcoders_sha256": transcoders.sha256,
            "dtype": str(model.dtype),
            # another kind of device rounds otherwise
            "device": loaded.device.partition(":")[0],
            "settings": asdict(AttributionSettings()),
        }
    )


def _kept(store: Store, key: str, scratch: Path) -> AttributionGraph | None:
    import sqlalchemy as sa

    from tracescribe.runs.store.tables import derivations
    from tracescribe.tracer.graph_native import read_native

    query = sa.select(derivations.c.sha256).where(derivations.c.key == key)
    sha256 = store.read(lambda connection: connection.execute(query).scalar())
    if sha256 is None:
        return None
    try:
        content = store.artefacts.read(sha256)
    except (ArtefactMissingError, ArtefactDamagedError):
        return None  # it is only what need not be computed twice
    path = scratch / NATIVE_FILE
    write_bytes_atomic(path, content)
    return read_native(path)


def _keep(store: Store, lease: CaseLease, key: str, graph: AttributionGraph) -> None:
    from tracescribe.runs.store.statements import insert_or_update
    from tracescribe.runs.store.tables import derivations

    artefact = Artefact(NATIVE_FILE, "graph", _native(graph, case_scratch(store, lease.case_id)))
    sha256 = store.artefacts.put(store, lease.worker_id, lease.case_id, lease.attempt, artefact)
    row = {"key": key, "sha256": sha256, "created_at": time.time()}
    store.write(lambda connection: insert_or_update(connection, derivations, [row], ("sha256", "created_at")))


def _native(graph: AttributionGraph, scratch: Path) -> bytes:
    from tracescribe.tracer.graph_native import write_native

    path = scratch / NATIVE_FILE  # goes with the case's folder, whatever happens here
    write_native(path, graph)
    return path.read_bytes()
