"""Reports and graphs of cases as reviews need them: parsed once, and kept while they are worked with.

What is kept is looked up by content, after the store has said that the case still has it: an artefact that was deleted is
not served from memory. Nothing here is logged; whoever shows a report to somebody opens it through `runs.access`.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import sqlalchemy as sa

from tracescribe.runs.review.drafts import GraphNodes, nodes_of_report
from tracescribe.runs.store.tables import artefact_uses
from tracescribe.tracer.errors import GraphFormatError, UnknownIdError

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport
    from tracescribe.runs.store.database import Store
    from tracescribe.tracer.graph import AttributionGraph

REPORT_FILE, GRAPH_FILE, NATIVE_FILE = "report.json", "graph.json", "graph.tsgraph"
GRAPH_FILES = (GRAPH_FILE, f"{GRAPH_FILE}.gz", NATIVE_FILE)
"""Under which names a case may keep its graph; the first that there is counts."""
MAX_GRAPH_BYTES = 256 << 20
"""Of a graph's file; pruned graphs are a few megabytes."""
_REPORTS_KEPT = 32
_NODES_KEPT = 16
_GRAPHS_KEPT = 8
_GRAPH_BYTES = 512 << 20
_NODE_BYTES = 400  # of a node's id and label, about
Value = TypeVar("Value")


@dataclass(frozen=True)
class StoredReport:
    """The report of a case.

    Attributes:
        sha256: of its bytes.
        report: parsed and valid.
        graph_sha256: of the graph that was kept with it; None where none was.
    """

    case_id: str
    sha256: str
    report: CircuitReport
    graph_sha256: str | None


class Kept(Generic[Value]):
    """The values that were asked for last, by name; safe to use from several threads.

    Args:
        most: values.
        weigh: what a value takes; None for values of which only the number counts.
        most_weight: of all together; one that is heavier is kept alone.
    """

    def __init__(self, most: int, weigh: Callable[[Value], int] | None = None, most_weight: int = 0) -> None:
        self._most, self._weigh, self._most_weight = most, weigh, most_weight
        self._values: OrderedDict[str, Value] = OrderedDict()
        self._lock = threading.Lock()
        self._making = threading.Lock()

    def get(self, name: str) -> Value | None:
        """A value that is still there."""
        with self._lock:
            if name in self._values:
                self._values.move_to_end(name)
            return self._values.get(name)

    def put(self, name: str, value: Value) -> Value:
        """Keep a value, and let go of the one that was not asked for the longest."""
        with self._lock:
            self._values[name] = value
            self._values.move_to_end(name)
            while len(self._values) > self._most or (len(self._values) > 1 and self._weight() > self._most_weight):
                self._values.popitem(last=False)
        return value

    def _weight(self) -> int:
        return 0 if self._weigh is None else sum(self._weigh(value) for value in self._values.values())

    def get_or_make(self, name: str, make: Callable[[], Value]) -> Value:
        """A value; made where it is not there, once and one at a time: making takes many times what is kept."""
        found = self.get(name)
        if found is None:
            with self._making:
                found = self.get(name)
                if found is None:
                    found = self.put(name, make())
        return found


_reports: Kept[CircuitReport] = Kept(_REPORTS_KEPT)
_nodes: Kept[GraphNodes] = Kept(_NODES_KEPT)
_graphs: Kept[AttributionGraph] = Kept(_GRAPHS_KEPT, lambda graph: _bytes_of(graph), _GRAPH_BYTES)
reading_a_graph = threading.Lock()
"""Held by whoever reads one: that takes ten times a file's size, which many at once would not find."""


def artefacts_of_case(store: Store, case_id: str) -> dict[str, str]:
    """SHA-256 of what a case has, by name.

    Raises:
        StoreError: the store cannot be read.
    """
    query = sa.select(artefact_uses.c.name, artefact_uses.c.sha256).where(artefact_uses.c.case_id == case_id)
    rows = store.read(lambda connection: connection.execute(query).all())
    return {str(name): str(sha256) for name, sha256 in rows}


def report_of_case(store: Store, case_id: str) -> StoredReport:
    """The report of a case, as its result.

    Raises:
        UnknownIdError: there is no such case, or it has no report (any more).
        ReportError: what is stored is no report of this version.
        ArtefactDamagedError, ArtefactMissingError: it is not what was stored.
        StoreError: the store cannot be read.
    """
    had = artefacts_of_case(store, case_id)
    sha256 = had.get(REPORT_FILE)
    if sha256 is None:
        raise UnknownIdError(
            f"case {case_id[:80]!r} has no report; it may be unknown, unfinished, or its report was deleted by retention"
        )
    report = _reports.get_or_make(sha256, lambda: parse_stored(store, sha256))
    graph = graph_artefact(had)
    return StoredReport(case_id, sha256, report, None if graph is None else graph[1])


