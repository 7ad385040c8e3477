"""Gold from other people's files: which kind of source it is, and what it becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tracescribe.evals.gold.folders import CIRCUITS, GoldFolder, graph_path, read_gold_folder
from tracescribe.evals.gold.ids import file_safe
from tracescribe.evals.gold.neuronpedia import (
    saved_in_address,
    saved_in_graph,
    saved_in_subgraph,
)
from tracescribe.evals.gold.notebooks import saved_in_notebook
from tracescribe.evals.gold.parts import GoldGraph, GoldSource
from tracescribe.evals.gold.published import NOT_TOLD, PUBLISHED_SCHEMA
from tracescribe.evals.gold.reading import MAX_GOLD_BYTES
from tracescribe.evals.gold.reviewed import Corrections, gold_of_report
from tracescribe.evals.gold.saved import SavedCircuit, gold_of_saved, merged, of_this_graph
from tracescribe.evals.gold.schema import GoldCircuit
from tracescribe.tracer.errors import GoldFormatError, GraphFormatError
from tracescribe.tracer.graph import AttributionGraph
from tracescribe.tracer.graph_document import load_json, read_bytes, unpack
from tracescribe.tracer.graph_files import read_graph_file

FORMS = (
    "a folder or file of gold, a graph file with pins or supernodes, a saved subgraph of Neuronpedia, the address of a "
    "graph page (or a .txt file with it), a notebook of circuit-tracer (.ipynb), or a report"
)
"""What can be imported, in words."""


@dataclass(frozen=True)
class ImportRequest:
    """What to import, and what to say of it.

    Attributes:
        source: a path, or an address.
        graph: file of the graph that the ids belong to, where the source does not hold it.
        licence, origin: as the importing person knows them; the source's own where they are None.
        name: of the circuit; made from the source if None.
        reviewer: who accepts a report.
        corrections: JSON file of what the reviewer changed.
    """

    source: str
    graph: Path | None = None
    licence: str | None = None
    origin: str | None = None
    name: str | None = None
    reviewer: str | None = None
    corrections: Path | None = None


@dataclass(frozen=True)
class Imported:
    """A circuit as gold.

    Attributes:
        graph: as it was read, not blinded; None where there is none.
    """

    circuit: GoldCircuit
    graph: AttributionGraph | None


def import_gold(request: ImportRequest) -> tuple[Imported, ...]:
    """Read gold from any source that is known.

    Raises:
        GoldFormatError: the source is none of the kinds that are read, or malformed.
        GraphFormatError: a graph that cannot be read.
        ReportError: a report that breaks its contract.
    """
    graph = None if request.graph is None else read_graph_file(request.graph.expanduser())
    if request.source.startswith(("http://", "https://")):
        return _of_saved((saved_in_address(request.source),), request, graph, "address of a graph page")
    path = Path(request.source).expanduser()
    if path.is_dir():
        return _of_folder(read_gold_folder(path), request)
    if path.name.endswith(".ipynb"):
        return _of_saved(saved_in_notebook(_json(path), path.stem), request, graph, f"notebook {path.name}")
    if path.suffix == ".txt":
        address = _bytes(path).decode("utf-8", errors="replace").strip()
        return _of_saved((saved_in_address(address),), request, graph, f"address in {path.name}")
    if path.name.endswith((".graphml", ".graphml.gz", ".tsgraph")):
        return _of_graph(path, request)
    return _of_document(_json(path), path, request, graph)


def _of_document(
    document: Any, path: Path, request: ImportRequest, graph: AttributionGraph | None
) -> tuple[Imported, ...]:
    """A JSON file by what stands in it."""
    if isinstance(document, list):
        document = {"subgraphs": document}
    if not isinstance(document, dict):
        raise GoldFormatError(f"{path}: the document is a {type(document).__name__}; give {FORMS}")
    schema = str(document.get("schema_id") or document.get("schema") or "")
    readers: tuple[tuple[bool, Callable[[], tuple[Imported, ...]]], ...] = (
        (schema == PUBLISHED_SCHEMA, lambda: _of_folder(read_gold_folder(_published_file(path)), request)),
        (schema.startswith("tracescribe-gold"), lambda: _of_folder(read_gold_folder(path), request)),
        (schema.startswith("tracescribe-report"), lambda: _of_report(path, request, graph)),
        ("nodes" in document and "links" in document, lambda: _of_graph(path, request)),
        ("subgraphs" in document, lambda: _of_subgraphs(document["subgraphs"], path, request, graph)),
        (_is_subgraph(document), lambda: _of_subgraphs([document], path, request, graph)),
    )
    for fits, read in readers:
        if fits:
            return read()
    raise GoldFormatError(f"{path}: no gold and nothing that it could be made of; give {FORMS}")


def _published_file(path: Path) -> Path:
    """The folder of a published circuit, whose graph's path is relative to it."""
    return path.parent.parent if path.parent.name == CIRCUITS else path


