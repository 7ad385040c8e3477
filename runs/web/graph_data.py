"""Graphs of reports, as the page asks for them: read from the store once, kept in memory, cut and packed for drawing."""

from __future__ import annotations

import gzip
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tracescribe.runs.review.stored import Kept, artefacts_of_case, graph_artefact, graph_of_case
from tracescribe.runs.web.graph_wire import drawn_graph, encode
from tracescribe.tracer.errors import UnknownIdError
from tracescribe.tracer.graph import AttributionGraph, IntArray

if TYPE_CHECKING:
    from tracescribe.runs.access.roles import Principal
    from tracescribe.runs.store.database import Store
    from tracescribe.runs.web.context import WebContext

KEPT_GRAPHS = 4
"""Graphs that stay in memory."""
_KEPT_BLOCKS = 3
_GZIP_LEVEL = 3  # on a slow network half the bytes; higher levels take longer than they save


@dataclass(eq=False)
class ServedGraph:
    """A graph in memory.

    Attributes:
        sha256, name: of the artefact.
        graph: without what its file held beyond it.
    """

    sha256: str
    name: str
    graph: AttributionGraph
    _blocks: OrderedDict[tuple[int, bool], bytes] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def block(self, max_edges: int, *, packed: bool) -> bytes:
        """The graph for drawing, packed with gzip or plain.

        Args:
            max_edges: the strongest that are in it.
        """
        key = (max_edges, packed)
        with self._lock:
            if key not in self._blocks:
                content = encode(drawn_graph(self.graph, max_edges=max_edges))
                self._blocks[key] = gzip.compress(content, _GZIP_LEVEL, mtime=0) if packed else content
                while len(self._blocks) > _KEPT_BLOCKS:
                    self._blocks.popitem(last=False)
            self._blocks.move_to_end(key)
            return self._blocks[key]

    @cached_property
    def by_source(self) -> tuple[IntArray, IntArray]:
        """Edges ordered by source, and where those of each node begin, `[n_nodes + 1]`."""
        return _grouped(np.asarray(self.graph.edges.source), self.graph.n_nodes)

    @cached_property
    def by_target(self) -> tuple[IntArray, IntArray]:
        """Edges ordered by target, and where those of each node begin, `[n_nodes + 1]`."""
        return _grouped(np.asarray(self.graph.edges.target), self.graph.n_nodes)


_served: Kept[ServedGraph] = Kept(KEPT_GRAPHS)


def open_case_graph(context: WebContext, visitor: Principal, case_id: str) -> ServedGraph:
    """The graph of a case; that the visitor opened it is in the audit log before this returns.

    Its file is read, and compared with its hash, when it is not in memory: not at every click on a node.

    Raises:
        AccessDeniedError: the visitor's role does not allow it; this is logged too.
        UnknownIdError: no such case, or it kept no graph.
        ArtefactDamagedError, ArtefactMissingError: it is not what was stored.
        GraphFormatError: what was stored is no graph.
        StoreError: the store cannot be used.
    """
    served = read_case_graph(context.store, case_id)
    context.note(visitor, case_id, served.name)
    return served


def read_case_graph(store: Store, case_id: str) -> ServedGraph:
    """The graph of a case, for nobody in particular: it is not shown to anybody before they open it.

    Raises:
        UnknownIdError, ArtefactDamagedError, ArtefactMissingError, GraphFormatError, StoreError: as `open_case_graph`.
    """
    found = graph_artefact(artefacts_of_case(store, case_id))
    if found is None:
        raise UnknownIdError(
            f"case {case_id[:80]!r} has no graph; it was not kept, or its time is over ('tracescribe jobs show CASE')"
        )
    name, sha256 = found

    def make() -> ServedGraph:
        graph = graph_of_case(store, case_id)
        if graph is None:  # deleted since
            raise UnknownIdError(f"case {case_id[:80]!r} has no graph any more")
        return ServedGraph(sha256, name, graph)

    return _served.get_or_make(f"{name}.{sha256}", make)


def _grouped(column: IntArray, n_nodes: int) -> tuple[IntArray, IntArray]:
    order = np.argsort(column, kind="stable").astype(np.int64)
    start = np.zeros(n_nodes + 1, dtype=np.int64)
    np.cumsum(np.bincount(column, minlength=n_nodes), out=start[1:])
    return order, start