def must_be_kept(store: Store, case_id: str) -> None:
    """Tell a report that is no longer kept from one that never was.

    Raises:
        ArtefactMissingError: retention deleted the report; reviews of it are still there.
        UnknownIdError: there is no such case, or it never had a report.
    """
    from tracescribe.runs.store.errors import ArtefactMissingError
    from tracescribe.runs.store.tables import reports

    if REPORT_FILE in artefacts_of_case(store, case_id):
        return
    listed = sa.select(reports.c.case_id).where(reports.c.case_id == case_id)
    if store.read(lambda connection: connection.execute(listed).first()) is None:
        raise UnknownIdError(f"case {case_id[:80]!r} has no report; it may be unknown or unfinished")
    raise ArtefactMissingError(
        f"the report of case {case_id} is no longer kept; its reviews are, as lists of acts, and the same report can be "
        "brought in again"
    )


def graph_of_case(store: Store, case_id: str) -> AttributionGraph | None:
    """The graph that was stored with a case's report, for many who ask at once read once; None where none was kept.

    Everybody shares it. What its file held beyond a graph, which takes most of the memory, is left out; see
    `whole_graph_of_case`.

    Raises:
        GraphFormatError: what is stored is no graph.
        ArtefactDamagedError, ArtefactMissingError: it is not what was stored.
        StoreError: the store cannot be read.
    """
    found = graph_artefact(artefacts_of_case(store, case_id))
    if found is None:
        return None
    name, sha256 = found
    return _graphs.get_or_make(sha256, lambda: replace(_read(store, name, sha256), extra={}))


def whole_graph_of_case(store: Store, case_id: str) -> AttributionGraph | None:
    """`graph_of_case` with all that its file held, read anew, for writing it again without loss."""
    found = graph_artefact(artefacts_of_case(store, case_id))
    return None if found is None else _read(store, *found)


def graph_artefact(had: Mapping[str, str]) -> tuple[str, str] | None:
    """Name and SHA-256 of the graph among a case's artefacts."""
    return next(((name, had[name]) for name in GRAPH_FILES if name in had), None)


def read_graph(name: str, content: bytes) -> AttributionGraph:
    """A graph from the bytes of its artefact.

    Args:
        name: whose suffix tells the format.

    Raises:
        GraphFormatError: they are no graph, or a hostile or enormous one.
    """
    from tracescribe.tracer.graph_json import parse_graph
    from tracescribe.tracer.graph_native import read_native

    if len(content) > MAX_GRAPH_BYTES:
        raise GraphFormatError(f"{name}: {len(content)} bytes, at most {MAX_GRAPH_BYTES} are read; prune the graph")
    if not name.endswith(".tsgraph"):
        return parse_graph(content, name=name)
    with tempfile.TemporaryDirectory(prefix="tracescribe-graph-") as folder:
        path = Path(folder) / NATIVE_FILE  # the reader maps a file
        path.write_bytes(content)
        return read_native(path, name)  # whoever sent it has nothing of where it was put meanwhile


def _read(store: Store, name: str, sha256: str) -> AttributionGraph:
    with reading_a_graph:
        return read_graph(name, store.artefacts.read(sha256))


def _bytes_of(graph: AttributionGraph) -> int:
    edges = graph.edges
    arrays = sum(column.nbytes for column in (edges.source, edges.target, edges.weight))
    return int(arrays) + graph.n_nodes * _NODE_BYTES


def nodes_of_case(store: Store, stored: StoredReport) -> GraphNodes:
    """What acts may name of a report's graph; where no graph was kept, what the report itself names of it.

    Raises:
        GraphFormatError: what is stored is no graph.
        StoreError: the store cannot be read.
    """
    from tracescribe.tracer.graph import NodeKind

    sha256 = stored.graph_sha256

    def make() -> GraphNodes:
        told = nodes_of_report(stored.report)
        graph = None if sha256 is None else graph_of_case(store, stored.case_id)
        if graph is None:
            return told
        features, embeddings, logits = (
            frozenset(graph.node_ids[int(index)] for index in graph.of_kind(kind))
            for kind in (NodeKind.FEATURE, NodeKind.EMBEDDING, NodeKind.LOGIT)
        )
        return GraphNodes(features | told.features, embeddings, logits | told.destinations)

    return _nodes.get_or_make(f"{stored.sha256}.{sha256}", make)


def parse_stored(store: Store, sha256: str) -> CircuitReport:
    """A report by its hash, read anew.

    Raises:
        ReportError: what is stored is no report of this version.
        ArtefactDamagedError, ArtefactMissingError: it is not what was stored.
    """
    return parse_bytes(store.artefacts.read(sha256))


def report_of_bytes(content: bytes) -> CircuitReport:
    """A report from the bytes of its file, which need not be parsed where it was asked for lately.

    Raises:
        ReportError: they are no report of this version.
    """
    return _reports.get_or_make(hashlib.sha256(content).hexdigest(), lambda: parse_bytes(content))


def parse_bytes(content: bytes) -> CircuitReport:
    """A report from the bytes of its file.

    Raises:
        ReportError: they are no report of this version.
    """
    from tracescribe.agents.report import parse_report
    from tracescribe.tracer.errors import ReportError

    try:
        return parse_report(content.decode())
    except UnicodeDecodeError as error:
        raise ReportError(f"not a circuit report: not UTF-8 at byte {error.start}") from error