def _is_subgraph(document: Mapping[str, Any]) -> bool:
    return "supernodes" in document or "pinnedIds" in document


def _of_subgraphs(
    entries: Any, path: Path, request: ImportRequest, graph: AttributionGraph | None
) -> tuple[Imported, ...]:
    if not isinstance(entries, list) or not all(isinstance(one, dict) and _is_subgraph(one) for one in entries):
        raise GoldFormatError(f"{path}: expected saved subgraphs with pinnedIds or supernodes; give {FORMS}")
    saved = tuple(saved_in_subgraph(one, path.stem) for one in entries)
    found = [_of_saved((one,), request, graph, f"saved subgraph {path.name}")[0] for one in saved]
    return _apart(found)


def _of_graph(path: Path, request: ImportRequest) -> tuple[Imported, ...]:
    graph = read_graph_file(path)
    saved = saved_in_graph(graph, path.name.split(".")[0])
    if not saved.pins and not saved.groups:
        raise GoldFormatError(f"{path}: the graph carries neither pinned ids nor supernodes; nothing to make gold of")
    return _of_saved((saved,), request, graph, f"graph file {path.name}")


def _of_saved(
    parts: tuple[SavedCircuit, ...], request: ImportRequest, graph: AttributionGraph | None, origin: str
) -> tuple[Imported, ...]:
    """Saved circuits as gold: as one where they are read against one graph."""
    source = GoldSource(kind="human", origin=request.origin or origin, licence=request.licence or NOT_TOLD)
    if graph is not None and len(parts) > 1:
        kept = of_this_graph(parts, graph)
        parts = (merged(kept, kept[0].name),)
    if request.name is not None:
        several = len(parts) > 1
        parts = tuple(
            replace(one, name=f"{request.name}-{number}" if several else request.name)
            for number, one in enumerate(parts, start=1)
        )
    return _apart([Imported(gold_of_saved(one, source, graph), graph) for one in parts])


def _of_folder(found: GoldFolder, request: ImportRequest) -> tuple[Imported, ...]:
    changes = {key: value for key in ("licence", "origin") if (value := getattr(request, key)) is not None}
    circuits = tuple(
        circuit.model_copy(update={"source": circuit.source.model_copy(update=changes)}) for circuit in found.circuits
    )
    return with_graphs(circuits, found.folder)


def with_graphs(circuits: Iterable[GoldCircuit], folder: Path | None) -> tuple[Imported, ...]:
    """Circuits with the graphs that they name.

    Args:
        circuits: gold.
        folder: that the graphs' paths are relative to; None where no circuit names one.

    Raises:
        GoldFormatError: a graph's path leads out of the folder.
        GraphFormatError: a graph that cannot be read.
    """
    paths = [(circuit, None if folder is None else graph_path(folder, circuit)) for circuit in circuits]
    return tuple(Imported(circuit, None if path is None else read_graph_file(path)) for circuit, path in paths)


def _of_report(path: Path, request: ImportRequest, graph: AttributionGraph | None) -> tuple[Imported, ...]:
    from pydantic import ValidationError

    from tracescribe.agents.report import parse_report

    corrections = None
    if request.corrections is not None:
        try:
            corrections = Corrections.model_validate_json(_bytes(request.corrections.expanduser()))
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in fault["loc"]) or "document"
            raise GoldFormatError(f"{request.corrections}: {where}: {fault['msg']}; see docs/gold.md") from error
    report = parse_report(_bytes(path).decode("utf-8", errors="replace"))
    circuit = gold_of_report(report, request.reviewer or "", request.licence or "", corrections, gold_id=request.name)
    return (Imported(circuit, graph),)


def _apart(found: list[Imported]) -> tuple[Imported, ...]:
    """Circuits with ids of their own: a repeated one gets a number."""
    used: set[str] = set()
    apart = []
    for one in found:
        gold_id, number = one.circuit.gold_id, 2
        while gold_id in used:
            gold_id, number = file_safe(f"{one.circuit.gold_id[:90]}-{number}"), number + 1
        used.add(gold_id)
        apart.append(replace(one, circuit=one.circuit.model_copy(update={"gold_id": gold_id})))
    return tuple(apart)


def _bytes(path: Path) -> bytes:
    try:
        return unpack(read_bytes(path), str(path))
    except GraphFormatError as error:
        raise GoldFormatError(str(error).replace("graph file", "file", 1)) from error


def _json(path: Path) -> Any:
    content = _bytes(path)
    if path.name.endswith(".ipynb") and len(content) > MAX_GOLD_BYTES:
        raise GoldFormatError(f"{path}: {len(content)} bytes, at most {MAX_GOLD_BYTES} are read; clear its outputs")
    try:
        return load_json(content, str(path))
    except GraphFormatError as error:
        raise GoldFormatError(str(error)) from error


def with_graph(circuit: GoldCircuit, path: str, sha256: str) -> GoldCircuit:
    """A circuit that names its graph's file."""
    return circuit.model_copy(update={"graph": GoldGraph(path=path, sha256=sha256)})
